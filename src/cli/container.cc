#include "cli/container.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "base/pid_namespace.h"

namespace berth {

namespace {

ino_t namespace_of(const char* path) {
  struct stat st {};
  return ::stat(path, &st) == 0 ? st.st_ino : 0;
}

bool has_mark() {
  struct stat st {};
  for (const char* path : {"/.dockerenv", "/run/.containerenv"})
    if (::lstat(path, &st) == 0) return true;
  return false;
}

}  // namespace

bool in_container() {
  const ino_t pid_namespace = namespace_of("/proc/self/ns/pid");
  if (pid_namespace != 0 && pid_namespace != initial_pid_namespace) return true;
  const ino_t theirs = namespace_of("/proc/1/ns/mnt");
  return has_mark() && theirs != 0 && theirs != namespace_of("/proc/self/ns/mnt");
}

bool is_mount_point(const std::string& path) {
  struct stat here {};
  struct stat above {};
  return ::stat(path.c_str(), &here) == 0 && ::stat((path + "/..").c_str(), &above) == 0 && here.st_dev != above.st_dev;
}

Result<> check_pool_is_shared(const std::string& pool_path) {
  const char* named = std::getenv("BERTH_POOL");
  if (named != nullptr && *named != '\0') return success();
  if (!in_container() || is_mount_point(pool_path)) return success();
  return Error{ErrorKind::unavailable, 0,
               "this is a container with a pool of its own, and the GPUs are shared with others who do not see it: "
               "docker run -v /run/berth:/run/berth ... (or name a shared pool in BERTH_POOL)"};
}

}  // namespace berth
