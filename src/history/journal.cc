#include "history/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/sys.h"

namespace berth {

namespace {

constexpr int64_t most_read_bytes = 4 * max_journal_bytes;  // no journal of ours is as long
constexpr int64_t appender_patience_us = 200'000;

// Each missing part of it, for its owner alone.
bool make_directories(const std::string& dir) {
  if (::mkdir(dir.c_str(), 0700) == 0 || errno == EEXIST) return true;
  if (errno != ENOENT) return false;
  for (size_t slash = dir.find('/', 1); slash != std::string::npos; slash = dir.find('/', slash + 1))
    if (::mkdir(dir.substr(0, slash).c_str(), 0700) != 0 && errno == EROFS) return false;
  return ::mkdir(dir.c_str(), 0700) == 0 || errno == EEXIST;
}

// O_NONBLOCK: a FIFO of that name makes nobody wait.
OwnFd open_file(const std::string& path, int flags) {
  OwnFd fd(
      retry_eintr([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600); }));
  struct stat st {};
  if (fd.valid() && (::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode))) fd.reset();
  return fd;
}

// There, and our own.
bool provide_directory(const std::string& dir) {
  struct stat st {};
  if (::stat(dir.c_str(), &st) == 0) return st.st_uid == ::geteuid();
  return errno == ENOENT && dir_is_ours(dir) && make_directories(dir);
}

// Nobody takes it in: make room. With the lock, so that nothing is renamed under a taker.
void set_aside(const Where& where) {
  const OwnFd lock = open_file(where.file(history_lock), O_RDWR | O_CREAT);
  if (!lock.valid() || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return;
  struct stat st {};
  const std::string path = where.file(journal_new);
  if (::stat(path.c_str(), &st) == 0 && st.st_size >= max_journal_bytes)
    ::rename(path.c_str(), where.file(journal_old).c_str());
}

// True: written, or hopeless. False: this is the journal no more, open the next one.
bool append_once(const Where& where, const std::string& lines, std::optional<int64_t>& size) {
  const OwnFd fd = open_file(where.file(journal_new), O_WRONLY | O_APPEND | O_CREAT);
  if (!fd.valid()) return true;
  if (::flock(fd.get(), LOCK_SH | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0 || st.st_uid != ::geteuid()) return true;
  if (st.st_nlink == 0) return false;
  if (st.st_size >= 2 * max_journal_bytes) return true;  // it could not even be set aside
  if (retry_eintr([&] { return ::write(fd.get(), lines.data(), lines.size()); }) == static_cast<ssize_t>(lines.size()))
    size = st.st_size + static_cast<int64_t>(lines.size());
  return true;
}

std::vector<Job> jobs_in(const std::string& text) {
  std::vector<Job> out;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    if (auto job = decode_job(std::string_view(text).substr(start, end - start))) out.push_back(std::move(*job));
    start = end + 1;
  }
  return out;
}

std::string text_of(int fd) {
  std::string text;
  for (;;) {
    const size_t used = text.size();
    if (static_cast<int64_t>(used) >= most_read_bytes) return text;
    text.resize(used + (size_t{64} << 10));
    const ssize_t got = retry_eintr([&] { return ::read(fd, text.data() + used, text.size() - used); });
    text.resize(used + static_cast<size_t>(std::max<ssize_t>(0, got)));
    if (got <= 0) return text;
  }
}

bool lock_against_appenders(int fd) {
  for (const int64_t until_us = monotonic_us() + appender_patience_us;;) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK || monotonic_us() > until_us) return false;
    sleep_us(1000);
  }
}

}  // namespace

std::optional<int64_t> append_journal(const Where& where, const std::string& lines) {
  std::optional<int64_t> size;
  if (!provide_directory(where.dir)) return size;
  constexpr int most_tries = 8;
  for (int tries = 0; tries < most_tries && !append_once(where, "\n" + lines, size); ++tries) {
  }
  if (size && *size >= max_journal_bytes) set_aside(where);
  return size;
}

std::vector<Job> read_journals(const Where& where) {
  std::vector<Job> out;
  for (const char* name : {journal_old, journal_folding, journal_new}) {
    const OwnFd fd = open_file(where.file(name), O_RDONLY);
    if (!fd.valid()) continue;
    for (Job& job : jobs_in(text_of(fd.get()))) out.push_back(std::move(job));
  }
  return out;
}

std::vector<TakenJournal> take_journals(const Where& where) {
  std::vector<TakenJournal> out;
  const auto take = [&](const char* name) {
    std::string path = where.file(name);
    OwnFd fd = open_file(path, O_RDONLY);
    if (!fd.valid() || !lock_against_appenders(fd.get())) return;
    std::vector<Job> jobs = jobs_in(text_of(fd.get()));
    out.push_back({std::move(path), std::move(fd), std::move(jobs)});
  };
  take(journal_old);
  // What a taker that died has left is taken as it is, and the newer one next time.
  struct stat st {};
  const std::string folding = where.file(journal_folding);
  if (::lstat(folding.c_str(), &st) == 0 || ::rename(where.file(journal_new).c_str(), folding.c_str()) == 0)
    take(journal_folding);
  return out;
}

}  // namespace berth
