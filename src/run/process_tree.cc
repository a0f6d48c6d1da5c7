#include "run/process_tree.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/pid_namespace.h"
#include "base/process_memory.h"
#include "base/sys.h"

namespace berth {

namespace {

// Against a /proc that makes no sense; a machine has 2^22 pids at most, and mostly 2^15.
constexpr size_t most = size_t{1} << 16U;

// Adds all below those who are in `out`, each behind its parent.
void add_descendants(std::vector<pid_t>& out) {
  for (size_t i = 0; i < out.size() && out.size() < most; ++i)
    for (const pid_t child : children_of("/proc", out[i])) out.push_back(child);
}

bool is_dead(pid_t child) {
  siginfo_t info{};
  const auto peek = [&] { return ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT); };
  return retry_eintr(peek) == 0 && info.si_pid == child;
}

}  // namespace

std::vector<pid_t> left_running(const std::function<bool(pid_t)>& is_ours) {
  std::vector<pid_t> out;
  if (own_pid_namespace() == 0) return out;  // in such a /proc our pid is another's
  for (const pid_t child : children_of("/proc", ::getpid()))
    if (!is_dead(child) && !is_ours(child)) out.push_back(child);
  add_descendants(out);
  return out;
}

std::vector<pid_t> tree_of(pid_t root) {
  std::vector<pid_t> out{root};
  if (own_pid_namespace() != 0) add_descendants(out);
  return out;
}

}  // namespace berth
