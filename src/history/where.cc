#include "history/where.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace berth {

namespace {
bool is_absolute(const char* path) { return path != nullptr && *path == '/'; }
}  // namespace

std::optional<Where> history_where(const char* berth_history, const char* xdg_state_home, const char* home) {
  if (berth_history != nullptr && std::string_view(berth_history) == "off") return std::nullopt;
  Where out{"", "/var/lib/berth/history.db"};
  if (is_absolute(xdg_state_home))
    out.dir = std::string(xdg_state_home) + "/berth";
  else if (is_absolute(home))
    out.dir = std::string(home) + "/.local/state/berth";
  else
    return std::nullopt;
  return out;
}

std::optional<Where> own_history() {
  return history_where(std::getenv("BERTH_HISTORY"), std::getenv("XDG_STATE_HOME"), std::getenv("HOME"));
}

bool machine_db_is_ours_to_write(const Where& where) {
  struct stat st {};
  const std::string& path = where.machine_db;
  return ::stat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode) && ::access(path.c_str(), R_OK | W_OK) == 0 &&
         ::access(path.substr(0, path.rfind('/')).c_str(), W_OK | X_OK) == 0;
}

bool dir_is_ours(const std::string& dir) {
  struct stat st {};
  for (std::string at = dir; !at.empty(); at.resize(at.rfind('/')))
    if (::stat(at.c_str(), &st) == 0) return S_ISDIR(st.st_mode) && (st.st_uid == ::geteuid() || st.st_uid == 0);
  return true;
}

}  // namespace berth
