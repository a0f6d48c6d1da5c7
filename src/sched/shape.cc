#include "sched/shape.h"

#include <algorithm>

#include "sched/plan.h"

namespace berth {

Shape shape_of(const Snapshot& snapshot, const Quotas& quotas, int index) {
  const Party& party = snapshot.at(index);
  Shape shape;
  for (const Quotas::Use& use : quotas.of(index)) shape.quotas.push_back(use.item);
  std::sort(shape.quotas.begin(), shape.quotas.end());
  for (const Amount& a : snapshot.counters(party)) shape.counters.add(a.resource);
  shape.gpu = party.gpu.count > 0;
  shape.one_or_whole = party.gpu.count == 1 || party.gpu.whole;
  shape.whole = party.gpu.whole && shape.gpu;
  shape.vram = party.gpu.vram_bytes > 0;
  shape.compute = party.gpu.compute_pct > 0;
  each_device(snapshot, party, [&](uint16_t d) { shape.devices.add(d); });
  return shape;
}

// Who is over quota closes nothing but that; when it is so no more, what it is short of then.
bool surely_blocks(const Shape& ahead, const Shape& behind) {
  if (ahead.over_quota &&
      !std::includes(behind.quotas.begin(), behind.quotas.end(), ahead.quotas.begin(), ahead.quotas.end()))
    return false;
  if (!ahead.counters.within(behind.counters)) return false;
  if (!ahead.gpu) return !ahead.counters.empty();
  if (!behind.gpu || !ahead.one_or_whole || !behind.devices.within(ahead.devices)) return false;
  // Whichever of the two it is short of, the other one must want it as well.
  return ahead.whole || behind.whole || ((behind.vram || !ahead.vram) && (behind.compute || !ahead.compute));
}

bool shapes_contend(const Shape& a, const Shape& b) {
  const auto among_b = [&](uint32_t item) { return std::binary_search(b.quotas.begin(), b.quotas.end(), item); };
  return a.counters.meets(b.counters) || a.devices.meets(b.devices) ||
         std::any_of(a.quotas.begin(), a.quotas.end(), among_b);
}

bool contend(const Snapshot& snapshot, int a, int b) {
  const Quotas none;
  return shapes_contend(shape_of(snapshot, none, a), shape_of(snapshot, none, b));
}

}  // namespace berth
