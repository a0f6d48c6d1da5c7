#include "cli/survivors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "base/small_file.h"
#include "base/text.h"

namespace berth {

namespace {

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};
using OwnDir = std::unique_ptr<DIR, CloseDir>;

bool holds(const std::string& pid, const struct stat& life) {
  const std::string path = "/proc/" + pid + "/fd";
  const OwnDir fds(::opendir(path.c_str()));
  if (!fds) return false;
  while (const dirent* entry = ::readdir(fds.get())) {
    struct stat st {};
    if (::fstatat(::dirfd(fds.get()), entry->d_name, &st, 0) == 0 && st.st_dev == life.st_dev &&
        st.st_ino == life.st_ino)
      return true;
  }
  return false;
}

std::string name_of(const std::string& pid) { return printable(read_word("/proc/" + pid + "/comm").value_or("")); }

}  // namespace

std::string name_processes(const std::vector<pid_t>& pids) {
  constexpr size_t most_named = 5;
  std::string text;
  for (size_t i = 0; i < pids.size() && i < most_named; ++i)
    text +=
        (text.empty() ? "pid " : ", pid ") + std::to_string(pids[i]) + " (" + name_of(std::to_string(pids[i])) + ")";
  return pids.size() > most_named ? text + " and others" : text;
}

std::string survivors_text(const LocalPool& pool, const Record& record, const std::vector<pid_t>& known) {
  if (!known.empty()) return ": " + name_processes(known);
  struct stat life {};
  const std::string path = "u" + record.dir + "/" + std::string(record.id.view()) + ".l";
  if (::fstatat(pool.fd(), path.c_str(), &life, AT_SYMLINK_NOFOLLOW) != 0) return "";
  const OwnDir proc(::opendir("/proc"));
  if (!proc) return "";
  std::vector<pid_t> holders;
  while (const dirent* entry = ::readdir(proc.get())) {
    const auto pid = parse_count(entry->d_name);
    if (pid && *pid != ::getpid() && holds(entry->d_name, life)) holders.push_back(static_cast<pid_t>(*pid));
  }
  return holders.empty() ? "" : ": " + name_processes(holders);
}

}  // namespace berth
