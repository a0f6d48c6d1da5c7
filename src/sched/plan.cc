#include "sched/plan.h"

#include <algorithm>

#include "sched/neighbours.h"

namespace berth {

namespace {

// What is taken of one device, by holders and by those ahead in line alike.
struct DeviceUse {
  int64_t vram_bytes = 0;
  int compute_pct = 0;
  int users = 0;
  bool exclusive = false;
  bool closed = false;  // somebody ahead waits for this card: nothing more goes on it
};

class Ground {
 public:
  explicit Ground(const Snapshot& snapshot)
      : snapshot_(snapshot), free_(snapshot.resources.size()), devices_(snapshot.devices.size()) {
    for (size_t i = 0; i < free_.size(); ++i) free_[i] = snapshot.resources[i].capacity;
  }

  void take_counters(const Party& party) {
    for (const Amount& a : snapshot_.counters(party)) {
      int64_t& left = free_[a.resource];
      left = std::max<int64_t>(0, left - a.amount);
    }
  }

  void take_device(const Party& party, uint16_t device) {
    DeviceUse& use = devices_[device];
    use.users += 1;
    use.exclusive |= party.gpu.whole;
    use.vram_bytes = std::min(max_total, use.vram_bytes + party.gpu.vram_bytes);
    use.compute_pct += party.gpu.compute_pct;
  }

  [[nodiscard]] bool counters_fit(const Party& party) const {
    for (const Amount& a : snapshot_.counters(party))
      if (a.amount > free_[a.resource]) return false;
    return true;
  }

  // The devices this party would be seated on, best first; fewer than it asks for: it is short.
  [[nodiscard]] std::vector<uint16_t> choose(const Party& party) const {
    std::vector<const Eligible*> fit;
    for (const Eligible& e : snapshot_.eligible(party))
      if (has_room(party, e)) fit.push_back(&e);
    // A share goes where the least is left afterwards, on a card already in use before an empty
    // one, so that whole cards stay whole. A whole claim takes the largest card.
    std::stable_sort(fit.begin(), fit.end(), [&](const Eligible* a, const Eligible* b) {
      if (party.gpu.whole) return a->vram_bytes > b->vram_bytes;
      const DeviceUse& ua = devices_[a->device];
      const DeviceUse& ub = devices_[b->device];
      if ((ua.users == 0) != (ub.users == 0)) return ua.users != 0;
      const int64_t left_a = a->vram_bytes - ua.vram_bytes;
      const int64_t left_b = b->vram_bytes - ub.vram_bytes;
      if (left_a != left_b) return left_a < left_b;
      return ua.compute_pct > ub.compute_pct;
    });
    if (party.gpu.whole) prefer_neighbours(fit, static_cast<size_t>(party.gpu.count));
    std::vector<uint16_t> chosen;
    for (const Eligible* e : fit) {
      if (chosen.size() == static_cast<size_t>(party.gpu.count)) break;
      chosen.push_back(e->device);
    }
    std::sort(chosen.begin(), chosen.end(), [&](uint16_t a, uint16_t b) { return rank(party, a) < rank(party, b); });
    return chosen;
  }

  // A party that has to wait: what it could have now is set aside, what it lacks is closed.
  void set_aside(const Party& party, bool gpu_short) {
    for (const Amount& a : snapshot_.counters(party)) {
      int64_t& left = free_[a.resource];
      left = a.amount <= left ? left - a.amount : 0;
    }
    if (party.gpu.count == 0) return;
    if (!gpu_short) {
      for (const uint16_t d : choose(party)) take_device(party, d);
      return;
    }
    for (const Eligible& e : snapshot_.eligible(party)) {
      if (has_room(party, e))
        take_device(party, e.device);
      else if (could_ever_hold(party, e))
        devices_[e.device].closed = true;
    }
  }

 private:
  static constexpr int64_t max_total = int64_t{1} << 61;

  [[nodiscard]] bool has_room(const Party& party, const Eligible& e) const {
    const DeviceUse& use = devices_[e.device];
    if (use.exclusive || use.closed) return false;
    if (party.gpu.whole) return use.users == 0;
    return use.vram_bytes + party.gpu.vram_bytes <= e.vram_bytes && use.compute_pct + party.gpu.compute_pct <= 100;
  }

  [[nodiscard]] size_t rank(const Party& party, uint16_t device) const {
    const auto eligible = snapshot_.eligible(party);
    for (size_t i = 0; i < eligible.size(); ++i)
      if (eligible[i].device == device) return i;
    return eligible.size();
  }

  const Snapshot& snapshot_;
  std::vector<int64_t> free_;
  std::vector<DeviceUse> devices_;
};

bool possible(const Snapshot& snapshot, const Party& party) {
  for (const Amount& a : snapshot.counters(party))
    if (a.amount > snapshot.resources[a.resource].capacity) return false;
  if (party.gpu.count == 0) return true;
  const auto eligible = snapshot.eligible(party);
  const auto enough = [&](const Eligible& e) { return could_ever_hold(party, e); };
  return std::count_if(eligible.begin(), eligible.end(), enough) >= party.gpu.count;
}

}  // namespace

Plan plan(const Snapshot& snapshot, const std::vector<bool>& absent) {
  const size_t count = snapshot.parties.size();
  Plan result;
  result.verdicts.assign(count, Verdict::none);
  Ground ground(snapshot);

  std::vector<std::pair<int64_t, int>> waiting;
  for (size_t i = 0; i < count; ++i) {
    if (!absent.empty() && absent[i]) continue;
    const Party& party = snapshot.parties[i];
    if (party.state == PartyState::held) {
      ground.take_counters(party);
      for (const uint16_t d : snapshot.granted(party)) ground.take_device(party, d);
    } else if (party.state == PartyState::waiting) {
      waiting.emplace_back(order_key(party, snapshot.policy).key_us, static_cast<int>(i));
    }
  }
  const auto who = [&](int index) -> const PartyKey& { return snapshot.parties[static_cast<size_t>(index)]; };
  std::sort(waiting.begin(), waiting.end(), [&](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : who(a.second) < who(b.second);
  });

  result.line.reserve(waiting.size());
  for (const auto& [key, index] : waiting) {
    const Party& party = snapshot.parties[static_cast<size_t>(index)];
    Verdict& verdict = result.verdicts[static_cast<size_t>(index)];
    result.line.push_back(index);
    if (!possible(snapshot, party)) {
      verdict = Verdict::impossible;
      continue;
    }
    std::vector<uint16_t> devices;
    if (party.gpu.count > 0) devices = ground.choose(party);
    const bool gpu_short = devices.size() < static_cast<size_t>(party.gpu.count);
    if (gpu_short || !ground.counters_fit(party)) {
      verdict = Verdict::wait;
      ground.set_aside(party, gpu_short);
      continue;
    }
    verdict = Verdict::seat;
    ground.take_counters(party);
    for (const uint16_t d : devices) ground.take_device(party, d);
    if (party.gpu.count > 0) result.seats.emplace_back(index, std::move(devices));
  }
  return result;
}

const std::vector<uint16_t>& Plan::seat_of(int party) const {
  static const std::vector<uint16_t> none;
  for (const auto& [index, devices] : seats)
    if (index == party) return devices;
  return none;
}

std::vector<Shortfall> shortfalls(const Snapshot& snapshot, int index) {
  const Party& party = snapshot.parties[static_cast<size_t>(index)];
  std::vector<Shortfall> out;
  for (const Amount& a : snapshot.counters(party)) {
    const Resource& r = snapshot.resources[a.resource];
    if (a.amount > r.capacity) out.push_back({r.name, a.amount, r.capacity});
  }
  if (party.gpu.count == 0) return out;
  const auto eligible = static_cast<int64_t>(party.eligible.count);
  if (eligible < party.gpu.count) {
    out.push_back({"gpu", party.gpu.count, eligible});
    return out;
  }
  // Enough devices; are enough of them large enough? Say what the count-th largest offers.
  std::vector<int64_t> sizes;
  for (const Eligible& e : snapshot.eligible(party)) sizes.push_back(e.vram_bytes);
  std::sort(sizes.rbegin(), sizes.rend());
  const int64_t offered = sizes[static_cast<size_t>(party.gpu.count - 1)];
  if (!party.gpu.whole && party.gpu.vram_bytes > offered) out.push_back({"vram", party.gpu.vram_bytes, offered});
  return out;
}

}  // namespace berth
