#include "run/process_tree.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/pid_namespace.h"
#include "base/process_memory.h"
#include "base/sys.h"

namespace berth {

namespace {

// Adds the living children of `parent` and of theirs.
void add_descendants(pid_t parent, const std::function<bool(pid_t)>& is_ours, std::vector<pid_t>& out) {
  constexpr size_t most = 256;
  const bool own = parent == ::getpid();
  for (const pid_t child : children_of("/proc", parent)) {
    if (out.size() >= most) return;
    siginfo_t info{};
    const auto peek = [&] { return ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT); };
    if (own && retry_eintr(peek) == 0 && info.si_pid == child) continue;  // dead
    if (own && is_ours(child)) continue;
    out.push_back(child);
    add_descendants(child, is_ours, out);
  }
}

}  // namespace

std::vector<pid_t> left_running(const std::function<bool(pid_t)>& is_ours) {
  std::vector<pid_t> out;
  if (own_pid_namespace() == 0) return out;  // in such a /proc our pid is another's
  add_descendants(::getpid(), is_ours, out);
  return out;
}

std::vector<pid_t> tree_of(pid_t root) {
  std::vector<pid_t> out{root};
  if (own_pid_namespace() != 0)
    add_descendants(
        root, [](pid_t) { return false; }, out);
  return out;
}

}  // namespace berth
