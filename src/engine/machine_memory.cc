#include "engine/machine_memory.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/pid_namespace.h"
#include "base/process_memory.h"
#include "base/small_file.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr int64_t shortage_part = 10;       // with less than a tenth available a machine is short of memory
constexpr double stall_pct = 10;            // and suffers, where processes wait for it a tenth of the time
constexpr int64_t swap_part = 10;           // or less than a tenth of the swap is left
constexpr int64_t reserve_part = 16;        // of the whole memory the system itself may have so much
constexpr int64_t loading_us = 60'000'000;  // for so long one that cannot be measured is taken to be loading still

int64_t ram_of(const Snapshot& snapshot, const Party& party) {
  for (const Amount& a : snapshot.counters(party))
    if (snapshot.resources[a.resource].name == "ram") return a.amount;
  return 0;
}

bool claims_cpu(const Snapshot& snapshot, const Party& party) {
  const auto counters = snapshot.counters(party);
  return std::any_of(counters.begin(), counters.end(),
                     [&](const Amount& a) { return snapshot.resources[a.resource].name == "cpu"; });
}

// Whoever gave the pool more than the machine has does not want it counted by the machine.
bool over_booked(const Snapshot& snapshot, int64_t total_bytes) {
  return std::any_of(snapshot.resources.begin(), snapshot.resources.end(),
                     [&](const Resource& r) { return r.name == "ram" && r.capacity > total_bytes; });
}

bool is_short(const MemoryFigures& f) {
  return f.available_bytes && f.total_bytes && *f.available_bytes < *f.total_bytes / shortage_part;
}

// "MemAvailable:   24353772 kB" in bytes.
std::optional<int64_t> kib_after(const std::string& text, const std::string& name) {
  const size_t at = ("\n" + text).find("\n" + name + ":");
  if (at == std::string::npos) return std::nullopt;
  const size_t first = text.find_first_not_of(' ', at + name.size() + 1);
  if (first == std::string::npos) return std::nullopt;
  const auto kib = parse_count(std::string_view(text).substr(first, text.find_first_of(" \n", first) - first));
  return kib && *kib <= max_amount / 4096 ? std::optional<int64_t>(*kib * 1024) : std::nullopt;
}

// "some avg10=3.01 avg60=1.93 avg300=12.68 total=6499193235"
std::optional<double> average10(const std::string& text) {
  const size_t at = text.find("some avg10=");
  if (at == std::string::npos) return std::nullopt;
  const double value = std::strtod(text.c_str() + at + 11, nullptr);
  return std::isfinite(value) && value >= 0 && value <= 100 ? std::optional<double>(value) : std::nullopt;
}

struct ToCome {
  int64_t bytes = 0;    // that leases have claimed and do not use yet
  int64_t claimed = 0;  // by them all
};

ToCome to_come(const LeaseUsage& usage, const Snapshot& snapshot, const std::vector<bool>& dead) {
  ToCome out;
  for (size_t i = 0; i < snapshot.parties.size(); ++i) {
    const Party& p = snapshot.parties[i];
    if (p.state != PartyState::held || p.nested || (i < dead.size() && dead[i])) continue;
    const int64_t claimed = ram_of(snapshot, p);
    if (claimed == 0) continue;
    const auto known = usage.find(p.key());
    const bool loading = snapshot.now_us - p.seated_us < loading_us;
    const int64_t used = known != usage.end() ? known->second : loading ? 0 : claimed;
    out.bytes = std::min(max_amount, out.bytes + std::max<int64_t>(0, claimed - used));
    out.claimed = std::min(max_amount, out.claimed + claimed);
  }
  return out;
}

}  // namespace

MemoryFigures read_memory_figures(const std::string& root, const std::optional<MemoryCgroup>& group) {
  MemoryFigures out;
  const auto text = read_text(root + "/proc/meminfo");
  if (!text) return out;
  out.total_bytes = kib_after(*text, "MemTotal");
  out.available_bytes = kib_after(*text, "MemAvailable");
  out.swap_total_bytes = kib_after(*text, "SwapTotal").value_or(0);
  out.swap_free_bytes = kib_after(*text, "SwapFree").value_or(0);
  if (is_short(out))
    if (const auto pressure = read_text(root + "/proc/pressure/memory")) out.stalled_pct = average10(*pressure);
  if (group) out.own_left_bytes = memory_left(*group);
  return out;
}

// Pressure alone proves nothing: a job that is held back at its own cgroup's limit shows there as well. Nor does
// a full swap, which may hold what nobody has touched for weeks.
std::string memory_trouble(const MemoryFigures& f) {
  if (!is_short(f)) return "";
  const bool stalls = f.stalled_pct && *f.stalled_pct >= stall_pct;
  const bool swap_is_full = f.swap_total_bytes > 0 && f.swap_free_bytes < f.swap_total_bytes / swap_part;
  if (!stalls && !swap_is_full) return "";
  std::string text = "the machine is short of memory: " + show_size(*f.available_bytes) + " of " +
                     show_size(*f.total_bytes) + " available";
  if (f.swap_total_bytes > 0)
    text += ", swap " + std::to_string(100 * (f.swap_total_bytes - f.swap_free_bytes) / f.swap_total_bytes) + " % full";
  if (stalls) text += ", programs wait for it " + std::to_string(static_cast<int>(*f.stalled_pct)) + " % of the time";
  return text;
}

std::string memory_refusal(const MemoryFigures& f, const LeaseUsage& usage, const Snapshot& snapshot,
                           const std::vector<bool>& dead, int index, MachineWord::Stand stand) {
  const Party& party = snapshot.parties[static_cast<size_t>(index)];
  const int64_t asked = ram_of(snapshot, party);
  if (asked == 0 && !claims_cpu(snapshot, party)) return "";
  const bool seated = stand == MachineWord::Stand::seat;
  if (stand != MachineWord::Stand::in_line)
    if (std::string trouble = memory_trouble(f); !trouble.empty()) return trouble;
  if (asked == 0 || !f.available_bytes || !f.total_bytes || over_booked(snapshot, *f.total_bytes)) return "";
  const ToCome others = to_come(usage, snapshot, dead);
  // Who claims all there is claims what a machine has that does nothing else.
  const int64_t needed = std::min(asked, *f.total_bytes - *f.total_bytes / reserve_part);
  const int64_t left = seated ? *f.available_bytes - others.bytes : *f.available_bytes + others.claimed;
  if (needed > left) {
    std::string text = "the machine has " + show_size(*f.available_bytes) + " of memory available";
    if (seated && others.bytes > 0)
      text += ", and leases have yet to use " + show_size(others.bytes) + " of what they claimed";
    return text + "; " + show_size(asked) + " are asked for";
  }
  if (!seated || !f.own_left_bytes || *f.own_left_bytes >= asked) return "";
  return "this shell's cgroup leaves " + show_size(*f.own_left_bytes) + " of memory; " + show_size(asked) +
         " are asked for";
}

void MachineMemory::look() {
  figures_ = read_memory_figures(root_, group_);
  usage_.clear();
  if (ram_bytes_ == 0 || !figures_.available_bytes) return;
  const std::vector<RamLease> leases = leases_();
  int64_t claimed = 0;
  for (const RamLease& lease : leases) claimed = std::min(max_amount, claimed + lease.ram_bytes);
  if (*figures_.available_bytes - claimed >= ram_bytes_) return;  // whatever they use
  const uint64_t own = own_pid_namespace();
  for (const RamLease& lease : leases)
    if (own != 0 && lease.root.pid > 0 && lease.root.pid_namespace == own)
      usage_[lease.root.key] = tree_bytes(root_ + "/proc", static_cast<pid_t>(lease.root.pid));
}

}  // namespace berth
