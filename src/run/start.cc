#include "run/start.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <new>
#include <vector>

#include "base/own_fd.h"
#include "base/sys.h"

namespace berth {

namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(const_cast<char*>(s.c_str()));  // NOLINT: exec's signature
  out.push_back(nullptr);
  return out;
}

constexpr int ioprio_who_process = 1;  // linux/ioprio.h, not in glibc's headers
constexpr int ioprio_class_idle = 3 << 13;

// What the child does between vfork() and exec: it shares our memory, so it calls the kernel and
// changes nothing but `failed`.
void become(const Command& command, const Signals& signals, char* const* argv, char* const* env, volatile int& failed) {
  for (const int life_fd : command.life_fds) ::fcntl(life_fd, F_SETFD, 0);
  if (command.cgroup_fd >= 0) (void)!::write(command.cgroup_fd, "0", 1);
  if (signals.child_was_ignored()) {
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGCHLD, &ignore, nullptr);
  }
  if (command.nice) ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + *command.nice);
  if (!command.affinity.empty()) (void)command.affinity.apply(0);
  if (command.idle_io) ::syscall(SYS_ioprio_set, ioprio_who_process, 0, ioprio_class_idle);
  ::setrlimit(RLIMIT_NOFILE, &command.descriptor_limit);
  ::sigprocmask(SIG_SETMASK, &signals.inherited_mask(), nullptr);
  ::execvpe(argv[0], argv, env);
  failed = errno;
}

// What a child that does not share our memory has to tell.
struct ChildWord {
  volatile int failed = 0;
  volatile uint64_t signals_seen = 0;
};

// As start_command(), where there is something to prepare: for that, a child needs memory of its own. -1 where there is
// none for the two to talk by.
pid_t start_prepared(const Command& command, const Signals& signals, SignalsAtStart& at_start, char* const* argv,
                     char* const* env, volatile int& failed) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return -1;
  const OwnFd until_exec(ends[0]);
  OwnFd kept_by_child(ends[1]);
  void* page = ::mmap(nullptr, sizeof(ChildWord), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return -1;
  auto* word = new (page) ChildWord;
  const pid_t pid = ::fork();
  if (pid == 0) {
    command.prepare();
    at_start.look_from_child();
    word->signals_seen = at_start.seen();
    become(command, signals, argv, env, word->failed);
    ::_exit(127);
  }
  kept_by_child.reset();
  char none = 0;
  if (pid > 0) (void)retry_eintr([&] { return ::read(until_exec.get(), &none, 1); });
  failed = word->failed;
  at_start.set_seen(word->signals_seen);
  ::munmap(page, sizeof(ChildWord));
  return pid;
}

}  // namespace

[[gnu::noinline]] pid_t start_command(const Command& command, const Signals& signals, SignalsAtStart& at_start,
                                      volatile int& failed) {
  const std::vector<char*> argv = pointers(command.argv);
  const std::vector<char*> env = pointers(command.environment);
  if (command.prepare) {
    const pid_t prepared = start_prepared(command, signals, at_start, argv.data(), env.data(), failed);
    if (prepared > 0) return prepared;
  }
  const pid_t pid = ::vfork();
  if (pid == 0) {
    at_start.look_from_child();
    become(command, signals, argv.data(), env.data(), failed);
    ::_exit(127);
  }
  return pid;
}

int become_command(const Command& command, const Signals& signals) {
  const std::vector<char*> argv = pointers(command.argv);
  const std::vector<char*> env = pointers(command.environment);
  volatile int failed = 0;
  if (command.prepare) command.prepare();
  become(command, signals, argv.data(), env.data(), failed);
  return failed;
}

}  // namespace berth
