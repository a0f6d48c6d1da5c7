#include "history/learned.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/own_fd.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr size_t most_file_bytes = size_t{64} << 10;
constexpr int64_t longest_s = longest_estimate_s;

std::string read_lessons_file(const Where& where) {
  const OwnFd fd(::open(where.file(history_learned).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  std::string text(most_file_bytes, '\0');
  const ssize_t got = fd.valid() ? retry_eintr([&] { return ::read(fd.get(), text.data(), text.size()); }) : ssize_t{0};
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

std::optional<Lesson> decode_lesson(std::string_view line) {
  const size_t space = line.rfind(' ');
  if (line.size() < 4 || line[1] != ' ' || space < 3 || (line[0] != 'l' && line[0] != 'c')) return std::nullopt;
  Lesson out;
  out.by_label = line[0] == 'l';
  const auto key = std::from_chars(line.data() + 2, line.data() + space, out.key, 16);
  const auto seconds = parse_count(line.substr(space + 1));
  if (key.ec != std::errc() || key.ptr != line.data() + space || !seconds || *seconds < 1 || *seconds > longest_s)
    return std::nullopt;
  out.expect_s = *seconds;
  return out;
}

}  // namespace

// FNV-1a, 64 bits: no secret and no enemy, for the file is the user's own.
uint64_t learned_key(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

bool teaches_duration(const Job& job) {
  return job.how == How::exited && job.status == 0 && job.verb == "run" && job.seated_us > 0 && !job.stays &&
         job.ended_us >= job.seated_us;
}

std::string encode_lessons(std::span<const Lesson> lessons) {
  std::string out;
  for (const Lesson& l : lessons) {
    char line[64];
    std::snprintf(line, sizeof line, "%c %016llx %lld\n", l.by_label ? 'l' : 'c',
                  static_cast<unsigned long long>(l.key), static_cast<long long>(l.expect_s));
    out += line;
  }
  return out;
}

std::vector<Lesson> decode_lessons(std::string_view text) {
  std::vector<Lesson> out;
  for (size_t start = 0; start < text.size() && out.size() < 2 * max_learned;) {
    const size_t end = std::min(text.find('\n', start), text.size());
    if (const auto lesson = decode_lesson(text.substr(start, end - start))) out.push_back(*lesson);
    start = end + 1;
  }
  return out;
}

std::vector<Lesson> merge_lessons(std::span<const Lesson> old, std::span<const Lesson> fresh) {
  std::vector<Lesson> out;
  const auto replaced = [&](const Lesson& l) {
    return std::any_of(fresh.begin(), fresh.end(),
                       [&](const Lesson& f) { return f.by_label == l.by_label && f.key == l.key; });
  };
  std::copy_if(old.begin(), old.end(), std::back_inserter(out), [&](const Lesson& l) { return !replaced(l); });
  out.insert(out.end(), fresh.begin(), fresh.end());
  if (out.size() > max_learned) out.erase(out.begin(), out.end() - static_cast<std::ptrdiff_t>(max_learned));
  return out;
}

void add_lessons(const Where& where, std::span<const Lesson> fresh) {
  if (fresh.empty()) return;
  const std::string text = encode_lessons(merge_lessons(decode_lessons(read_lessons_file(where)), fresh));
  const std::string draft = where.file(history_learned) + ".draft";
  ::unlink(draft.c_str());
  const OwnFd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool written = fd.valid() && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!written || ::rename(draft.c_str(), where.file(history_learned).c_str()) != 0) ::unlink(draft.c_str());
}

std::optional<int64_t> learned_expect_s(const Where& where, std::string_view label, std::string_view command) {
  const std::string text = read_lessons_file(where);
  if (text.empty()) return std::nullopt;
  const std::vector<Lesson> lessons = decode_lessons(text);
  const auto find = [&](bool by_label, std::string_view name) -> std::optional<int64_t> {
    const uint64_t key = learned_key(kept_text(name));
    for (const Lesson& l : lessons)
      if (l.by_label == by_label && l.key == key) return l.expect_s;
    return std::nullopt;
  };
  const auto by_label = label.empty() ? std::nullopt : find(true, label);
  return by_label ? by_label : find(false, command);
}

std::optional<int64_t> learned_expect_s(std::string_view label, std::string_view command) {
  const auto where = own_history();
  return where ? learned_expect_s(*where, label, command) : std::nullopt;
}

}  // namespace berth
