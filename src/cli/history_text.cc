#include "cli/history_text.h"

#include <cstring>
#include <ctime>
#include <map>

#include "base/text.h"
#include "base/user.h"
#include "cli/claim_text.h"
#include "cli/table.h"

namespace berth {

namespace {

// What gives way in a window too narrow for all of it, in this order.
constexpr Squeeze squeezes[] = {{"CLAIM", 18},    {"WHAT", 16},    {"USER", 0},   {"CLAIM", 10},
                                {"PEAK VRAM", 0}, {"PEAK RAM", 0}, {"WAITED", 0}, {"CLAIM", 0},
                                {"END", 10},      {"WHAT", 8},     {"ENDED", 0}};

// As `ls -l` has it: the time of day of what is not long ago, else the year.
std::string local_time(int64_t us, int64_t now_us) {
  constexpr int64_t half_a_year_us = int64_t{183} * 86'400 * 1'000'000;
  const time_t seconds = us / 1'000'000;
  tm parts{};
  char text[32] = "?";
  if (::localtime_r(&seconds, &parts) != nullptr)
    ::strftime(text, sizeof text, now_us - us < half_a_year_us ? "%b %d %H:%M" : "%b %d  %Y", &parts);
  return text;
}

// With a decimal as long as that says something.
std::string took(int64_t us) {
  if (us >= 10'000'000) return show_duration(us / 1'000'000);
  const int64_t tenths = us / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

std::string signal_text(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return std::to_string(signal) + (name == nullptr ? "" : std::string(" (") + name + ")");
}

std::string claim_of(const Job& job) {
  std::string on;
  for (const GrantedDevice& d : job.devices) on += (on.empty() ? "" : ",") + std::to_string(d.index);
  return claim_text(job.claim, {on, job.processors, ""});
}

bool parse_local_time(const std::string& text, int64_t& us) {
  for (const char* format :
       {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"}) {
    tm parts{};
    const char* end = ::strptime(text.c_str(), format, &parts);
    if (end == nullptr || *end != '\0') continue;
    parts.tm_isdst = -1;
    us = static_cast<int64_t>(::mktime(&parts)) * 1'000'000;
    return true;
  }
  return false;
}

}  // namespace

std::string end_text(const Job& job) {
  std::string text;
  const std::string status = std::to_string(job.status.value_or(0));
  switch (job.how) {
    case How::exited: text = job.status.value_or(0) == 0 ? "well" : "exit " + status; break;
    case How::signalled: text = "signal " + signal_text(job.signal); break;
    case How::not_started: text = "not started, " + status; break;
    case How::limit: text = "time limit"; break;
    case How::over_use: text = "over-use"; break;
    case How::timed_out: text = "gave up"; break;
    case How::busy: text = "busy"; break;
    case How::cancelled: text = "cancelled, " + signal_text(job.signal); break;
    case How::lost: text = "lost its place"; break;
    case How::released: text = "released"; break;
    case How::process_ended: text = "process ended"; break;
    case How::ttl: text = "--ttl"; break;
    case How::told: text = "keeper ended"; break;
    case How::reclaimed: text = job.reason.empty() ? "gave way" : job.reason; break;
    case How::unknown: text = "?"; break;
  }
  if (job.how != How::reclaimed && !job.reason.empty()) text += ", " + job.reason;
  return job.stays ? text + ", left some running" : text;
}

std::string history_text(const std::vector<Job>& jobs, int64_t now_us, size_t width) {
  if (jobs.empty()) return "No job has ended yet, of those that were asked for.\n";
  Table full({"ID", "ENDED", "USER", "CLAIM", "LABEL", "COMMAND", "WAITED", "HELD", "PEAK VRAM", "PEAK RAM", "END"});
  Table brief({"ENDED", "USER", "CLAIM", "WHAT", "WAITED", "HELD", "PEAK VRAM", "PEAK RAM", "END"});
  std::map<int64_t, std::string> users;
  for (const Job& job : jobs) {
    const auto [user, fresh] = users.try_emplace(job.uid);
    if (fresh) user->second = user_name(static_cast<uid_t>(job.uid));
    const bool sat = job.seated_us > 0;
    const std::string ended = local_time(job.ended_us, now_us);
    const std::string waited = took((sat ? job.seated_us : job.ended_us) - job.arrival_us);
    const std::string held = sat ? took(job.ended_us - job.seated_us) : "-";
    const std::string vram = job.peak_bytes ? show_size(*job.peak_bytes) : "-";
    const std::string ram = job.peak_ram_bytes ? show_size(*job.peak_ram_bytes) : "-";
    const std::string label = job.label.empty() ? "-" : shortened(job.label, 24);
    full.add({job.id, ended, user->second, claim_of(job), label, shortened(job.command, 40), waited, held, vram, ram,
              end_text(job)});
    brief.add({ended, user->second, claim_of(job), shortened(job.label.empty() ? job.command : job.label, 32), waited,
               held, vram, ram, end_text(job)});
  }
  std::string text = full.text();
  return width == 0 || longest_line(text) <= width ? text : brief.text(width, squeezes);
}

std::optional<int64_t> parse_since_us(std::string_view text, int64_t now_us) {
  if (text.starts_with("@")) {
    const auto seconds = parse_count(text.substr(1));
    return seconds && *seconds <= max_amount / 1'000'000 ? std::optional(*seconds * 1'000'000) : std::nullopt;
  }
  if (const auto ms = parse_duration_ms(text); ms && *ms <= now_us / 1000) return now_us - *ms * 1000;
  int64_t us = 0;
  return parse_local_time(std::string(text), us) ? std::optional(us) : std::nullopt;
}

}  // namespace berth
