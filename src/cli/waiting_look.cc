#include "cli/waiting_look.h"

#include <algorithm>

#include "base/user.h"
#include "cli/outlook.h"
#include "cli/told.h"
#include "engine/processor_choice.h"
#include "ledger/local_ledger.h"
#include "run/affinity.h"
#include "sched/timeline.h"

namespace berth {

namespace {

constexpr size_t most_named = 3;
constexpr size_t most_lives_ahead = 16;  // the nearest; more would cost a crowd more than it is worth

Error cannot_be_written() { return Error{ErrorKind::usage, 0, "the claim is too large to be written down"}; }

// "GPU 0,1" or "license": what an obstacle has of what is wanted.
std::string what_of(const Snapshot& group, const Picture& picture, const Obstacle& obstacle) {
  if (obstacle.devices.empty()) return group.resources[obstacle.resource].name;
  std::string text;
  for (const uint16_t device : obstacle.devices) {
    const std::string& uuid = group.devices[device];
    const auto is_it = [&](const Device& d) { return d.uuid == uuid; };
    const auto seen = std::find_if(picture.devices.begin(), picture.devices.end(), is_it);
    text += (text.empty() ? "GPU " : ",") +
            (seen == picture.devices.end() ? uuid.substr(0, 12) : std::to_string(seen->index));
  }
  return text;
}

InTheWay told_of(const LocalPool& pool, const Party& party, int64_t now_us) {
  InTheWay out;
  if (const auto told = ask_party(pool, party)) {
    out.who = short_name(told->info, party.id);
    out.user = user_name(told->uid);
  }
  const int64_t end_us = expected_end_us(party, party.seated_us);
  if (end_us != never_us) out.left_s = end_us <= now_us ? -1 : (end_us - now_us + 999'999) / 1'000'000;
  out.reclaimable = party.way.reclaimable;
  return out;
}

// Who has the processors that we may use: leases of any level, but those that serve us, which lend us theirs.
void tell_owners(LocalPool& pool, const Snapshot& all, const PartyKey* server, WaitingWords& words) {
  LocalLedger ledger(pool);
  const ProcessorSet allowed = allowed_processors();
  const int innermost = server == nullptr ? -1 : all.find(*server);
  for (const Party& p : all.parties) {
    const ProcessorSet own = processor_set(all.own_processors(p)) & allowed;
    const bool serves = innermost >= 0 && (p == all.at(innermost) || is_inside(all, all.at(innermost), p.key()));
    if (own.none() || serves) continue;
    const Life life = ledger.life(p);
    if (life == Life::dead) continue;
    if (words.holders.size() >= most_named) {
      ++words.more_holders;
      continue;
    }
    InTheWay one = told_of(pool, p, all.now_us);
    if (one.who.empty()) continue;  // it has gone meanwhile
    one.what = "cpu " + show_processors(spans_of(own));
    one.hides = life == Life::unknown;
    words.holders.push_back(std::move(one));
  }
}

// The outlook among the living: the dead that it hangs on are asked for, and left out.
Outlook living_outlook(LocalPool& pool, const Snapshot& group, int self) {
  LocalLedger ledger(pool);
  std::vector<bool> absent(group.parties.size(), false);
  std::vector<bool> asked(group.parties.size(), false);
  constexpr int most_rounds = 4;  // each but the last found somebody dead
  Outlook out;
  for (int round = 0; round < most_rounds; ++round) {
    out = outlook(group, absent, self);
    bool found = false;
    size_t nearest = most_lives_ahead;
    const auto ask = [&](size_t i) {
      if (asked[i]) return;
      asked[i] = true;
      absent[i] = ledger.life(group.parties[i]) == Life::dead;
      found |= absent[i];
    };
    for (const Obstacle& o : out.obstacles) ask(static_cast<size_t>(o.holder));
    for (auto other = out.ahead.rbegin(); other != out.ahead.rend() && nearest > 0; ++other, --nearest)
      ask(static_cast<size_t>(*other));
    if (!found) break;
  }
  return out;
}

}  // namespace

Result<WaitingWords> look_for_waiter(LocalPool& pool, const Picture& picture, const Record& record,
                                     const std::string& objection) {
  auto all = pool.read();
  if (!all) return all.error();
  PartyKey key = PartyKey::of(record.id, record.dir);
  WaitingWords words;
  words.in_line = all->find(key) >= 0;
  if (!words.in_line) {
    if (decode_record(record_name(record), record_target(record), *all) != Decoded::ok) return cannot_be_written();
    key = all->parties.back().key();
  }
  const PartyKey parent = record.parent ? PartyKey::of(*record.parent, key.dir()) : PartyKey{};
  const auto group = record.parent ? inside(*all, parent) : top_level(*all);
  if (!group) return Error{ErrorKind::lost, 0, "the lease that this one was inside of is gone"};
  const int self = group->find(key);
  const Outlook out = living_outlook(pool, *group, self);

  words.claim = describe(record.claim);
  words.objection = objection;
  words.ahead = static_cast<int>(out.ahead.size());
  if (out.verdict == Verdict::impossible && objection.empty()) words.objection = "the pool has less than that now";
  if (out.over_quota >= 0) {
    const Quota& quota = group->policy.quotas[static_cast<size_t>(out.over_quota)];
    words.objection = "held back by " + quota_word(quota.name) + "=" + std::to_string(quota.most);
  }
  const bool refused = out.verdict == Verdict::seat && !objection.empty();
  if (out.start_us >= 0 && !refused)
    words.eta_s = (std::max<int64_t>(0, out.start_us - group->now_us) + 999'999) / 1'000'000;
  words.objection_is_of_them = words.objection.starts_with(no_processors_left);
  if (words.objection_is_of_them) {
    tell_owners(pool, *all, record.parent ? &parent : nullptr, words);
    return words;
  }
  for (size_t i = 0; i < out.obstacles.size() && i < most_named; ++i) {
    const Obstacle& obstacle = out.obstacles[i];
    const Party& holder = group->parties[static_cast<size_t>(obstacle.holder)];
    InTheWay one = told_of(pool, holder, group->now_us);
    if (one.who.empty()) continue;  // it has gone meanwhile
    one.what = what_of(*group, picture, obstacle);
    one.asked = std::find(out.asked.begin(), out.asked.end(), obstacle.holder) != out.asked.end();
    one.hides = LocalLedger(pool).life(holder) == Life::unknown;
    words.holders.push_back(std::move(one));
  }
  words.more_holders = out.obstacles.size() - std::min(out.obstacles.size(), most_named);
  return words;
}

}  // namespace berth
