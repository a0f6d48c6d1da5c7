// Sqlite: one open database, by libsqlite3.so.0, which is loaded when it is needed and never linked.
//
// `berth run` starts in a millisecond, half of which the dynamic linker would take for this library
// alone (docs/adr/0005). Its C interface has not changed since 2004; the little of it that is used here is
// declared in sqlite.cc. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace berth {

// What a caller acts upon.
enum class SqlTrouble {
  none,
  no_library,  // or one that cannot be used
  busy,        // another process has it locked, and did not let go in time
  garbled,     // not a database, or a broken one
  other,       // a full disk, no right to write, ...
};

class Sqlite {
 public:
  enum class Mode { read, write };
  // Opens, and where `mode` is write also makes, the database. On trouble says why in `said`; null then.
  [[nodiscard]] static std::unique_ptr<Sqlite> open(const std::string& path, Mode mode, int busy_ms,
                                                    SqlTrouble& trouble, std::string& said);
  Sqlite(const Sqlite&) = delete;
  Sqlite& operator=(const Sqlite&) = delete;
  ~Sqlite();

  // Runs statements that give no rows. The first trouble stays: see trouble().
  bool run(const char* statements);

  // One statement at a time. Values are bound from 1, read from 0.
  bool prepare(const std::string& statement);
  void bind(int at, int64_t value);
  void bind(int at, std::string_view text);  // copied
  void bind_null(int at);
  // True: there is a row. False: the end, or trouble().
  bool step();
  // Steps once and makes the statement ready to be bound again. False: trouble.
  bool step_and_reset();
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] int64_t number(int column) const;
  [[nodiscard]] std::string text(int column) const;

  [[nodiscard]] SqlTrouble trouble() const { return trouble_; }
  // In SQLite's own words.
  [[nodiscard]] const std::string& said() const { return said_; }

 private:
  struct Library;
  Sqlite() = default;
  bool note(int code);
  void finish();

  std::unique_ptr<Library> library_;
  void* db_ = nullptr;
  void* statement_ = nullptr;
  SqlTrouble trouble_ = SqlTrouble::none;
  std::string said_;
};

}  // namespace berth
