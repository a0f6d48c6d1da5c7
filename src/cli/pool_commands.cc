// set, unset and release: the verbs that change a pool without running anything.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/lease_wanted.h"
#include "cli/options.h"
#include "cli/policy_settings.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/view.h"
#include "engine/engine.h"
#include "ledger/local_ledger.h"
#include "run/supervisor.h"

namespace berth {

namespace {

bool asks_help(const Words& words) {
  return std::any_of(words.begin(), words.end(), [](const std::string& w) { return w == "--help" || w == "-h"; });
}

int give_help(const char* verb) { return put(help_text(verb)) ? exit_status::ok : exit_status::unavailable; }

Result<> apply(PoolConfig& config, const NamedAmount& setting) {
  if (is_policy_setting(setting.name)) return set_policy(config.policy, setting.name, setting.amount);
  for (NamedAmount& c : config.capacities) {
    if (c.name != setting.name) continue;
    c.amount = setting.amount;
    return success();
  }
  if (config.capacities.size() >= max_pool_resources)
    return Error{ErrorKind::usage, 0, "a pool has at most " + std::to_string(max_pool_resources) + " named resources"};
  config.capacities.push_back(setting);
  return success();
}

// What the machine says is put back for cpu and ram, and for a policy its default; all else goes.
Result<> forget(PoolConfig& config, const std::string& name) {
  unset_policy(config.policy, name);
  if (name.starts_with("policy.")) return success();
  for (const NamedAmount& c : machine_figures().capacities)
    if (c.name == name) return apply(config, c);
  const auto at = std::find_if(config.capacities.begin(), config.capacities.end(),
                               [&](const NamedAmount& c) { return c.name == name; });
  if (at == config.capacities.end()) return Error{ErrorKind::usage, 0, "the pool has no resource " + printable(name)};
  config.capacities.erase(at);
  return success();
}

int configure(const std::function<Result<>(PoolConfig&)>& edit) {
  auto pool = open_pool(LocalPool::IfMissing::create);
  if (!pool) return fail(pool.error());
  if (::geteuid() != 0 && ::geteuid() != pool->owner())
    return fail(Error{ErrorKind::not_yours, 0,
                      "the settings of " + pool->path() + " belong to " +
                          (pool->owner() == 0 ? "root" : user_name(pool->owner()) + " and root")});
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());
  LocalLedger ledger(*pool, signals->fd());
  ledger.on_slow_lock([](const std::string& sentence) { say(sentence); });
  Engine engine(ledger, machine_figures);
  const auto done = engine.configure(edit);
  if (!done.ok()) signals->die_if_told();
  return done.ok() ? exit_status::ok : fail(done.error());
}

}  // namespace

int set_command(const Words& words) {
  if (asks_help(words)) return give_help("set");
  if (words.empty()) return fail_usage("set", "there is nothing to set");
  std::vector<NamedAmount> settings;
  for (const std::string& word : words) {
    if (word.starts_with("-")) return fail_unknown("set", word);
    auto setting = parse_setting(word, /*zero_allowed=*/true);
    if (!setting) return fail_usage("set", setting.error().message);
    settings.push_back(std::move(*setting));
  }
  return configure([&](PoolConfig& config) -> Result<> {
    for (const NamedAmount& setting : settings)
      if (auto applied = apply(config, setting); !applied) return applied;
    return success();
  });
}

int unset_command(const Words& words) {
  if (asks_help(words)) return give_help("unset");
  if (words.empty()) return fail_usage("unset", "there is nothing to unset");
  for (const std::string& word : words)
    if (word.starts_with("-")) return fail_unknown("unset", word);
  return configure([&](PoolConfig& config) -> Result<> {
    for (const std::string& word : words)
      if (auto forgotten = forget(config, word); !forgotten) return forgotten;
    return success();
  });
}

namespace {

// Without an ID and a label it is the lease that this shell is in. A value is an exit status, and it is said why.
std::optional<int> parse_release(const Words& words, LeaseWanted& wanted) {
  bool by_id = false;
  bool by_label = false;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--label" || word == "-l" || word == "--name") {
      if (++i == words.size()) return fail_usage("release", word + " needs a value");
      wanted.label = words[i];
      by_label = true;
    } else if (word.starts_with("--label=") || word.starts_with("--name=") || word.starts_with("-l")) {
      wanted.label = word.substr(word.starts_with("-l") ? 2 : word.find('=') + 1);
      by_label = true;
    } else if (word.starts_with("-")) {
      return fail_unknown("release", word);
    } else if (by_id) {
      return fail_usage("release", "one lease at a time");
    } else {
      wanted.id_prefix = word;
      by_id = true;
    }
  }
  if (by_id && by_label) return fail_usage("release", "an ID or a label, not both");
  // A variable of a script that is empty is no wish to end the lease that the script itself is in.
  if (by_id && wanted.id_prefix.empty()) return fail_usage("release", "the ID is empty");
  if (by_label && wanted.label.empty()) return fail_usage("release", "the label is empty");
  if (by_id || by_label) return std::nullopt;
  const char* inside = std::getenv("BERTH_ID");
  if (inside == nullptr || *inside == '\0')
    return fail({ErrorKind::not_found, 0, "this shell is in no lease; berth release ID ends another one"});
  wanted.id_prefix = inside;
  return std::nullopt;
}

}  // namespace

int release_command(const Words& words) {
  if (asks_help(words)) return give_help("release");
  LeaseWanted wanted;
  if (const auto failed = parse_release(words, wanted)) return *failed;
  auto pool = open_pool_of_a_lease();
  if (!pool) return fail(pool.error());
  auto view = view_pool(*pool, {});
  if (!view) return fail(view.error());
  auto ids = find_leases(*view, wanted);
  if (!ids) return fail(ids.error());
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());
  LocalLedger ledger(*pool, signals->fd());
  ledger.on_slow_lock([](const std::string& sentence) { say(sentence); });
  Engine engine(ledger, machine_figures);
  for (const PartyKey& who : *ids)
    if (auto done = engine.evict(who); !done) {
      signals->die_if_told();
      return fail(done.error());
    }
  return exit_status::ok;
}

}  // namespace berth
