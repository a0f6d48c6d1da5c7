#include "history/sqlite.h"

#include <dlfcn.h>
#include <sys/stat.h>

#include "base/text.h"

namespace berth {

namespace {

// sqlite3.h; the numbers are part of its interface and never change.
constexpr int ok = 0;
constexpr int busy = 5;
constexpr int locked = 6;
constexpr int corrupt = 11;
constexpr int row = 100;
constexpr int done = 101;
constexpr int not_a_database = 26;
constexpr int open_read_only = 0x1;
constexpr int open_read_write = 0x2;
constexpr int open_create = 0x4;
constexpr int open_no_mutex = 0x8000;
constexpr int type_null = 5;
const auto copied = reinterpret_cast<void (*)(void*)>(-1);  // NOLINT: SQLITE_TRANSIENT

SqlTrouble trouble_of(int code) {
  switch (code & 0xFF) {
    case ok:
    case row:
    case done: return SqlTrouble::none;
    case busy:
    case locked: return SqlTrouble::busy;
    case corrupt:
    case not_a_database: return SqlTrouble::garbled;
    default: return SqlTrouble::other;
  }
}

}  // namespace

struct Sqlite::Library {
  void* handle = nullptr;
  int (*open_v2)(const char*, void**, int, const char*) = nullptr;
  int (*close)(void*) = nullptr;
  int (*busy_timeout)(void*, int) = nullptr;
  int (*exec)(void*, const char*, void*, void*, void*) = nullptr;
  int (*prepare_v2)(void*, const char*, int, void**, const char**) = nullptr;
  int (*bind_int64)(void*, int, long long) = nullptr;
  int (*bind_text)(void*, int, const char*, int, void (*)(void*)) = nullptr;
  int (*bind_null)(void*, int) = nullptr;
  int (*step)(void*) = nullptr;
  int (*reset)(void*) = nullptr;
  int (*finalize)(void*) = nullptr;
  int (*column_type)(void*, int) = nullptr;
  long long (*column_int64)(void*, int) = nullptr;
  const unsigned char* (*column_text)(void*, int) = nullptr;
  int (*column_bytes)(void*, int) = nullptr;
  const char* (*errmsg)(void*) = nullptr;

  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (handle != nullptr) ::dlclose(handle);
  }

  // "" or what is wrong.
  std::string load() {
    handle = ::dlopen("libsqlite3.so.0", RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = ::dlerror();
      return printable(why == nullptr ? "libsqlite3.so.0 cannot be loaded" : why);
    }
    const bool all = find(open_v2, "sqlite3_open_v2") && find(close, "sqlite3_close") &&
                     find(busy_timeout, "sqlite3_busy_timeout") && find(exec, "sqlite3_exec") &&
                     find(prepare_v2, "sqlite3_prepare_v2") && find(bind_int64, "sqlite3_bind_int64") &&
                     find(bind_text, "sqlite3_bind_text") && find(bind_null, "sqlite3_bind_null") &&
                     find(step, "sqlite3_step") && find(reset, "sqlite3_reset") && find(finalize, "sqlite3_finalize") &&
                     find(column_type, "sqlite3_column_type") && find(column_int64, "sqlite3_column_int64") &&
                     find(column_text, "sqlite3_column_text") && find(column_bytes, "sqlite3_column_bytes") &&
                     find(errmsg, "sqlite3_errmsg");
    return all ? "" : "libsqlite3.so.0 is not the library of that name";
  }

 private:
  template <class Call>
  bool find(Call& call, const char* name) {
    call = reinterpret_cast<Call>(::dlsym(handle, name));
    return call != nullptr;
  }
};

std::unique_ptr<Sqlite> Sqlite::open(const std::string& path, Mode mode, int busy_ms, SqlTrouble& trouble,
                                     std::string& said) {
  std::unique_ptr<Sqlite> out(new Sqlite);
  out->library_ = std::make_unique<Library>();
  said = out->library_->load();
  trouble = said.empty() ? SqlTrouble::none : SqlTrouble::no_library;
  if (!said.empty()) return nullptr;
  // SQLite would wait for somebody to open the other end of a FIFO.
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {
    trouble = SqlTrouble::other;
    said = "it is no file";
    return nullptr;
  }
  const int flags = mode == Mode::read ? open_read_only : open_read_write | open_create;
  const int code = out->library_->open_v2(path.c_str(), &out->db_, flags | open_no_mutex, nullptr);
  if (!out->note(code)) {
    trouble = out->trouble_;
    said = out->said_;
    return nullptr;
  }
  out->library_->busy_timeout(out->db_, busy_ms);
  // A machine-wide database may be another user's work: what its schema says is no program of ours.
  out->run("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON");
  return out;
}

Sqlite::~Sqlite() {
  finish();
  if (db_ != nullptr) library_->close(db_);
}

void Sqlite::finish() {
  if (statement_ != nullptr) library_->finalize(statement_);
  statement_ = nullptr;
}

bool Sqlite::note(int code) {
  const SqlTrouble trouble = trouble_of(code);
  if (trouble == SqlTrouble::none) return true;
  if (trouble_ != SqlTrouble::none) return false;
  trouble_ = trouble;
  said_ = db_ == nullptr ? "out of memory" : printable(library_->errmsg(db_));
  return false;
}

bool Sqlite::run(const char* statements) { return note(library_->exec(db_, statements, nullptr, nullptr, nullptr)); }

bool Sqlite::prepare(const std::string& statement) {
  finish();
  return note(library_->prepare_v2(db_, statement.c_str(), -1, &statement_, nullptr));
}

void Sqlite::bind(int at, int64_t value) { note(library_->bind_int64(statement_, at, value)); }
void Sqlite::bind(int at, std::string_view text) {
  note(library_->bind_text(statement_, at, text.data() == nullptr ? "" : text.data(), static_cast<int>(text.size()),
                           copied));
}
void Sqlite::bind_null(int at) { note(library_->bind_null(statement_, at)); }

bool Sqlite::step() {
  const int code = library_->step(statement_);
  return note(code) && code == row;
}

bool Sqlite::step_and_reset() {
  const bool well = note(library_->step(statement_));
  library_->reset(statement_);
  return well;
}

bool Sqlite::is_null(int column) const { return library_->column_type(statement_, column) == type_null; }
int64_t Sqlite::number(int column) const { return library_->column_int64(statement_, column); }
std::string Sqlite::text(int column) const {
  const unsigned char* bytes = library_->column_text(statement_, column);
  if (bytes == nullptr) return "";
  return {reinterpret_cast<const char*>(bytes), static_cast<size_t>(library_->column_bytes(statement_, column))};
}

}  // namespace berth
