#include "run/process_tree.h"

#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "base/pid_namespace.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

// The children of a process, dead or alive. The kernel keeps them by the thread that made them.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> out;
  const std::string dir = "/proc/" + std::to_string(parent) + "/task";
  const auto threads = list_names(dir);
  for (const std::string& thread : threads ? *threads : std::vector<std::string>{})
    if (const auto text = read_text(dir + "/" + thread + "/children"))
      for (const std::string& word : split(*text, ' '))
        if (const auto pid = parse_count(word)) out.push_back(static_cast<pid_t>(*pid));
  return out;
}

// Adds the living children of `parent` and of theirs.
void add_descendants(pid_t parent, const std::function<bool(pid_t)>& is_ours, std::vector<pid_t>& out) {
  constexpr size_t most = 256;
  const bool own = parent == ::getpid();
  for (const pid_t child : children_of(parent)) {
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

}  // namespace berth
