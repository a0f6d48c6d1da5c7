#include "sched/families.h"

#include <map>

namespace berth {

Families::Families(const Snapshot& all) : kept_(all.parties.size(), {-1, -1}), inside_(all.parties.size()) {
  std::map<PartyKey, int> index;
  for (size_t i = 0; i < all.parties.size(); ++i) index.emplace(all.parties[i].key(), static_cast<int>(i));
  const auto find = [&](const PartyKey& lease) {
    const auto at = index.find(lease);
    return at == index.end() ? -1 : at->second;
  };
  for (size_t i = 0; i < all.parties.size(); ++i) {
    const Party& party = all.parties[i];
    if (party.nested) kept_[i][0] = find(party.parent_key());
    if (party.seconds) kept_[i][1] = find(party.with_key());
    each_kept_by(static_cast<int>(i),
                 [&](int lease) { inside_[static_cast<size_t>(lease)].push_back(static_cast<int>(i)); });
  }
}

}  // namespace berth
