// Timeline: what is taken of a pool from now on, by holders and by those ahead in line.
//
// It is kept twice, because of the ends that nobody knows (no --expect, or past it):
//
//   sure     who has no known end stays for ever: on this, and on nothing else, a seat is given
//   hoped    who has no known end is gone at once: so early a claim's turn can come
//
// Where every end is known the two are one, and where none is, `hoped` is an empty pool and `sure` has a
// single node: then all of this is one walk over one set of numbers.
//
// A node is a moment from which on the figures hold, until the next node's. Nodes are a list in two flat
// arrays: a new one in the middle is a copy of its neighbour and moves nothing.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "core/snapshot.h"

namespace berth {

inline constexpr int64_t never_us = std::numeric_limits<int64_t>::max() / 4;

// When a party that sits down at `start_us` is gone by its own word; never_us if it did not say.
[[nodiscard]] int64_t expected_end_us(const Party& party, int64_t start_us);

// What is taken of one device at one time.
struct DeviceUse {
  int64_t vram_bytes = 0;
  int64_t ahead_vram_bytes = 0;  // of that, by those ahead of whoever is being planned for
  int32_t compute_pct = 0;
  int32_t ahead_compute_pct = 0;
  int32_t users = 0;
  int32_t ahead_users = 0;
  bool exclusive = false;
  // Somebody ahead waits for this card, or for one of its two quantities, and nobody knows for how long.
  bool closed = false;
  bool vram_closed = false;
  bool compute_closed = false;
};

class Timeline {
 public:
  enum class View : uint8_t { sure, hoped };
  using Devices = std::vector<uint16_t>;

  // From `now_us` on. `unknown_ends`: there is somebody whose end is not known. `holders` will come.
  Timeline(const Snapshot& snapshot, int64_t now_us, bool unknown_ends, size_t holders);

  // Who sits there already, until `end_us`: first those that stay for ever (never_us), then the others, the
  // latest end first, none of them at or before now.
  void hold(const Party& holder, int64_t end_us);
  // From now on that holder counts as ahead; see DeviceUse.
  void holder_is_ahead(const Party& holder, int64_t end_us);
  // How many ends there is room for. Further ones have to count as unknown.
  [[nodiscard]] size_t most_ends() const { return max_nodes_ / 2; }

  // Whether what is left now, if nobody who waits counted, has room for it. Before anybody is planned for.
  [[nodiscard]] bool fits_now(const Party& party) const;

  struct Window {
    int first = -1;  // node in which it begins; -1: there is none
    int64_t start_us = never_us;
    int64_t end_us = never_us;
    OrdinalMask cards = 0;  // the eligible devices that have room throughout
    bool counters = true;   // and whether the counters suffice throughout
  };
  // When its turn comes in the hoped view: the first moment when all that it wants is there, but not before
  // the turn of anybody for whom this was asked before and who wants some of the same. From then on those
  // only leave, so what is there stays there. This counts as its turn from here on. A turn at the horizon or
  // later is of no interest: no window, and nobody who wants some of the same comes before the horizon.
  [[nodiscard]] Window in_turn(const Party& party, int64_t length_us, int64_t horizon_us);
  // The same window as the sure view sees it.
  [[nodiscard]] Window surely(const Party& party, const Window& window);
  // The window from now on in the sure view.
  [[nodiscard]] Window at_once(const Party& party, int64_t length_us);
  [[nodiscard]] static bool enough_cards(const Party& party, const Window& window);
  [[nodiscard]] static bool enough(const Party& party, const Window& window) {
    return window.counters && enough_cards(party, window);
  }

  // Which of a window's cards a party is to have: party.gpu.count of them, in the order of its claim.
  // The choice depends only on those ahead of it, at the window's beginning: who passes later cannot
  // change it, and so cannot move what was planned for those behind. Without any known end there is no
  // later, and everybody's use counts.
  [[nodiscard]] Devices choose(const Party& party, const Window& window, View view) const;

  // Takes it out of one view. Where the two are one, the hoped one has it already.
  void take(const Party& party, const Devices& devices, const Window& window, View view);
  void take_hoped(const Party& party, const Devices& devices, const Window& window) {
    if (two_views_) take(party, devices, window, View::hoped);
  }
  // From the window's beginning on, whatever of the claim could be had is set aside for it, and what
  // it is short of is closed; in the sure view alone.
  void close(const Party& party, const Window& at);
  void close_from_now(const Party& party);

  // Nodes looked at and made: the same for the same snapshot on every machine.
  [[nodiscard]] bool exhausted() const { return work_left_ <= 0 || nodes_.size() + 4 > max_nodes_; }

 private:
  struct Node {
    int64_t at_us = 0;
    int next = -1;
  };
  struct Front {
    int64_t at_us = 0;
    int node = 0;  // that begins then
  };
  static constexpr int64_t max_total = int64_t{1} << 61;

  [[nodiscard]] size_t layer(View view) const { return view == View::hoped && two_views_ ? 1 : 0; }
  [[nodiscard]] int64_t& free(View v, int node, uint16_t resource) {
    return free_[(static_cast<size_t>(node) * layers_ + layer(v)) * resources_ + resource];
  }
  [[nodiscard]] int64_t free(View v, int node, uint16_t resource) const {
    return free_[(static_cast<size_t>(node) * layers_ + layer(v)) * resources_ + resource];
  }
  [[nodiscard]] DeviceUse& use(View v, int node, uint16_t device) {
    return uses_[(static_cast<size_t>(node) * layers_ + layer(v)) * devices_ + device];
  }
  [[nodiscard]] const DeviceUse& use(View v, int node, uint16_t device) const {
    return uses_[(static_cast<size_t>(node) * layers_ + layer(v)) * devices_ + device];
  }
  [[nodiscard]] int64_t end_of(int node) const {
    const int next = nodes_[static_cast<size_t>(node)].next;
    return next < 0 ? never_us : nodes_[static_cast<size_t>(next)].at_us;
  }
  [[nodiscard]] bool counters_fit(const Party& party, View v, int node) const;
  [[nodiscard]] bool has_room(const Party& party, const Eligible& e, View v, int node) const;
  [[nodiscard]] static bool vram_fits(const Party& party, const Eligible& e, const DeviceUse& u);
  [[nodiscard]] static bool compute_fits(const Party& party, const DeviceUse& u);
  void close_card(const Party& party, const Eligible& e, int node);
  template <class Visit>
  void each_item(const Party& party, const Visit& visit) const {
    for (const Amount& a : snapshot_.counters(party)) visit(size_t{a.resource});
    for (const Eligible& e : snapshot_.eligible(party)) visit(resources_ + e.device);
  }
  // What the sure view leaves of a window.
  [[nodiscard]] Window narrowed(const Party& party, const Window& window);
  void put(const Party& party, uint16_t device, View v, int node, bool ahead);
  void take_counters(const Party& party, View v, int node);
  void close_at(const Party& party, int node, bool cards_short, const Devices& devices);
  int split(int node, int64_t at_us);

  const Snapshot& snapshot_;
  size_t resources_;
  size_t devices_;
  size_t max_nodes_;
  bool two_views_;
  size_t layers_;
  int64_t work_left_;
  std::vector<Node> nodes_;
  std::vector<int64_t> free_;
  std::vector<DeviceUse> uses_;
  std::vector<Front> fronts_;  // by resource, then by device: the latest turn of who wants it
};

}  // namespace berth
