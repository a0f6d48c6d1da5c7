// Where: the files of a history.
//
//   DIR/history.db        the jobs, in SQLite
//   DIR/history.new       the journal: what ended and is not in the database yet, a line each
//   DIR/history.old       the journal before it, where nobody could take it in; the next one replaces it
//   DIR/history.folding   what is being taken in
//   DIR/history.lock      held by who takes it in
//   DIR/history.learned   how long jobs took, for those who ask before a start; see learned.h
//
// DIR is $XDG_STATE_HOME/berth, else ~/.local/state/berth. Where an admin has made /var/lib/berth/history.db
// and it may be written, jobs go there; the rest stays in DIR, each user's own.
#pragma once

#include <optional>
#include <string>

namespace berth {

struct Where {
  std::string dir;         // absolute
  std::string machine_db;  // the machine-wide database, were there one

  [[nodiscard]] std::string file(const char* name) const { return dir + "/" + name; }
  friend bool operator==(const Where&, const Where&) = default;
};

inline constexpr const char* history_db = "history.db";
inline constexpr const char* journal_new = "history.new";
inline constexpr const char* journal_old = "history.old";
inline constexpr const char* journal_folding = "history.folding";
inline constexpr const char* history_lock = "history.lock";
inline constexpr const char* history_learned = "history.learned";

// By these variables' values (null: not set). nullopt: none is kept. As the XDG directories go, a path
// that is not absolute is as if it were not there. BERTH_HISTORY=off keeps none; any other value is no word
// of ours and changes nothing.
[[nodiscard]] std::optional<Where> history_where(const char* berth_history, const char* xdg_state_home,
                                                 const char* home);
// The same by this process's environment. Asks no file system.
[[nodiscard]] std::optional<Where> own_history();

// Whether the machine-wide database is there and may be written, with the directory it is in.
[[nodiscard]] bool machine_db_is_ours_to_write(const Where& where);

// Whether `dir` may be written to without leaving in somebody else's home what he cannot remove, as a root
// with the HOME of another would: the first part of it that is there belongs to us or to root.
[[nodiscard]] bool dir_is_ours(const std::string& dir);

}  // namespace berth
