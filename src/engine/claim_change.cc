#include "engine/claim_change.h"

#include <algorithm>

namespace berth {

namespace {

Error usage(std::string sentence) { return Error{ErrorKind::usage, 0, std::move(sentence)}; }

bool is_granted(const std::vector<uint16_t>& granted, size_t ordinal) {
  return std::find(granted.begin(), granted.end(), ordinal) != granted.end();
}

Result<> change_counters(const ClaimWish& wish, ClaimChange& out) {
  for (const NamedAmount& wanted : wish.counters) {
    auto& counters = out.after.counters;
    const auto at =
        std::find_if(counters.begin(), counters.end(), [&](const NamedAmount& c) { return c.name == wanted.name; });
    const int64_t had = at == counters.end() ? 0 : at->amount;
    if (at == counters.end() && counters.size() >= max_claim_counters)
      return usage("a claim can name at most " + std::to_string(max_claim_counters) + " resources");
    if (at == counters.end())
      counters.push_back(wanted);
    else
      at->amount = wanted.amount;
    out.shrinks = out.shrinks || wanted.amount < had;
    if (wanted.amount > had) out.growth.counters.push_back({wanted.name, wanted.amount - had});
  }
  return success();
}

// More or less of each card that it has.
void change_share(const Claim& before, const std::vector<uint16_t>& granted, const ClaimWish& wish, ClaimChange& out) {
  GpuClaim& gpu = out.after.gpu;
  const GpuClaim had = before.gpu;
  gpu.whole = false;
  if (had.whole) {
    gpu.compute_pct = 100;
    for (const uint16_t ordinal : granted) {
      const int64_t bytes = before.eligible.at(ordinal).vram_bytes;
      gpu.vram_bytes = gpu.vram_bytes == 0 ? bytes : std::min(gpu.vram_bytes, bytes);
    }
  }
  if (wish.vram_bytes > 0) gpu.vram_bytes = wish.vram_bytes;
  if (wish.compute_pct > 0) gpu.compute_pct = wish.compute_pct;
  // Of a whole card every share is less.
  const int64_t more_vram = had.whole ? 0 : std::max<int64_t>(0, gpu.vram_bytes - had.vram_bytes);
  const int more_compute = had.whole ? 0 : std::max(0, gpu.compute_pct - had.compute_pct);
  out.shrinks = out.shrinks || had.whole || gpu.vram_bytes < had.vram_bytes || gpu.compute_pct < had.compute_pct;
  if (more_vram == 0 && more_compute == 0) return;
  out.growth.gpu = {had.count, false, more_vram, more_compute};
  for (size_t i = 0; i < before.eligible.size(); ++i)
    if (is_granted(granted, i)) out.growth.eligible.push_back(before.eligible[i]);
}

// More cards or fewer, each as those that it has.
void change_count(const Claim& before, const std::vector<uint16_t>& granted, int gpus, ClaimChange& out) {
  out.after.gpu.count = gpus;
  if (gpus <= before.gpu.count) {
    out.shrinks = out.shrinks || gpus < before.gpu.count;
    out.kept.resize(static_cast<size_t>(gpus));
    return;
  }
  out.growth.gpu = before.gpu;
  out.growth.gpu.count = gpus - before.gpu.count;
  for (size_t i = 0; i < before.eligible.size(); ++i)
    if (!is_granted(granted, i)) out.growth.eligible.push_back(before.eligible[i]);
}

}  // namespace

Result<ClaimChange> change_claim(const Claim& before, const std::vector<uint16_t>& granted, const ClaimWish& wish) {
  ClaimChange out;
  out.after = before;
  out.kept = granted;
  out.growth.gpu = GpuClaim{};
  if (auto counters = change_counters(wish, out); !counters) return counters.error();
  const bool share = wish.vram_bytes > 0 || wish.compute_pct > 0;
  const bool count = wish.gpus > 0 && wish.gpus != before.gpu.count;
  if (before.gpu.count == 0 && (share || count))
    return usage("it has no GPU, and a running job cannot be given its first one: claim that with the job");
  if (share && count) return usage("more or fewer GPUs, or more or less of each: one of them at a time");
  if (share) change_share(before, granted, wish, out);
  if (share && before.gpu.whole && out.after.gpu.vram_bytes > 0)
    for (const uint16_t ordinal : granted)
      if (out.after.gpu.vram_bytes > before.eligible.at(ordinal).vram_bytes)
        return usage("a whole card has less than that");
  if (count) change_count(before, granted, wish.gpus, out);
  return out;
}

}  // namespace berth
