// Who keeps whose lease from ending: by PARENT and by `with`, each found once for a whole look.
#pragma once

#include <array>
#include <vector>

#include "core/snapshot.h"

namespace berth {

class Families {
 public:
  explicit Families(const Snapshot& all);

  // All by index into all.parties; -1 for none.
  [[nodiscard]] int parent(int party) const { return kept_[static_cast<size_t>(party)][0]; }
  [[nodiscard]] int with(int party) const { return kept_[static_cast<size_t>(party)][1]; }
  // The leases that do not end before this party does.
  template <class Visit>
  void each_kept_by(int party, const Visit& visit) const {
    for (const int lease : kept_[static_cast<size_t>(party)])
      if (lease >= 0) visit(lease);
  }
  // And who keeps that lease.
  [[nodiscard]] const std::vector<int>& inside(int lease) const { return inside_[static_cast<size_t>(lease)]; }

 private:
  std::vector<std::array<int, 2>> kept_;  // parent, with
  std::vector<std::vector<int>> inside_;
};

}  // namespace berth
