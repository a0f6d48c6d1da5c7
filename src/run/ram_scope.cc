#include "run/ram_scope.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/memory_cgroup.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr std::string_view prefix = "berth-";

bool write_file(const std::string& path, const std::string& text) {
  const OwnFd fd(retry_eintr([&] { return ::open(path.c_str(), O_WRONLY | O_CLOEXEC); }));
  if (!fd.valid()) return false;
  return retry_eintr([&] { return ::write(fd.get(), text.data(), text.size()); }) == static_cast<ssize_t>(text.size());
}

bool may_write(const std::string& path) { return ::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0; }

bool gives_memory(const std::string& group) {
  for (const std::string& word : split(read_word(group + "/cgroup.subtree_control").value_or(""), ' '))
    if (word == "memory") return true;
  return false;
}

// Where a group can be made. In version 2 a group with processes in it gives its controllers to none below it (but
// for the root), so ours is made beside our own.
std::string parent_for(const MemoryCgroup& own) {
  if (own.version == 1 || gives_memory(own.path)) return own.path;
  if (own.path == own.mount) return "";
  const std::string above = own.path.substr(0, own.path.rfind('/'));
  return gives_memory(above) ? above : "";
}

// A group that somebody is in cannot be removed; one whose maker is gone is nobody's.
void sweep(const std::string& parent) {
  const auto names = list_names(parent);
  for (const std::string& name : names ? *names : std::vector<std::string>{}) {
    if (!name.starts_with(prefix)) continue;
    const auto pid = parse_count(name.substr(prefix.size()));
    if (pid && *pid != ::getpid() && ::kill(static_cast<pid_t>(*pid), 0) != 0 && errno == ESRCH)
      ::rmdir(std::string(parent).append("/").append(name).c_str());
  }
}

}  // namespace

int64_t hard_limit_bytes(int64_t claimed_bytes) { return claimed_bytes + claimed_bytes / 16 + (int64_t{16} << 20U); }
// Above it the kernel slows a job down before it ends it, by 64 s times the square of the excess, for each 256 KiB. So
// close below the other, a job of 100 GiB that goes on and on loses some seconds, and not minutes.
int64_t soft_limit_bytes(int64_t claimed_bytes) { return hard_limit_bytes(claimed_bytes) - claimed_bytes / 128; }

void end_own_group_as_one(const std::string& root, const std::string& unit) {
  const auto own = own_memory_cgroup(root);
  if (own && own->path.ends_with("/" + unit)) (void)write_file(own->path + "/memory.oom.group", "1");
}

bool RamScope::can_be_made(const std::string& root) {
  const auto own = own_memory_cgroup(root);
  const std::string parent = own ? parent_for(*own) : "";
  return !parent.empty() && may_write(parent) && may_write(parent + "/cgroup.procs");
}

std::optional<RamScope> RamScope::make(const std::string& root, int64_t claimed_bytes) {
  const auto own = own_memory_cgroup(root);
  const std::string parent = own ? parent_for(*own) : "";
  // Into a group beside our own steps only who may write to the group above both.
  if (parent.empty() || (!may_write(parent + "/cgroup.procs") && errno == EACCES)) return std::nullopt;
  sweep(parent);
  RamScope scope(parent + "/" + std::string(prefix) + std::to_string(::getpid()), own->version, Whose::ours);
  if (::mkdir(scope.path_.c_str(), 0755) != 0 && errno != EEXIST) {
    scope.path_.clear();
    return std::nullopt;
  }
  const std::string procs = scope.path_ + "/cgroup.procs";
  scope.procs_.reset(retry_eintr([&] { return ::open(procs.c_str(), O_WRONLY | O_CLOEXEC); }));
  if (!scope.procs_.valid() || !scope.limit(claimed_bytes)) return std::nullopt;
  return scope;
}

// Swap is not memory that was claimed: a job is ended rather than the machine's disk kept busy with it.
bool RamScope::limit(int64_t claimed_bytes) const {
  const std::string hard = std::to_string(hard_limit_bytes(claimed_bytes));
  if (version_ == 1) {
    // Not there without swap accounting. It may never be the lower of the two: raised first, lowered last.
    const std::string with_swap = path_ + "/memory.memsw.limit_in_bytes";
    (void)write_file(with_swap, hard);
    if (!write_file(path_ + "/memory.limit_in_bytes", hard)) return false;
    (void)write_file(with_swap, hard);
    return true;
  }
  if (!write_file(path_ + "/memory.max", hard)) return false;
  (void)write_file(path_ + "/memory.high", std::to_string(soft_limit_bytes(claimed_bytes)));
  (void)write_file(path_ + "/memory.swap.max", "0");
  (void)write_file(path_ + "/memory.oom.group", "1");
  return true;
}

std::optional<RamScope> RamScope::joined(const std::string& root, pid_t pid, const std::string& unit) {
  const auto group = memory_cgroup_of(root, pid);
  if (!group || group->version != 2 || !group->path.ends_with("/" + unit)) return std::nullopt;
  if (!read_count(group->path + "/memory.max")) return std::nullopt;  // no file, or "max"
  RamScope scope(group->path, group->version, Whose::managers);
  scope.events_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  (void)::inotify_add_watch(scope.events_.get(), (group->path + "/memory.events").c_str(), IN_MODIFY);
  return scope;
}

void RamScope::quiet_events() const {
  std::array<char, 4096> events{};
  while (retry_eintr([&] { return ::read(events_.get(), events.data(), events.size()); }) > 0) continue;
}

RamScope::~RamScope() {
  if (!path_.empty() && whose_ == Whose::ours) ::rmdir(path_.c_str());
}

std::optional<int64_t> RamScope::used_bytes() const {
  const std::string stat = path_ + "/memory.stat";
  const auto anonymous = value_in(stat, version_ == 1 ? "total_rss" : "anon");
  if (!anonymous) return std::nullopt;
  return *anonymous + value_in(stat, version_ == 1 ? "total_shmem" : "shmem").value_or(0);
}

// Kernels before 5.19 have no memory.peak.
std::optional<int64_t> RamScope::peak_bytes() const {
  const auto most = read_count(path_ + (version_ == 1 ? "/memory.max_usage_in_bytes" : "/memory.peak"));
  if (!most) return std::nullopt;
  const std::string stat = path_ + "/memory.stat";
  const char* files = version_ == 1 ? "total_cache" : "file";  // shared memory among them
  const int64_t cached =
      value_in(stat, files).value_or(0) - value_in(stat, version_ == 1 ? "total_shmem" : "shmem").value_or(0);
  return std::max<int64_t>(0, *most - std::max<int64_t>(0, cached));
}

bool RamScope::ran_out() const {
  const std::string file = version_ == 1 ? "/memory.oom_control" : "/memory.events";
  return value_in(path_ + file, "oom_kill").value_or(0) > 0;
}

}  // namespace berth
