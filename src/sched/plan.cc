#include "sched/plan.h"

#include <algorithm>
#include <limits>

#include "base/text.h"
#include "sched/precedence.h"
#include "sched/quota.h"
#include "sched/timeline.h"

namespace berth {

namespace {

bool possible(const Snapshot& snapshot, const Party& party) {
  for (const Amount& a : snapshot.counters(party))
    if (a.amount > snapshot.resources[a.resource].capacity) return false;
  for (const Quota& q : snapshot.policy.quotas)
    if (quota_use(snapshot, party, q) > q.most) return false;
  if (party.gpu.count == 0) return true;
  const auto eligible = snapshot.eligible(party);
  const auto enough = [&](const Eligible& e) { return could_ever_hold(party, e); };
  return std::count_if(eligible.begin(), eligible.end(), enough) >= party.gpu.count;
}

// One walk down the line, with everything that it needs to know.
class Walk {
 public:
  Walk(const Snapshot& snapshot, const std::vector<bool>& absent, Extent extent)
      : snapshot_(snapshot), quotas_(snapshot), now_us_(std::max<int64_t>(0, snapshot.now_us)), extent_(extent) {
    const size_t count = snapshot.parties.size();
    result_.verdicts.assign(count, Verdict::none);
    for (size_t i = 0; i < count; ++i) {
      if (!absent.empty() && absent[i]) continue;
      const Party& party = snapshot.parties[i];
      // Who stepped aside may come back: then nobody has to learn that time counts.
      result_.timed |= snapshot.now_us > 0 && party.expect_s > 0;
      if (party.state == PartyState::aside || (party.out && party.state == PartyState::waiting)) continue;
      (party.state == PartyState::held ? holders_ : line_).push_back({0, static_cast<int>(i)});
    }
    line_up(line_);
    open_quotas();
    for (const Stand& stand : line_) {
      verdict(stand.index) = possible(snapshot_, at(stand.index)) ? Verdict::wait : Verdict::impossible;
      if (verdict(stand.index) == Verdict::wait) settle_quotas(stand.index);
    }
    if (std::any_of(line_.begin(), line_.end(), [&](const Stand& s) { return at(s.index).seconds; }))
      put_seconds(absent);
  }

  Plan run() {
    Timeline timeline = furnished();
    const size_t needed = last_of_interest(timeline);
    for (size_t position = 0; position < line_.size(); ++position) {
      const int index = line_[position].index;
      result_.line.push_back(index);
      if (position >= needed || takes_nothing(index)) continue;
      catch_up_with(timeline, line_[position].key_us, index);
      place(timeline, index, fits_now_[position], horizons_us_[position]);
      if (result_.timed && fits_now_[position] && verdict(index) == Verdict::wait) result_.held_back.push_back(index);
    }
    if (result_.held_back.empty()) change_us_ = never_us;
    result_.look_again_us = change_us_ == never_us ? -1 : change_us_;
    return std::move(result_);
  }

 private:
  struct Stand {
    int64_t key_us;
    int index;
  };

  [[nodiscard]] const Party& at(int index) const { return snapshot_.parties[static_cast<size_t>(index)]; }
  [[nodiscard]] Verdict& verdict(int index) { return result_.verdicts[static_cast<size_t>(index)]; }

  void line_up(std::vector<Stand>& stands) const {
    for (Stand& stand : stands) stand.key_us = order_key(at(stand.index), snapshot_.policy).key_us;
    std::sort(stands.begin(), stands.end(), [&](const Stand& a, const Stand& b) {
      if (a.key_us != b.key_us) return a.key_us < b.key_us;
      const PartyKey& ka = at(a.index);
      return ka < at(b.index);
    });
  }

  [[nodiscard]] bool takes_nothing(int index) {
    return verdict(index) == Verdict::impossible || result_.is_over_quota(index);
  }

  // See precedence.h. Who is let pass has the key of the first that it passes.
  void put_seconds(const std::vector<bool>& absent) {
    std::vector<int> order;
    for (const Stand& stand : line_) order.push_back(stand.index);
    let_pass(
        snapshot_, absent, [this](int index) { return takes_nothing(index); }, order);
    int64_t key_us = std::numeric_limits<int64_t>::max();
    for (size_t i = order.size(); i-- > 0;) {
      key_us = std::min(key_us, order_key(at(order[i]), snapshot_.policy).key_us);
      line_[i] = {key_us, order[i]};
    }
  }

  // What the holders leave of each quota.
  void open_quotas() {
    if (!quotas_.any()) return;
    result_.over_quota.assign(snapshot_.parties.size(), -1);
    quota_left_.resize(quotas_.items());
    const auto each = [&](const std::vector<Stand>& stands, const auto& visit) {
      for (const Stand& stand : stands)
        for (const Quotas::Use& use : quotas_.of(stand.index)) visit(use);
    };
    const auto open = [&](const Quotas::Use& use) { quota_left_[use.item] = snapshot_.policy.quotas[use.quota].most; };
    each(holders_, open);
    each(line_, open);
    each(holders_, [&](const Quotas::Use& use) {
      quota_left_[use.item] = std::max(-max_amount, quota_left_[use.item] - use.amount);
    });
  }

  // In the order of arrival and priority: whether what is left to its user is enough for it. See quota.h.
  void settle_quotas(int index) {
    const auto uses = quotas_.of(index);
    for (const Quotas::Use& use : uses)
      if (use.amount > quota_left_[use.item]) result_.over_quota[static_cast<size_t>(index)] = use.quota;
    const bool within = !result_.is_over_quota(index);
    for (const Quotas::Use& use : uses) quota_left_[use.item] = within ? quota_left_[use.item] - use.amount : 0;
  }

  // How long a party stays from when it sits down, by its own word.
  [[nodiscard]] int64_t length_us(const Party& party) const {
    if (!result_.timed) return never_us;
    const int64_t end_us = expected_end_us(party, now_us_);
    return end_us == never_us ? never_us : end_us - now_us_;
  }

  // An overdue holder's end is as unknown as that of one that said nothing.
  [[nodiscard]] int64_t end_us(const Party& holder) const {
    const int64_t end_us = result_.timed ? expected_end_us(holder, holder.seated_us) : never_us;
    return end_us <= now_us_ ? never_us : end_us;
  }

  // The pool with its holders in it.
  Timeline furnished() {
    if (result_.timed) line_up(holders_);
    std::vector<std::pair<int64_t, int>> ends;  // in the order in which a timeline wants them
    bool unknown = !result_.timed;
    for (const Stand& h : holders_) ends.emplace_back(end_us(at(h.index)), h.index);
    if (result_.timed) {
      std::stable_sort(ends.begin(), ends.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
      for (const auto& [end, index] : ends) unknown |= end == never_us;
      for (const Stand& w : line_) unknown |= length_us(at(w.index)) == never_us;
    }
    Timeline timeline(snapshot_, now_us_, unknown, ends.size());
    if (ends.size() > timeline.most_ends())
      for (size_t i = 0; i < ends.size() - timeline.most_ends(); ++i) ends[i].first = never_us;
    for (const auto& [end, index] : ends) {
      timeline.hold(at(index), end);
      change_us_ = std::min(change_us_, end);
    }
    next_holder_ = 0;
    return timeline;
  }

  // The position behind the last in line that has to be thought about: whoever does not fit beside the
  // holders alone will not be seated now, and keeps nothing from those before it.
  size_t last_of_interest(const Timeline& timeline) {
    size_t needed = 0;
    fits_now_.assign(line_.size(), false);
    for (size_t position = 0; position < line_.size(); ++position) {
      const int index = line_[position].index;
      if (takes_nothing(index)) continue;
      fits_now_[position] = timeline.fits_now(at(index));
      if (fits_now_[position] || extent_ == Extent::everybody) needed = position + 1;
    }
    // What is planned for after all those behind are gone, if they sat down now, concerns none of them.
    int64_t horizon_us = now_us_ + 1;
    horizons_us_.assign(line_.size(), never_us);
    for (size_t position = needed; extent_ == Extent::seats && position-- > 0;) {
      horizons_us_[position] = horizon_us;
      if (!fits_now_[position]) continue;
      const int64_t length = length_us(at(line_[position].index));
      horizon_us = std::max(horizon_us, length == never_us ? never_us : now_us_ + length);
    }
    if (extent_ == Extent::everybody) result_.starts_us.assign(snapshot_.parties.size(), -1);
    return needed;
  }

  // Holders that stand before this one by their keys are ahead of it.
  void catch_up_with(Timeline& timeline, int64_t key_us, int index) {
    if (!result_.timed) return;
    for (; next_holder_ < holders_.size(); ++next_holder_) {
      const Stand& holder = holders_[next_holder_];
      const PartyKey& who = at(holder.index);
      if (holder.key_us > key_us || (holder.key_us == key_us && at(index) < who)) return;
      timeline.holder_is_ahead(at(holder.index), end_us(at(holder.index)));
    }
  }

  void place(Timeline& timeline, int index, bool fits_now, int64_t horizon_us) {
    const Party& party = at(index);
    const int64_t length = length_us(party);
    if (fits_now) {
      const Timeline::Window window = timeline.at_once(party, length);
      if (Timeline::enough(party, window)) return seat(timeline, index, window);
    }
    if (timeline.exhausted()) return timeline.close_from_now(party);
    const Timeline::Window hoped = timeline.in_turn(party, length, horizon_us);
    if (hoped.first < 0) return;  // too late to be in anybody's way
    const Timeline::Window sure = timeline.surely(party, hoped);
    if (Timeline::enough(party, sure)) {
      const Timeline::Devices devices = timeline.choose(party, sure, Timeline::View::sure);
      timeline.take(party, devices, sure, Timeline::View::sure);
      if (length < never_us) timeline.take_hoped(party, devices, sure);
      expect_start(index, sure.start_us);
      return;
    }
    // Its turn hangs on an end that nobody knows. Those behind may use what it wants until it could
    // come, and nothing from then on.
    timeline.close(party, sure);
    if (hoped.start_us > now_us_ && length < never_us)
      timeline.take_hoped(party, timeline.choose(party, hoped, Timeline::View::hoped), hoped);
  }

  void seat(Timeline& timeline, int index, const Timeline::Window& window) {
    const Party& party = at(index);
    verdict(index) = Verdict::seat;
    Timeline::Devices devices = timeline.choose(party, window, Timeline::View::sure);
    timeline.take(party, devices, window, Timeline::View::sure);
    if (window.end_us < never_us) timeline.take_hoped(party, devices, window);
    if (party.gpu.count > 0) result_.seats.emplace_back(index, std::move(devices));
    expect_start(index, now_us_);
  }

  void expect_start(int index, int64_t start_us) {
    if (extent_ == Extent::everybody) result_.starts_us[static_cast<size_t>(index)] = start_us;
  }

  const Snapshot& snapshot_;
  const Quotas quotas_;
  std::vector<int64_t> quota_left_;  // by item
  int64_t now_us_;
  Extent extent_;
  std::vector<Stand> line_;
  std::vector<Stand> holders_;
  std::vector<bool> fits_now_;        // by position in the line
  std::vector<int64_t> horizons_us_;  // by position: what is planned for later than that is in nobody's way
  size_t next_holder_ = 0;            // the first that is not ahead yet
  int64_t change_us_ = never_us;
  Plan result_;
};

}  // namespace

Plan plan(const Snapshot& snapshot, const std::vector<bool>& absent, Extent extent) {
  return Walk(snapshot, absent, extent).run();
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
  for (const Quota& q : snapshot.policy.quotas)
    if (const int64_t use = quota_use(snapshot, party, q); use > q.most)
      out.push_back({quota_word(q.name), use, q.most});
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
