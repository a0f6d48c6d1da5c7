#include "history/keep.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <ctime>
#include <memory>

#include "base/own_fd.h"
#include "base/sys.h"
#include "history/fold.h"
#include "history/journal.h"

namespace berth {

namespace {

constexpr int64_t short_us = 50'000;
constexpr int64_t long_us = 2'000'000;
constexpr int64_t append_patience_us = 100'000;
constexpr int64_t most_fold_patience_ms = 50;     // that we wait for the child
constexpr int fold_lock_patience_ms = 2'000;      // that it waits for others
constexpr unsigned fold_limit_s = 20;             // then it is ended
constexpr int64_t long_journal_bytes = 64 << 10;  // some 150 jobs

struct Append {
  Where where;
  std::string lines;
  std::optional<int64_t> size;
};

// Its own thread, because an open() in a home that hangs comes back when it likes, and a thread need not be
// waited for. nullopt: not written, as far as is known.
std::optional<int64_t> append_bounded(const Where& where, std::string lines) {
  auto work = std::make_unique<Append>(Append{where, std::move(lines), {}});
  const auto body = [](void* it) -> void* {
    auto& append = *static_cast<Append*>(it);
    append.size = append_journal(append.where, append.lines);
    return nullptr;
  };
  ::mallopt(M_ARENA_MAX, 1);  // no 64 MiB of address space for the few strings of a thread
  pthread_attr_t attributes;
  if (::pthread_attr_init(&attributes) != 0) return std::nullopt;
  ::pthread_attr_setstacksize(&attributes, size_t{256} << 10);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);  // no signal is the thread's to take
  pthread_t thread{};
  const bool started = ::pthread_create(&thread, &attributes, body, work.get()) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  ::pthread_attr_destroy(&attributes);
  if (!started) return std::nullopt;
  timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  const int64_t ns = until.tv_nsec + append_patience_us * 1000;
  until.tv_sec += ns / 1'000'000'000;
  until.tv_nsec = ns % 1'000'000'000;
  if (::pthread_timedjoin_np(thread, nullptr, &until) == 0) return work->size;
  (void)work.release();  // the thread's, for as long as we live
  return std::nullopt;
}

// Nothing of the caller's stays with it: no descriptor, no session, no directory.
[[noreturn]] void fold_and_exit(const Where& where) {
  ::setsid();
  (void)!::chdir("/");
  ::syscall(SYS_close_range, 0, ~0U, 0);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) (void)::open("/dev/null", O_RDWR);
  ::signal(SIGALRM, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::alarm(fold_limit_s);
  (void)fold_history(where, fold_lock_patience_ms);
  ::_exit(0);
}

// For at most a hundredth of what the job took.
void fold_in_child(const Where& where, int64_t took_us) {
  const pid_t pid = ::fork();
  if (pid == 0) fold_and_exit(where);
  if (pid < 0) return;
  const OwnFd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd one{pid_fd.get(), POLLIN, 0};
  const int64_t patience_ms = std::min(most_fold_patience_ms, took_us / 1000 / 100);
  if (pid_fd.valid()) (void)::poll(&one, 1, static_cast<int>(patience_ms));
  (void)::waitpid(pid, nullptr, WNOHANG);
}

}  // namespace

void keep_history(const std::vector<Job>& jobs, Fold fold) {
  if (jobs.empty()) return;
  const auto where = own_history();
  if (!where) return;
  std::string lines;
  for (const Job& job : jobs) lines += encode_job(job);
  int64_t took_us = 0;
  for (const Job& job : jobs) took_us = std::max(took_us, job.ended_us - job.arrival_us);
  const bool at_once = took_us < short_us || fold == Fold::here;
  const auto size = at_once ? append_journal(*where, lines) : append_bounded(*where, std::move(lines));
  if (!size) return;
  if (fold == Fold::here) {
    ::alarm(fold_limit_s);
    (void)fold_history(*where, fold_lock_patience_ms);
    ::alarm(0);
  } else if ((fold == Fold::in_time && took_us >= long_us) || *size >= long_journal_bytes) {
    fold_in_child(*where, took_us);
  }
}

}  // namespace berth
