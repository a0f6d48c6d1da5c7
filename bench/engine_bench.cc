// acquire + release through the engine with N other live parties, and hand-over between processes,
// each beside what flock(2) takes for the same in the same run, turn by turn.
//
// Prints one row a measurement: median and p99 of at least 400 rounds, and the ratio of the medians.
#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "engine/engine.h"
#include "ledger/local_ledger.h"

namespace {

using namespace berth;

double now_us() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

struct Series {
  std::vector<double> us;
  double at(double quantile) {
    std::sort(us.begin(), us.end());
    return us.empty() ? 0 : us[std::min(us.size() - 1, static_cast<size_t>(quantile * static_cast<double>(us.size())))];
  }
};

void row(const char* what, Series& ours, const char* beside, Series& theirs) {
  std::printf("%-44s %9.1f %9.1f   %-24s %8.1f %8.1f   %6.2f\n", what, ours.at(0.5), ours.at(0.99), beside,
              theirs.at(0.5), theirs.at(0.99), ours.at(0.5) / theirs.at(0.5));
  std::fflush(stdout);
}

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "engine_bench: %s\n", why.c_str());
  std::exit(1);
}

std::string make_dir() {
  std::string path = "/dev/shm/berth-bench-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) give_up("cannot make a directory in /dev/shm");
  return path;
}

LocalPool open_pool(const std::string& dir) {
  auto pool = LocalPool::open(dir, LocalPool::IfMissing::create);
  if (!pool) give_up(pool.error().message);
  return std::move(*pool);
}

PoolConfig capacities() {
  PoolConfig config;
  config.capacities = {{"cpu", 1'000'000}, {"ram", max_amount}, {"slot", 1}};
  return config;
}

Request request_for(const std::string& name) {
  Request request;
  request.claim.counters = {{name, 1}};
  request.info = {::getpid(), "", "bench", ""};
  return request;
}

struct PartyInPool {
  explicit PartyInPool(LocalPool& pool) : ledger(pool), engine(ledger, capacities) {}
  LocalLedger ledger;
  Engine engine;
};

void must(const Result<Acquired>& got) {
  if (!got) give_up(got.error().message);
  if (got->ending != Ending::seated) give_up("not seated");
}

// N live holders of a little of everything, made by one process.
void acquire_release(int others, int rounds) {
  const std::string dir = make_dir();
  {
    LocalPool pool = open_pool(dir);
    std::vector<std::unique_ptr<PartyInPool>> crowd;
    for (int i = 0; i < others; ++i) {
      crowd.push_back(std::make_unique<PartyInPool>(pool));
      must(crowd.back()->engine.acquire(request_for("cpu"), {}));
    }
    LocalPool own = open_pool(dir);
    const int lock = ::open((dir + "/flock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    Series ours;
    Series theirs;
    for (int i = 0; i < rounds + 20; ++i) {
      const double t0 = now_us();
      {
        PartyInPool party(own);
        must(party.engine.acquire(request_for("cpu"), {}));
        (void)party.engine.release();
      }
      const double t1 = now_us();
      const int fd = ::open((dir + "/flock").c_str(), O_RDWR | O_CLOEXEC);
      ::flock(fd, LOCK_EX);
      ::flock(fd, LOCK_UN);
      ::close(fd);
      const double t2 = now_us();
      if (i < 20) continue;
      ours.us.push_back(t1 - t0);
      theirs.us.push_back(t2 - t1);
    }
    ::close(lock);
    const std::string what = "acquire+release, " + std::to_string(others) + " live parties, us";
    row(what.c_str(), ours, "open+flock+unlock+close", theirs);
  }
  (void)!std::system(("rm -rf " + dir).c_str());
}

// A child that waits for `take`, then tells when it had it. Returns the time between `give` here and
// the child's return from `take`.
double hand_over(const std::function<void()>& take_in_child, const std::function<bool()>& child_waits,
                 const std::function<double()>& give) {
  int fds[2];
  if (::pipe(fds) != 0) give_up("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    take_in_child();
    const double at = now_us();
    (void)!::write(fds[1], &at, sizeof at);
    ::_exit(0);
  }
  while (!child_waits()) ::usleep(200);
  ::usleep(1000);
  const double given = give();
  double taken = 0;
  if (::read(fds[0], &taken, sizeof taken) != sizeof taken) give_up("the waiter died");
  ::close(fds[0]);
  ::close(fds[1]);
  ::waitpid(child, nullptr, 0);
  return taken - given;
}

// From the death of a holder to the moment at which its waiter has what it had. `take` is what both do.
double hand_over_by_death(const std::function<void()>& take, const std::function<bool()>& child_waits) {
  int fds[2];
  if (::pipe(fds) != 0) give_up("pipe");
  const pid_t holder = ::fork();
  if (holder == 0) {
    take();
    (void)!::write(fds[1], "x", 1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  (void)!::read(fds[0], &byte, 1);
  ::close(fds[0]);
  ::close(fds[1]);
  const double took = hand_over(take, child_waits, [&] {
    const double at = now_us();
    ::kill(holder, SIGKILL);
    return at;
  });
  ::waitpid(holder, nullptr, 0);
  return took;
}

bool blocked_on_flock(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return false;
  FILE* f = std::fopen("/proc/locks", "re");
  char line[256];
  bool found = false;
  const std::string inode = ":" + std::to_string(st.st_ino) + " ";
  while (f != nullptr && std::fgets(line, sizeof line, f) != nullptr)
    found = found ||
            (std::string(line).find("->") != std::string::npos && std::string(line).find(inode) != std::string::npos);
  if (f != nullptr) std::fclose(f);
  return found;
}

double berth_hand_over(const std::string& dir, LocalPool& pool) {
  const auto waits = [&] {
    auto snapshot = pool.read();
    return snapshot.ok() && std::any_of(snapshot->parties.begin(), snapshot->parties.end(),
                                        [](const Party& p) { return p.state == PartyState::waiting; });
  };
  const auto take_and_keep = [&] {
    static LocalPool own = open_pool(dir);
    static PartyInPool party(own);
    must(party.engine.acquire(request_for("slot"), {}));
  };
  return hand_over_by_death(take_and_keep, waits);
}

// Keeps this process on one processor: left alone, the scheduler puts holder and waiter on one or on
// two as it likes, and measures its own mood.
void pin(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  (void)::sched_setaffinity(0, sizeof set, &set);
}

void unpin() {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int i = 0; i < CPU_SETSIZE; ++i) CPU_SET(i, &set);
  (void)::sched_setaffinity(0, sizeof set, &set);
}

// Two long-lived processes, one holding and one waiting, each on a processor of its own.
// Returns what the child stamped minus what `give` stamped, for every round.
std::vector<double> hand_overs(int rounds, const std::function<void()>& take, const std::function<double()>& give,
                               const std::function<bool()>& somebody_waits) {
  int go[2];
  int done[2];
  if (::pipe(go) != 0 || ::pipe(done) != 0) give_up("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    pin(1);
    char byte = 0;
    while (::read(go[0], &byte, 1) == 1 && byte == 'g') {
      take();
      const double at = now_us();
      (void)give();
      (void)!::write(done[1], &at, sizeof at);
    }
    ::_exit(0);
  }
  pin(0);
  std::vector<double> out;
  for (int i = 0; i < rounds; ++i) {
    take();
    (void)!::write(go[1], "g", 1);
    while (!somebody_waits()) ::usleep(200);
    ::usleep(1000);
    const double given = give();
    double taken = 0;
    if (::read(done[0], &taken, sizeof taken) != sizeof taken) give_up("the waiter died");
    out.push_back(taken - given);
  }
  (void)!::write(go[1], "q", 1);
  ::waitpid(child, nullptr, 0);
  for (const int fd : {go[0], go[1], done[0], done[1]}) ::close(fd);
  unpin();
  return out;
}

// Ours and flock's in short turns, so that a drifting machine drifts for both.
void hand_overs_at_release(int rounds) {
  const std::string dir = make_dir();
  const std::string lock = dir + ".lock";
  Series ours;
  Series theirs;
  constexpr int turn = 40;
  for (int done = 0; done < rounds; done += turn) {
    {
      LocalPool watch = open_pool(dir);
      std::unique_ptr<LocalPool> pool;
      std::unique_ptr<PartyInPool> party;
      const auto take = [&] {
        if (!pool) pool = std::make_unique<LocalPool>(open_pool(dir));
        if (!party) party = std::make_unique<PartyInPool>(*pool);
        must(party->engine.acquire(request_for("slot"), {}));
      };
      const auto give = [&] {
        const double at = now_us();
        (void)party->engine.release();
        return at;
      };
      const auto waits = [&] { return !watch.line_is_empty().value(); };
      const auto more = hand_overs(turn, take, give, waits);
      ours.us.insert(ours.us.end(), more.begin() + 4, more.end());
    }
    int fd = -1;
    const pid_t first = ::getpid();
    const auto take = [&] {
      // A forked child must not share our description.
      if (fd < 0 || (::getpid() != first && fd < 1000))
        fd = ::fcntl(::open(lock.c_str(), O_RDWR | O_CREAT, 0600), F_DUPFD_CLOEXEC, ::getpid() == first ? 100 : 1000);
      ::flock(fd, LOCK_EX);
    };
    const auto give = [&] {
      const double at = now_us();
      ::flock(fd, LOCK_UN);
      return at;
    };
    const auto more = hand_overs(turn, take, give, [&] { return blocked_on_flock(lock); });
    theirs.us.insert(theirs.us.end(), more.begin() + 4, more.end());
    ::close(fd);
  }
  row("hand-over at release, us", ours, "blocking flock, same", theirs);
  (void)!std::system(("rm -rf " + dir + " " + lock).c_str());
}

double flock_hand_over(const std::string& path) {
  const auto take = [&] {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ::flock(fd, LOCK_EX);
  };
  const auto waits = [&] { return blocked_on_flock(path); };
  return hand_over_by_death(take, waits);
}

void hand_overs_by_death(int rounds) {
  const std::string dir = make_dir();
  const std::string lock = dir + ".lock";
  {
    LocalPool pool = open_pool(dir);
    Series ours;
    Series theirs;
    for (int i = 0; i < rounds; ++i) {
      ours.us.push_back(berth_hand_over(dir, pool));
      theirs.us.push_back(flock_hand_over(lock));
    }
    row("hand-over after SIGKILL, us", ours, "blocking flock, same", theirs);
  }
  (void)!std::system(("rm -rf " + dir + " " + lock).c_str());
}

}  // namespace

int main() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::printf("%-44s %9s %9s   %-24s %8s %8s   %6s\n", "berth", "median", "p99", "beside", "median", "p99", "ratio");
  acquire_release(0, 2000);
  acquire_release(10, 1000);
  acquire_release(100, 1000);
  acquire_release(1000, 400);
  hand_overs_at_release(480);
  hand_overs_by_death(400);
  return 0;
}
