#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/own_fd.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"
#include "cli/container.h"
#include "cli/doctor.h"
#include "cli/notes.h"
#include "cli/view.h"
#include "ledger/pool_lock.h"

namespace berth {

namespace {

bool exists(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0;
}

bool pool_is_chosen() {
  const char* env = std::getenv("BERTH_POOL");
  return env != nullptr && *env != '\0';
}

// RemoveIPC= of systemd-logind: the last word of its files counts; it is on where none is said.
bool logind_removes_ipc() {
  std::vector<std::string> files{"/etc/systemd/logind.conf"};
  for (const char* folder :
       {"/usr/lib/systemd/logind.conf.d", "/run/systemd/logind.conf.d", "/etc/systemd/logind.conf.d"}) {
    std::vector<std::string> found;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(folder), ::closedir);
    while (const dirent* entry = dir ? ::readdir(dir.get()) : nullptr)
      if (std::string(entry->d_name).ends_with(".conf")) found.push_back(std::string(folder) + "/" + entry->d_name);
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  bool removes = true;
  for (const std::string& file : files) {
    const auto text = read_text(file);
    for (const std::string& line : split(text.ok() ? *text : "", '\n'))
      if (line.starts_with("RemoveIPC="))
        removes =
            line != "RemoveIPC=no" && line != "RemoveIPC=false" && line != "RemoveIPC=off" && line != "RemoveIPC=0";
  }
  return removes;
}

// The directory at which the file system of `path` begins.
std::string mount_point_of(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), std::free);
  std::string at = real ? real.get() : path;
  struct stat here {};
  struct stat above {};
  while (at.size() > 1 && ::stat(at.c_str(), &here) == 0) {
    const std::string parent = at.substr(0, std::max<size_t>(1, at.rfind('/')));
    if (::stat(parent.c_str(), &above) != 0 || above.st_dev != here.st_dev) break;
    at = parent;
  }
  return at;
}

std::string group_name(gid_t gid) {
  const group* found = ::getgrgid(gid);
  return found != nullptr ? printable(found->gr_name) : std::to_string(gid);
}

void look_at_space(Findings& out, const LocalPool& pool) {
  struct statfs fs {};
  if (::fstatfs(pool.fd(), &fs) != 0) return;
  const auto size = static_cast<int64_t>(fs.f_blocks) * fs.f_bsize;
  const auto free = static_cast<int64_t>(fs.f_bavail) * fs.f_bsize;
  const std::string mount = mount_point_of(pool.path());
  const std::string on = shell_word(mount);
  std::string text = "it is on a tmpfs of this machine, " + mount;
  if (size > 0) text += ", with " + show_size(free) + " of " + show_size(size) + " free";
  out.note(text);
  if (size > 0 && free == 0)
    out.wrong("its file system is full",
              {in_words("remove what fills it (du -a " + on + " | sort -n | tail), or make it larger:"),
               by_command("mount -o remount,size=" + std::to_string(size / 512) + "k " + on)});
  if (fs.f_files > 0 && fs.f_ffree == 0)
    out.wrong("its file system has no inode left",
              {in_words("remove what fills it (du --inodes " + on + " | sort -n | tail), or allow for more:"),
               by_command("mount -o remount,nr_inodes=" + std::to_string(fs.f_files * 2) + " " + on)});
}

}  // namespace

void look_at_place(Findings& out, const std::string& path) {
  const bool chosen = pool_is_chosen();
  out.note("the pool is " + printable(path) + (chosen ? " (BERTH_POOL says so)" : " (a default)"));
  if (!path.starts_with("/"))
    out.wrong("BERTH_POOL does not begin with /, so it is another pool in every directory",
              {in_words("export BERTH_POOL=/dev/shm/NAME, or unset it")});
  if (const auto second = second_default_pool())
    out.wrong("there are two default pools, " + path + (exists(path) ? "" : " (which nobody has made yet)") + " and " +
                  second->path + ": jobs in one do not see those in the other (" + std::to_string(second->parties) +
                  " in " + second->path + ")",
              {in_words("wait until nobody is left there: BERTH_POOL=" + second->path + " berth status"),
               by_command("rm -r " + second->path, second->owner)});
  if (path.starts_with("/dev/shm/")) {
    out.note("in /dev/shm whoever made the pool can upset it, and every container has another");
    if (exists("/run/systemd/system") && logind_removes_ipc()) {
      std::vector<Mend> mends{
          by_command("install -d -m 1777 /run/berth"),
          in_words("so that it is there after the next boot too, in /etc/tmpfiles.d/berth.conf: d /run/berth 1777")};
      if (chosen) mends.push_back(by_command("unset BERTH_POOL", ::geteuid()));
      out.wrong(
          "systemd-logind removes what a user has in /dev/shm at his last logout, running jobs or not (RemoveIPC)",
          mends);
    }
  }
  if (in_container() && !is_mount_point(path))
    out.wrong("this is a container with a pool of its own, which the host and other containers do not see",
              {in_words("make /run/berth on the host (install -d -m 1777 /run/berth), and start this container with "
                        "docker run -v /run/berth:/run/berth ...")});
}

// As the first berth run will find it, which makes no directory but the pool's own.
void look_at_making(Findings& out, const std::string& path) {
  const size_t slash = path.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const std::string cannot = "cannot make the pool " + path;
  const OwnFd fd(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return look_at_failure(out, path, sys_error(errno, cannot + ": " + parent));
  struct statfs fs {};
  if (::fstatfs(fd.get(), &fs) == 0 && fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC)
    return look_at_failure(out, path,
                           {ErrorKind::unavailable, 0, cannot + ": " + parent + " is on no tmpfs of this machine"});
  if (::faccessat(fd.get(), ".", W_OK | X_OK, AT_EACCESS) != 0)
    return look_at_failure(out, path, sys_error(errno, cannot));
  out.note("nobody has made it yet; the first berth run does");
}

void look_at_failure(Findings& out, const std::string& path, const Error& error) {
  struct stat st {};
  const std::string word = shell_word(path);
  const bool there = ::lstat(path.c_str(), &st) == 0;
  if (there && error.sys_errno == EACCES && S_ISDIR(st.st_mode))
    return out.wrong(error.message, {by_command("chmod 1777 " + word, st.st_uid)});
  if (pool_is_chosen()) return out.wrong(error.message, {by_command("unset BERTH_POOL", ::geteuid())});
  if (there && !S_ISDIR(st.st_mode)) return out.wrong(error.message, {by_command("rm " + word, st.st_uid)});
  if (there) return out.wrong(error.message, {by_command("mount -t tmpfs -o mode=1777 tmpfs " + word)});
  out.wrong(error.message, {in_words("set BERTH_POOL to a directory under /run or /dev/shm")});
}

void look_at_directory(Findings& out, const LocalPool& pool) {
  struct stat st {};
  if (::fstat(pool.fd(), &st) != 0) return;
  std::array<char, 16> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o", st.st_mode & 07777U);
  const std::string open_it = "chmod 1777 " + shell_word(pool.path());
  const bool for_all = (st.st_mode & S_IWOTH) != 0;
  const bool for_group = (st.st_mode & S_IWGRP) != 0;
  out.note("it belongs to " + user_name(st.st_uid) + ", has mode " + mode.data() + ", and is for " +
           (for_all     ? "every user"
            : for_group ? "the group " + group_name(st.st_gid)
                        : "its owner alone"));
  if (for_all && (st.st_mode & S_ISVTX) == 0)
    out.wrong("everybody can write to it and it lacks the sticky bit: anyone can remove anyone's lease",
              {by_command(open_it, st.st_uid)});
  if (::faccessat(pool.fd(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    if (errno == EROFS)
      return out.wrong("its file system is mounted read-only here, so nobody can take part from here",
                       {in_words("in a container mount it without :ro; else: mount -o remount,rw")});
    std::vector<Mend> mends;
    if (for_group) mends.push_back(in_words("join the group " + group_name(st.st_gid) + ", or open it to all:"));
    mends.push_back(by_command(open_it, st.st_uid));
    out.wrong("you cannot write to it", mends);
  }
  look_at_space(out, pool);
}

void look_at_lock(Findings& out, const LocalPool& pool) {
  const std::string holder = lock_holder(pool.fd());
  if (holder.empty()) return out.fine("nobody sits on the pool's lock");
  const long pid = holder.starts_with("pid ") ? std::strtol(holder.c_str() + 4, nullptr, 10) : 0;
  if (holder.find("stopped)") != std::string::npos)
    return out.wrong("the pool's lock is held by " + holder + "; all others wait for it",
                     {in_words("let it continue, or end it (kill -9 " + std::to_string(pid) + "):"),
                      by_command("kill -CONT " + std::to_string(pid))});
  // berth holds it for less than a millisecond.
  constexpr int patience_ms = 1000;
  constexpr int step_ms = 50;
  for (int waited_ms = 0; waited_ms < patience_ms; waited_ms += step_ms) {
    ::poll(nullptr, 0, step_ms);
    if (lock_holder(pool.fd()) != holder) return out.fine("the pool's lock changes hands");
  }
  const std::string sentence = "the pool's lock is held by " + holder + " for over a second; all others wait for it";
  if (pid == 0) return out.wrong(sentence, {in_words("look for it on the host or in the other container")});
  out.wrong(sentence, {in_words("if it is not about to finish, end it:"), by_command("kill " + std::to_string(pid))});
}

}  // namespace berth
