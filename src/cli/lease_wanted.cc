#include "cli/lease_wanted.h"

#include <unistd.h>

#include <algorithm>

#include "base/text.h"

namespace berth {

Result<std::vector<PartyKey>> find_leases(const PoolView& view, const LeaseWanted& wanted) {
  std::vector<PartyKey> out;
  std::vector<PartyKey> own;
  const uid_t uid = ::geteuid();
  for (const LeaseView& lease : view.leases) {
    const PartyKey& who = view.snapshot.parties[static_cast<size_t>(lease.party)];
    if (!wanted.id_prefix.empty() && who.id.view().starts_with(wanted.id_prefix)) {
      out.push_back(who);
      if (lease.uid == uid) own.push_back(who);
    }
    if (!wanted.label.empty() && lease.info.label == printable(wanted.label) && (uid == 0 || lease.uid == uid))
      out.push_back(who);
  }
  const auto same_id = [&](const PartyKey& who) { return who.id == out.front().id; };
  if (own.size() == 1 && std::all_of(out.begin(), out.end(), same_id)) out = own;
  if (out.empty()) {
    const std::string what = wanted.label.empty() ? wanted.id_prefix : "with the label " + wanted.label;
    return Error{ErrorKind::not_found, 0, "there is no lease " + printable(what)};
  }
  if (out.size() > 1 && wanted.label.empty())
    return Error{ErrorKind::usage, 0, printable(wanted.id_prefix) + " begins the id of more than one lease"};
  return out;
}

}  // namespace berth
