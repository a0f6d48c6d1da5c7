#include "history/fold.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "base/own_fd.h"
#include "base/sys.h"
#include "history/journal.h"
#include "history/learned.h"
#include "history/store.h"

namespace berth {

namespace {

OwnFd take_lock(const Where& where, int patience_ms) {
  OwnFd fd(::open(where.file(history_lock).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  const int64_t until_us = monotonic_us() + int64_t{patience_ms} * 1000;
  while (fd.valid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK || monotonic_us() >= until_us) fd.reset();
    sleep_us(2000);
  }
  return fd;
}

bool anything_to_take(const Where& where) {
  struct stat st {};
  for (const char* name : {journal_old, journal_folding, journal_new})
    if (::lstat(where.file(name).c_str(), &st) == 0) return true;
  return false;
}

// What these jobs' labels and commands teach now, by the database.
std::vector<Lesson> lessons_of(Store& store, const std::vector<Job>& jobs) {
  std::set<std::pair<bool, uint64_t>> keys;
  for (const Job& job : jobs) {
    if (!teaches_duration(job) || job.uid != ::geteuid()) continue;
    if (!job.label.empty()) keys.insert({true, learned_key(job.label)});
    keys.insert({false, learned_key(job.command)});
    if (keys.size() >= max_learned) break;
  }
  std::vector<Lesson> out;
  for (const auto& [by_label, key] : keys)
    if (const auto s = estimate_s(store.durations_us(by_label, key, ::geteuid(), most_samples)))
      out.push_back({by_label, key, *s});
  return out;
}

bool add_to(const std::string& path, const Where& where, const std::vector<Job>& jobs, int busy_ms, Folded& folded) {
  const auto store = Store::open(path, busy_ms, folded.trouble, folded.said);
  if (!store) return false;
  if (!store->add(jobs)) {
    folded.trouble = store->trouble();
    folded.said = store->said();
    return false;
  }
  add_lessons(where, lessons_of(*store, jobs));
  return true;
}

bool add_to_own(const Where& where, const std::vector<Job>& jobs, int busy_ms, Folded& folded) {
  const std::string path = where.file(history_db);
  if (add_to(path, where, jobs, busy_ms, folded)) return true;
  if (folded.trouble != SqlTrouble::garbled) return false;
  // Somebody may want to save what can be saved. Its journal belongs to it.
  if (::rename(path.c_str(), (path + ".garbled").c_str()) != 0) return false;
  ::rename((path + "-journal").c_str(), (path + ".garbled-journal").c_str());
  folded = {SqlTrouble::none, "", true};
  return add_to(path, where, jobs, busy_ms, folded);
}

bool add(const Where& where, const std::vector<Job>& jobs, int busy_ms, Folded& folded) {
  if (machine_db_is_ours_to_write(where)) {
    if (add_to(where.machine_db, where, jobs, busy_ms, folded)) return true;
    // Locked: later. Broken: an admin's to mend, and meanwhile there is a place of one's own.
    if (folded.trouble == SqlTrouble::busy || folded.trouble == SqlTrouble::no_library) return false;
    folded = {};
  }
  return add_to_own(where, jobs, busy_ms, folded);
}

}  // namespace

Folded fold_history(const Where& where, int patience_ms) {
  Folded folded;
  if (!anything_to_take(where)) return folded;
  const OwnFd lock = take_lock(where, patience_ms);
  if (!lock.valid()) return folded;
  const mode_t umask_before = ::umask(077);  // commands can have secrets in them
  constexpr int most_rounds = 2;             // what a dead one left, and what came since
  for (int round = 0; round < most_rounds && folded.trouble == SqlTrouble::none; ++round) {
    std::vector<TakenJournal> taken = take_journals(where);
    if (taken.empty()) break;
    std::vector<Job> jobs;
    for (TakenJournal& journal : taken)
      for (Job& job : journal.jobs) jobs.push_back(std::move(job));
    if (!add(where, jobs, patience_ms, folded)) break;
    for (const TakenJournal& journal : taken) ::unlink(journal.path.c_str());
  }
  ::umask(umask_before);
  return folded;
}

}  // namespace berth
