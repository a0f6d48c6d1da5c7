#include "cli/survivors.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "base/own_fd.h"
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

std::string name_of(const std::string& pid) {
  char text[64] = "";
  const OwnFd fd(::open(("/proc/" + pid + "/comm").c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t got = fd.valid() ? ::read(fd.get(), text, sizeof text) : 0;
  std::string name(text, got > 0 ? static_cast<size_t>(got) : 0);
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return printable(name);
}

}  // namespace

std::string survivors_text(const LocalPool& pool, const Record& record) {
  struct stat life {};
  const std::string path = "u" + record.dir + "/" + std::string(record.id.view()) + ".l";
  if (::fstatat(pool.fd(), path.c_str(), &life, AT_SYMLINK_NOFOLLOW) != 0) return "";
  const OwnDir proc(::opendir("/proc"));
  if (!proc) return "";
  std::string text;
  int named = 0;
  constexpr int most_named = 5;
  const std::string own = std::to_string(::getpid());
  while (const dirent* entry = ::readdir(proc.get())) {
    const std::string pid = entry->d_name;
    if (!parse_count(pid) || pid == own || !holds(pid, life)) continue;
    if (++named > most_named) return text + " and others";
    text += (text.empty() ? ": pid " : ", pid ") + pid + " (" + name_of(pid) + ")";
  }
  return text;
}

}  // namespace berth
