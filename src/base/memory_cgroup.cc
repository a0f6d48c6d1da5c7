#include "base/memory_cgroup.h"

#include <unistd.h>

#include <algorithm>

#include "base/small_file.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr int deepest = 32;  // groups below each other that are looked at
// Version 1 writes "no limit" as the largest number of pages that fits.
constexpr int64_t no_limit_bytes = int64_t{1} << 60;

struct Files {
  const char* limit;
  const char* used;
  const char* droppable;  // of memory.stat
};

Files files_of(int version) {
  if (version == 2) return {"/memory.max", "/memory.current", "inactive_file"};
  return {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "total_inactive_file"};
}

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Of /proc/self/cgroup, "4:memory:/a/b" and "0::/a/b".
std::optional<std::string> path_in(const std::string& text, int version) {
  for (const std::string& line : split(text, '\n')) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool ours = version == 2 ? controllers == ",," : controllers.find(",memory,") != std::string::npos;
    if (ours) return line.substr(second + 1);
  }
  return std::nullopt;
}

std::optional<int64_t> limit_of(const std::string& path, int version) {
  const auto limit = read_count(path + files_of(version).limit);  // "max" is none
  return limit && *limit < no_limit_bytes ? limit : std::nullopt;
}

// Calls visit(path) for the group and those above it.
template <class Visit>
void each_upwards(const MemoryCgroup& group, const Visit& visit) {
  std::string path = group.path;
  for (int depth = 0; depth < deepest && path.size() >= group.mount.size(); ++depth) {
    visit(path);
    if (path == group.mount) return;
    path.resize(path.rfind('/'));
  }
}

// `process`: its directory in /proc.
std::optional<MemoryCgroup> group_of(const std::string& root, const std::string& process) {
  const std::string top = root + "/sys/fs/cgroup";
  MemoryCgroup out;
  if (exists(top + "/cgroup.controllers"))
    out = {2, top, top};
  else if (exists(top + "/memory/memory.limit_in_bytes"))
    out = {1, top + "/memory", top + "/memory"};
  else
    return std::nullopt;
  const auto text = read_text(root + "/proc/" + process + "/cgroup");
  const auto path = text ? path_in(*text, out.version) : std::nullopt;
  // In a container the path may be that of the host, and what is mounted the group itself.
  if (path && *path != "/" && path->find("/..") == std::string::npos && exists(out.mount + *path))
    out.path = out.mount + *path;
  return out;
}

}  // namespace

std::optional<MemoryCgroup> own_memory_cgroup(const std::string& root) { return group_of(root, "self"); }

std::optional<MemoryCgroup> memory_cgroup_of(const std::string& root, pid_t pid) {
  return group_of(root, std::to_string(pid));
}

std::optional<int64_t> memory_left(const MemoryCgroup& group) {
  std::optional<int64_t> left;
  const Files files = files_of(group.version);
  each_upwards(group, [&](const std::string& path) {
    const auto limit = limit_of(path, group.version);
    const auto used = limit ? read_count(path + files.used) : std::nullopt;
    if (!used) return;
    const int64_t droppable = value_in(path + "/memory.stat", files.droppable).value_or(0);
    const int64_t here = std::max<int64_t>(0, *limit - std::max<int64_t>(0, *used - droppable));
    left = std::min(left.value_or(here), here);
  });
  return left;
}

std::optional<int64_t> memory_limit(const MemoryCgroup& group) {
  std::optional<int64_t> lowest;
  each_upwards(group, [&](const std::string& path) {
    const auto limit = limit_of(path, group.version);
    if (limit) lowest = std::min(lowest.value_or(*limit), *limit);
  });
  return lowest;
}

std::optional<int64_t> value_in(const std::string& path, const std::string& name) {
  const auto text = read_text(path);
  if (!text) return std::nullopt;
  for (const std::string& line : split(*text, '\n'))
    if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ' ')
      return parse_count(line.substr(name.size() + 1));
  return std::nullopt;
}

}  // namespace berth
