// All that parties can be short of, numbered through, so that a table may have a row for each.
#pragma once

#include <cstddef>

#include "core/snapshot.h"
#include "sched/plan.h"
#include "sched/quota.h"

namespace berth {

// Counters, devices and quotas, numbered in this order.
class Items {
 public:
  explicit Items(const Snapshot& snapshot) : snapshot_(snapshot), quotas_(snapshot) {}
  [[nodiscard]] size_t size() const { return snapshot_.resources.size() + snapshot_.devices.size() + quotas_.items(); }
  // Calls visit(item) for each that the party has or wants some of.
  template <class Visit>
  void each(int index, const Visit& visit) const {
    const Party& party = snapshot_.at(index);
    for (const Amount& a : snapshot_.counters(party)) visit(size_t{a.resource});
    const size_t devices = snapshot_.resources.size();
    each_device(snapshot_, party, [&](uint16_t d) { visit(devices + d); });
    for (const Quotas::Use& use : quotas_.of(index)) visit(devices + snapshot_.devices.size() + use.item);
  }

 private:
  const Snapshot& snapshot_;
  Quotas quotas_;
};

}  // namespace berth
