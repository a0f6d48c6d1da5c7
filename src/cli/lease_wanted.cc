#include "cli/lease_wanted.h"

#include <unistd.h>

#include <algorithm>

#include "base/text.h"

namespace berth {

Result<std::vector<PartyKey>> find_leases(const PoolView& view, const LeaseWanted& wanted) {
  std::vector<PartyKey> out;
  std::vector<PartyKey> own;
  std::string whose;  // of those that are not ours
  const uid_t uid = ::geteuid();
  const auto may_change = [&](const LeaseView& lease) { return uid == 0 || lease.uid == uid; };
  for (const LeaseView& lease : view.leases) {
    const PartyKey& who = view.snapshot.parties[static_cast<size_t>(lease.party)];
    if (!wanted.id_prefix.empty() && who.id.view().starts_with(wanted.id_prefix)) {
      out.push_back(who);
      if (lease.uid == uid) own.push_back(who);
      if (!may_change(lease)) whose = lease.user;
    }
    if (!wanted.label.empty() && lease.info.label == printable(wanted.label)) {
      if (may_change(lease))
        out.push_back(who);
      else
        whose = lease.user;
    }
  }
  const auto same_id = [&](const PartyKey& who) { return who.id == out.front().id; };
  if (own.size() == 1 && std::all_of(out.begin(), out.end(), same_id)) out = own;
  if (out.empty()) {
    if (!whose.empty())
      return Error{ErrorKind::not_yours, 0, "what has the label " + printable(wanted.label) + " belongs to " + whose};
    const std::string what = wanted.label.empty() ? wanted.id_prefix : "with the label " + wanted.label;
    return Error{ErrorKind::not_found, 0, "there is no lease " + printable(what)};
  }
  if (out.size() > 1 && wanted.label.empty())
    return Error{ErrorKind::usage, 0, printable(wanted.id_prefix) + " begins the id of more than one lease"};
  if (wanted.label.empty() && own.empty() && !whose.empty())
    return Error{ErrorKind::not_yours, 0, "that lease belongs to " + whose};
  return out;
}

}  // namespace berth
