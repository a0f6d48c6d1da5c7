#include "sched/timeline.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/text.h"
#include "sched/neighbours.h"
#include "sched/plan.h"

namespace berth {

namespace {

constexpr int64_t longest_word_s = int64_t{10} * 366 * 86'400;  // who says more has said nothing
constexpr size_t most_bytes = size_t{32} << 20U;                // of nodes
constexpr size_t most_nodes = 1U << 16U;
constexpr int64_t most_work = 400'000;  // figures looked at: some milliseconds

}  // namespace

int64_t expected_end_us(const Party& party, int64_t start_us) {
  if (party.expect_s <= 0 || party.expect_s > longest_word_s || start_us > max_amount) return never_us;
  return start_us + party.expect_s * 1'000'000;
}

Timeline::Timeline(const Snapshot& snapshot, int64_t now_us, bool unknown_ends, size_t holders)
    : snapshot_(snapshot),
      resources_(snapshot.resources.size()),
      devices_(snapshot.devices.size()),
      max_nodes_(std::clamp<size_t>(
          most_bytes / (2 * (resources_ * sizeof(int64_t) + devices_ * sizeof(DeviceUse)) + 1), 8, most_nodes)),
      two_views_(unknown_ends || holders > most_ends()),
      layers_(two_views_ ? 2 : 1),
      work_left_(most_work) {
  nodes_.push_back({now_us, -1});
  fronts_.assign(resources_ + devices_, {now_us, 0});
  free_.resize(layers_ * resources_);
  uses_.resize(layers_ * devices_);
  for (size_t v = 0; v < layers_; ++v)
    for (size_t i = 0; i < resources_; ++i) free_[v * resources_ + i] = snapshot.resources[i].capacity;
}

bool Timeline::counters_fit(const Party& party, View v, int node) const {
  for (const Amount& a : snapshot_.counters(party))
    if (a.amount > free(v, node, a.resource)) return false;
  return true;
}

bool Timeline::has_room(const Party& party, const Eligible& e, View v, int node) const {
  const DeviceUse& u = use(v, node, e.device);
  if (u.exclusive || u.closed) return false;
  if (party.gpu.whole) return u.users == 0 && !u.vram_closed && !u.compute_closed;
  return vram_fits(party, e, u) && compute_fits(party, u);
}

bool Timeline::vram_fits(const Party& party, const Eligible& e, const DeviceUse& u) {
  if (party.gpu.vram_bytes == 0) return true;
  return !u.vram_closed && u.vram_bytes + party.gpu.vram_bytes <= e.vram_bytes;
}

bool Timeline::compute_fits(const Party& party, const DeviceUse& u) {
  if (party.gpu.compute_pct == 0) return true;
  return !u.compute_closed && u.compute_pct + party.gpu.compute_pct <= 100;
}

// Memory and compute are two things: who waits for a turn keeps nobody from a place to stay, nor the other way
// round. What it could have of the one is set aside for it, the other is closed.
void Timeline::close_card(const Party& party, const Eligible& e, int node) {
  DeviceUse& u = use(View::sure, node, e.device);
  if (party.gpu.whole || u.exclusive || u.closed) {
    u.closed = true;
    return;
  }
  const bool vram = vram_fits(party, e, u);
  const bool compute = compute_fits(party, u);
  put(party, e.device, View::sure, node, true);
  u.vram_closed = u.vram_closed || !vram;
  u.compute_closed = u.compute_closed || !compute;
}

void Timeline::put(const Party& party, uint16_t device, View v, int node, bool ahead) {
  DeviceUse& u = use(v, node, device);
  u.users += 1;
  u.exclusive |= party.gpu.whole;
  u.vram_bytes = std::min(max_total, u.vram_bytes + party.gpu.vram_bytes);
  u.compute_pct += party.gpu.compute_pct;
  if (!ahead) return;
  u.ahead_users += 1;
  u.ahead_vram_bytes = std::min(max_total, u.ahead_vram_bytes + party.gpu.vram_bytes);
  u.ahead_compute_pct += party.gpu.compute_pct;
}

void Timeline::take_counters(const Party& party, View v, int node) {
  for (const Amount& a : snapshot_.counters(party)) {
    int64_t& left = free(v, node, a.resource);
    left = std::max<int64_t>(0, left - a.amount);
  }
}

// The list grows at its front while holders come in: the first node is always number 0, so what it
// said until now moves to a new node that begins where the holder ends.
// The list grows at its front while holders come in: the first node is always number 0, so what it
// said until now moves to a new node that begins where the holder ends.
void Timeline::hold(const Party& holder, int64_t end_us) {
  if (end_us < end_of(0)) split(0, end_us);
  const auto sit = [&](View v) {
    take_counters(holder, v, 0);
    for (const uint16_t d : snapshot_.granted(holder)) put(holder, d, v, 0, false);
  };
  sit(View::sure);
  if (two_views_ && end_us < never_us) sit(View::hoped);
}

void Timeline::holder_is_ahead(const Party& holder, int64_t end_us) {
  if (holder.gpu.count == 0) return;
  for (int n = 0; n >= 0 && nodes_[static_cast<size_t>(n)].at_us < end_us; n = nodes_[static_cast<size_t>(n)].next) {
    for (const uint16_t d : snapshot_.granted(holder)) {
      DeviceUse& u = use(View::sure, n, d);
      u.ahead_users += 1;
      u.ahead_vram_bytes = std::min(max_total, u.ahead_vram_bytes + holder.gpu.vram_bytes);
      u.ahead_compute_pct += holder.gpu.compute_pct;
    }
  }
}

bool Timeline::fits_now(const Party& party) const {
  if (!counters_fit(party, View::sure, 0)) return false;
  if (party.gpu.count == 0) return true;
  int room = 0;
  for (const Eligible& e : snapshot_.eligible(party)) room += has_room(party, e, View::sure, 0) ? 1 : 0;
  return room >= party.gpu.count;
}

Timeline::Window Timeline::in_turn(const Party& party, int64_t length_us, int64_t horizon_us) {
  Front front{nodes_[0].at_us, 0};
  each_item(party, [&](size_t item) {
    if (fronts_[item].at_us > front.at_us) front = fronts_[item];
  });
  const auto advance = [&](const Front& to) { each_item(party, [&](size_t item) { fronts_[item] = to; }); };
  if (front.at_us >= horizon_us) {
    advance(front);
    return {};
  }
  const auto eligible = snapshot_.eligible(party);
  for (int n = front.node; n >= 0; n = nodes_[static_cast<size_t>(n)].next) {
    work_left_ -= 1 + static_cast<int64_t>(eligible.size()) / 2;
    const int64_t at_us = nodes_[static_cast<size_t>(n)].at_us;
    if (at_us >= horizon_us) {
      advance({at_us, n});
      return {};
    }
    if (!counters_fit(party, View::hoped, n)) continue;
    Window window;
    for (const Eligible& e : eligible)
      if (has_room(party, e, View::hoped, n)) window.cards |= OrdinalMask{1} << e.ordinal;
    if (!enough_cards(party, window)) continue;
    window.first = n;
    window.start_us = at_us;
    window.end_us = length_us >= never_us - at_us ? never_us : at_us + length_us;
    advance({at_us, n});
    return window;
  }
  return {};
}

Timeline::Window Timeline::surely(const Party& party, const Window& window) {
  if (!two_views_) return window;  // one and the same
  return narrowed(party, window);
}

Timeline::Window Timeline::at_once(const Party& party, int64_t length_us) {
  Window window;
  window.first = 0;
  window.start_us = nodes_[0].at_us;
  window.end_us = length_us >= never_us - window.start_us ? never_us : window.start_us + length_us;
  for (const Eligible& e : snapshot_.eligible(party)) window.cards |= OrdinalMask{1} << e.ordinal;
  return narrowed(party, window);
}

Timeline::Window Timeline::narrowed(const Party& party, const Window& window) {
  Window out = window;
  for (int n = window.first; n >= 0 && nodes_[static_cast<size_t>(n)].at_us < window.end_us;
       n = nodes_[static_cast<size_t>(n)].next) {
    work_left_ -= 1;
    out.counters &= counters_fit(party, View::sure, n);
    for (const Eligible& e : snapshot_.eligible(party))
      if ((out.cards >> e.ordinal & 1U) != 0 && !has_room(party, e, View::sure, n))
        out.cards &= ~(OrdinalMask{1} << e.ordinal);
  }
  return out;
}

bool Timeline::enough_cards(const Party& party, const Window& window) {
  return std::popcount(window.cards) >= party.gpu.count;
}

// A share goes where the least is left afterwards, on a card already in use before an empty one, so that
// whole cards stay whole. A whole claim takes the largest card.
Timeline::Devices Timeline::choose(const Party& party, const Window& window, View view) const {
  std::vector<const Eligible*> fit;
  for (const Eligible& e : snapshot_.eligible(party))
    if ((window.cards >> e.ordinal & 1U) != 0) fit.push_back(&e);
  const bool everybody = nodes_.size() == 1;
  struct Use {
    bool used;
    int64_t vram_bytes;
    int32_t compute_pct;
  };
  const auto use_of = [&](const Eligible& e) -> Use {
    const DeviceUse& u = use(everybody ? view : View::sure, window.first, e.device);
    if (everybody) return {u.users != 0, u.vram_bytes, u.compute_pct};
    return {u.ahead_users != 0, u.ahead_vram_bytes, u.ahead_compute_pct};
  };
  std::stable_sort(fit.begin(), fit.end(), [&](const Eligible* a, const Eligible* b) {
    if (party.gpu.whole) return a->vram_bytes > b->vram_bytes;
    const Use ua = use_of(*a);
    const Use ub = use_of(*b);
    if (ua.used != ub.used) return ua.used;
    const int64_t left_a = a->vram_bytes - ua.vram_bytes;
    const int64_t left_b = b->vram_bytes - ub.vram_bytes;
    if (left_a != left_b) return left_a < left_b;
    return ua.compute_pct > ub.compute_pct;
  });
  if (party.gpu.whole) prefer_neighbours(fit, static_cast<size_t>(party.gpu.count));
  if (fit.size() > static_cast<size_t>(party.gpu.count)) fit.resize(static_cast<size_t>(party.gpu.count));
  std::sort(fit.begin(), fit.end());  // they lie in one array, in the order of the claim
  Devices chosen;
  for (const Eligible* e : fit) chosen.push_back(e->device);
  return chosen;
}

void Timeline::take(const Party& party, const Devices& devices, const Window& window, View view) {
  int last = window.first;
  for (int n = window.first; n >= 0 && nodes_[static_cast<size_t>(n)].at_us < window.end_us;
       n = nodes_[static_cast<size_t>(n)].next)
    last = n;
  if (window.end_us < end_of(last)) split(last, window.end_us);
  for (int n = window.first;; n = nodes_[static_cast<size_t>(n)].next) {
    work_left_ -= 1;
    take_counters(party, view, n);
    for (const uint16_t d : devices) put(party, d, view, n, true);
    if (n == last) break;
  }
}

void Timeline::close_at(const Party& party, int node, bool cards_short, const Devices& devices) {
  take_counters(party, View::sure, node);
  if (party.gpu.count == 0) return;
  if (!cards_short) {
    for (const uint16_t d : devices) put(party, d, View::sure, node, true);
    return;
  }
  for (const Eligible& e : snapshot_.eligible(party)) {
    if (has_room(party, e, View::sure, node))
      put(party, e.device, View::sure, node, true);
    else if (could_ever_hold(party, e))
      close_card(party, e, node);
  }
}

void Timeline::close(const Party& party, const Window& at) {
  const bool cards_short = !enough_cards(party, at);
  const Devices devices = cards_short || party.gpu.count == 0 ? Devices{} : choose(party, at, View::sure);
  for (int n = at.first; n >= 0; n = nodes_[static_cast<size_t>(n)].next) {
    work_left_ -= 1;
    close_at(party, n, cards_short, devices);
  }
}

// What is far off is not worth its price: nothing that this one may want is given away any more.
void Timeline::close_from_now(const Party& party) {
  for (int n = 0; n >= 0; n = nodes_[static_cast<size_t>(n)].next) close_at(party, n, true, {});
}

int Timeline::split(int node, int64_t at_us) {
  const auto made = static_cast<int>(nodes_.size());
  nodes_.push_back({at_us, nodes_[static_cast<size_t>(node)].next});
  nodes_[static_cast<size_t>(node)].next = made;
  const auto copy = [&](auto& all, size_t width) {
    const size_t from = static_cast<size_t>(node) * layers_ * width;
    all.resize(all.size() + layers_ * width);
    std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(from), layers_ * width,
                all.end() - static_cast<std::ptrdiff_t>(layers_ * width));
  };
  copy(free_, resources_);
  copy(uses_, devices_);
  work_left_ -= 2;
  return made;
}

}  // namespace berth
