#include "sched/fair_share.h"

#include <algorithm>
#include <bit>

#include "base/text.h"

namespace berth {

namespace {

constexpr std::string_view head = "berth-use=1";
constexpr std::string_view cards = "gpus";
constexpr int64_t unsaid_us = 600'000'000;  // what one takes who does not say
constexpr int64_t longest_us = int64_t{366} * 86'400'000'000;
constexpr size_t most_uses = 96;
constexpr unsigned unit_log = 20;  // about a second in microseconds: where the logarithm begins to bend

// log2, straight between powers of two, in 65,536ths. Requires n > 0.
int64_t log2_steps(uint64_t n) {
  const auto whole = static_cast<unsigned>(std::bit_width(n)) - 1;
  const uint64_t above = n - (uint64_t{1} << whole);
  const uint64_t part = whole > 16 ? above >> (whole - 16) : above << (16 - whole);
  return static_cast<int64_t>((uint64_t{whole} << 16U) + part);
}

// log2 of (1 + us), `us` in units of 2^20.
int64_t debt_steps(int64_t us) {
  const auto bounded = static_cast<uint64_t>(std::clamp<int64_t>(us, 0, int64_t{1} << 60));
  return log2_steps((uint64_t{1} << unit_log) + bounded) - (int64_t{unit_log} << 16);
}

int64_t times(double part, int64_t us) { return static_cast<int64_t>(part * static_cast<double>(us)); }

// Half after every half-life, and straight in between.
int64_t halved(int64_t us, int64_t passed_us, int64_t half_life_us) {
  if (passed_us <= 0) return us;
  const int64_t whole = passed_us / half_life_us;
  if (whole >= 62) return 0;
  const double rest = static_cast<double>(passed_us % half_life_us) / static_cast<double>(half_life_us);
  return times(1 - rest / 2, us >> whole);
}

// What of one card a claim takes on each of its devices.
double part_of_card(const Snapshot& snapshot, const Party& party) {
  if (party.gpu.whole) return 1;
  int64_t size = 1;
  for (const Eligible& e : snapshot.eligible(party)) size = std::max(size, e.vram_bytes);
  const double vram = static_cast<double>(party.gpu.vram_bytes) / static_cast<double>(size);
  return std::min(1.0, std::max(vram, party.gpu.compute_pct / 100.0));
}

// Calls visit(name, part) for each thing that a claim takes of: the part of a counter's capacity, or cards.
template <class Visit>
void each_part(const Snapshot& snapshot, const Party& party, const Visit& visit) {
  for (const Amount& a : snapshot.counters(party)) {
    const Resource& of = snapshot.resources[a.resource];
    const double part = static_cast<double>(a.amount) / static_cast<double>(std::max<int64_t>(1, of.capacity));
    visit(std::string_view(of.name), std::min(1.0, part));
  }
  if (party.gpu.count > 0) visit(cards, party.gpu.count * part_of_card(snapshot, party));
}

int64_t said_us(const Party& party) {
  return party.expect_s > 0 ? std::min(longest_us, party.expect_s * 1'000'000) : unsaid_us;
}

int64_t& use_of(UseAccount& account, std::string_view name) {
  for (UseAccount::Use& use : account.uses)
    if (use.name == name) return use.us;
  return account.uses.emplace_back(UseAccount::Use{std::string(name), 0}).us;
}

UseAccount as_of(const UseAccount& account, int64_t now_us, const Policy& policy) {
  UseAccount out = account;
  // A clock that was set back makes no use older than new.
  for (UseAccount::Use& use : out.uses) use.us = halved(use.us, now_us - account.at_us, policy.half_life_s * 1'000'000);
  std::erase_if(out.uses, [](const UseAccount::Use& use) { return use.us <= 0; });
  out.at_us = now_us;
  return out;
}

void add(UseAccount& account, const Snapshot& snapshot, const Party& party, int64_t us) {
  const int64_t bounded = std::clamp<int64_t>(us, 0, longest_us);
  each_part(snapshot, party, [&](std::string_view name, double part) {
    int64_t& use = use_of(account, name);
    use = std::min(max_amount, use + times(part, bounded));
  });
}

}  // namespace

std::string encode_use_account(const UseAccount& account) {
  std::string out = std::string(head) + " at=" + std::to_string(account.at_us);
  for (const UseAccount::Use& use : account.uses) {
    const std::string word = " " + use.name + "=" + std::to_string(use.us);
    if (out.size() + word.size() > max_use_account) break;
    out += word;
  }
  return out;
}

UseAccount decode_use_account(std::string_view text) {
  UseAccount out;
  if (text.size() > max_use_account || !text.starts_with(std::string(head) + " at=")) return {};
  const std::vector<std::string> words = split(std::string(text), ' ');
  if (words.size() > most_uses) return {};
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos) return {};
    const std::string name = words[i].substr(0, equals);
    const auto us = parse_count(std::string_view(words[i]).substr(equals + 1));
    if (!us) return {};
    if (i == 1) {
      out.at_us = *us;
      continue;
    }
    const auto same = [&](const UseAccount::Use& use) { return use.name == name; };
    if (!valid_resource_name(name) || std::any_of(out.uses.begin(), out.uses.end(), same)) return {};
    out.uses.push_back({name, *us});
  }
  return out;
}

UseAccount charged(const UseAccount& account, const Snapshot& snapshot, const Party& lease, int64_t had_us,
                   int64_t now_us) {
  UseAccount out = as_of(account, now_us, snapshot.policy);
  if (!lease.nested) add(out, snapshot, lease, had_us);
  return out;
}

int64_t unseen_use_us(const Party& lease, int64_t now_us) {
  return std::clamp<int64_t>(now_us - lease.seated_us, 0, said_us(lease));
}

int64_t most_debt_us(const Policy& policy) {
  return (policy.max_debt_s > 0 ? policy.max_debt_s : policy.age_s) * 1'000'000;
}

int64_t debt_us(const Snapshot& snapshot, int self, const UseAccount& account) {
  const Policy& policy = snapshot.policy;
  const Party& own = snapshot.parties[static_cast<size_t>(self)];
  if (!policy.fair_share || own.nested) return 0;
  UseAccount had = as_of(account, snapshot.now_us, policy);
  for (const Party& p : snapshot.parties) {
    if (&p == &own || p.nested || p.user() != own.user()) continue;
    if (p.state == PartyState::held)
      add(had, snapshot, p, std::max(said_us(p), snapshot.now_us - p.seated_us));
    else if (p.priority >= own.priority)
      add(had, snapshot, p, said_us(p));
  }
  int64_t most_us = 0;
  const auto cards_there = std::max<int64_t>(1, static_cast<int64_t>(snapshot.devices.size()));
  each_part(snapshot, own, [&](std::string_view name, double) {
    const int64_t us = use_of(had, name);
    most_us = std::max(most_us, name == cards ? us / cards_there : us);
  });
  // All of it for ever comes to 1.44 half-lives.
  const int64_t full = debt_steps(2 * policy.half_life_s * 1'000'000);
  const double part = static_cast<double>(std::min(full, debt_steps(most_us))) / static_cast<double>(full);
  return times(part, most_debt_us(policy));
}

}  // namespace berth
