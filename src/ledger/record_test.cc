#include "ledger/record.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/text.h"

namespace berth {
namespace {

Record small_record() {
  Record r;
  r.id = *PartyId::parse("k7q2m2xd4a");
  r.dir = "1001";
  r.arrival_us = 1795234567123456;
  r.priority = -3;
  r.expect_s = 7200;
  r.claim = {{{"cpu", 4}, {"ram", int64_t{1} << 30}}, {}, {}};
  r.info.pid = 4711;
  r.info.label = "night run";
  r.info.command = "python train.py";
  return r;
}

Record card_record() {
  Record r = small_record();
  r.state = PartyState::held;
  r.seated_us = 1795234567200000;
  r.claim.gpu = {2, false, int64_t{8} << 30, 50};
  r.claim.eligible = {{"GPU-a", int64_t{24} << 30}, {"GPU-b", int64_t{16} << 30}, {"GPU-c", int64_t{24} << 30}};
  r.grant = {0, 2};
  return r;
}

// A copy that ends where the heap block ends, so that the address sanitizer sees a read past it.
class Exact {
 public:
  explicit Exact(std::string_view text) : size_(text.size()), bytes_(std::make_unique<char[]>(text.size())) {
    std::copy(text.begin(), text.end(), bytes_.get());
  }
  [[nodiscard]] std::string_view view() const { return {bytes_.get(), size_}; }

 private:
  size_t size_;
  std::unique_ptr<char[]> bytes_;
};

Decoded decode(std::string_view name, std::string_view target, Snapshot& snapshot) {
  const Exact own_name(name);
  const Exact own_target(target);
  const Decoded first = decode_record(own_name.view(), {}, snapshot);
  return first == Decoded::needs_target && !target.empty() ? decode_record(own_name.view(), own_target.view(), snapshot)
                                                           : first;
}

int64_t cpus_of(const Snapshot& s, const Party& p) {
  for (const Amount& a : s.counters(p))
    if (s.resources[a.resource].name == "cpu") return a.amount;
  return 0;
}

// Everything the door promises of what it lets in, and that it leaves nothing of what it does not.
void check_door(std::string_view name, std::string_view target) {
  Snapshot s;
  ASSERT_EQ(decode(record_name(small_record()), "", s), Decoded::ok);
  const size_t amounts = s.amounts.size();
  const Decoded decoded = decode(name, target, s);
  if (decoded != Decoded::ok) {
    EXPECT_EQ(s.parties.size(), 1U);
    EXPECT_EQ(s.amounts.size(), amounts);
    EXPECT_EQ(s.eligibles.size(), 0U);
    EXPECT_EQ(s.grants.size(), 0U);
    EXPECT_EQ(s.processors.size(), 0U);
    return;
  }
  const Party& p = s.parties.back();
  EXPECT_LE(p.counters.count, max_claim_counters);
  EXPECT_LE(p.eligible.count, max_claim_devices);
  EXPECT_LE(std::abs(p.priority), max_priority_magnitude);
  EXPECT_LE(p.dir().size(), max_dir_bytes);
  EXPECT_TRUE(p.arrival_us >= 0 && p.arrival_us <= max_amount);
  EXPECT_TRUE(p.gpu.count >= 0 && p.gpu.count <= static_cast<int>(max_claim_devices));
  EXPECT_TRUE(p.gpu.vram_bytes >= 0 && p.gpu.vram_bytes <= max_amount);
  EXPECT_TRUE(p.gpu.compute_pct >= 0 && p.gpu.compute_pct <= 100);
  EXPECT_EQ(p.granted.count, p.state == PartyState::held ? static_cast<uint32_t>(p.gpu.count) : 0U);
  std::set<uint16_t> once;
  for (const Amount& a : s.counters(p)) {
    EXPECT_TRUE(a.amount > 0 && a.amount <= max_amount);
    EXPECT_LT(a.resource, s.resources.size());
    EXPECT_TRUE(once.insert(a.resource).second);
  }
  once.clear();
  for (const Eligible& e : s.eligible(p)) EXPECT_TRUE(e.device < s.devices.size() && once.insert(e.device).second);
  once.clear();
  for (const uint16_t d : s.granted(p)) EXPECT_TRUE(d < s.devices.size() && once.insert(d).second);
  EXPECT_TRUE(p.processors.count == 0 || p.state == PartyState::held);
  EXPECT_LE(static_cast<int64_t>(processor_set(s.own_processors(p)).count()), cpus_of(s, p));
}

TEST(RecordName, IsTheOneInTheProtocol) {
  EXPECT_EQ(record_name(small_record()), "w1,k7q2m2xd4a,1001,1795234567123456,-3,7200,0,-,cpu=4+ram=1073741824");
  EXPECT_EQ(record_target(small_record()), "\npid 4711\nlabel night run\ncmd python train.py");
}

Record pinned_record() {
  Record r = small_record();
  r.state = PartyState::held;
  r.pins = true;
  r.processors = {{0, 1}, {64, 65}};
  return r;
}

TEST(RecordName, SaysWhichProcessorsAreItsOwn) {
  const Record r = pinned_record();
  EXPECT_EQ(record_name(r), "h1,k7q2m2xd4a,1001,1795234567123456,-3,7200,0,-,cpu=4+ram=1073741824,-,pin=0-1.64-65");
  Snapshot s;
  ASSERT_EQ(decode(record_name(r), record_target(r), s), Decoded::ok);
  EXPECT_EQ(show_processors(s.own_processors(s.parties[0])), "0-1,64-65");
  EXPECT_EQ(record_of(s, 0).processors, r.processors);
  // It has them once it is seated.
  Record waits = r;
  waits.state = PartyState::waiting;
  EXPECT_EQ(record_name(waits), "w1,k7q2m2xd4a,1001,1795234567123456,-3,7200,0,-,cpu=4+ram=1073741824,-,pin=-");
}

TEST(RecordName, OfMoreProcessorsThanItClaimedIsGarbage) {
  Record r = pinned_record();
  r.processors = {{0, 4}};
  Snapshot s;
  EXPECT_EQ(decode(record_name(r), record_target(r), s), Decoded::garbage);
  r.processors = {{0, 0}};
  r.claim.counters = {{"ram", 1}};
  EXPECT_EQ(decode(record_name(r), record_target(r), s), Decoded::garbage);
  for (const char* bad : {"", "-1", "3-1", "0.0", "x", "9999"})
    EXPECT_EQ(decode("h1,k7q2m2xd4a,1001,5,0,0,5,-,cpu=4,-,pin=" + std::string(bad), "", s), Decoded::garbage) << bad;
}

TEST(RecordName, DoesNotMoveTheClaimWhenTheStateChanges) {
  Record r = card_record();
  for (int i = 0; i < 60; ++i) {
    r.claim.eligible.push_back({"G" + std::to_string(i), 1});
    Record waiting = r;
    waiting.state = PartyState::waiting;
    waiting.grant.clear();
    EXPECT_EQ(record_name(r).back() == '@', record_name(waiting).back() == '@') << i;
    EXPECT_EQ(record_target(r), record_target(waiting));
    EXPECT_LE(record_name(r).size(), max_name_bytes);
  }
}

TEST(RecordName, TellsWhereItsClaimIs) {
  Record r = small_record();
  EXPECT_FALSE(claim_stands_apart(record_name(r)));
  r.claim_apart = true;
  EXPECT_TRUE(claim_stands_apart(record_name(r)));
  EXPECT_FALSE(claim_stands_apart("pool"));
}

TEST(RecordName, SaysMoreBehindTheParent) {
  Record r = small_record();
  r.claim = {{{"cpu", 1}}, {}, {}};
  r.with = PartyId::parse("abcdefgh27");
  r.debt_us = 60'000'000;
  r.way.reclaimable = r.way.busy = true;
  EXPECT_EQ(record_name(r),
            "w1,k7q2m2xd4a,1001,1795234567123456,-3,7200,0,-,cpu=1,-,"
            "with=abcdefgh27+debt=60000000+way=rb");
  r = small_record();
  r.out = true;
  EXPECT_EQ(record_name(r), "w1,k7q2m2xd4a,1001,1795234567123456,-3,7200,0,!!,cpu=4+ram=1073741824");
}

TEST(Decode, TellsRecordsFromOtherEntries) {
  Snapshot s;
  for (const char* foreign : {"", "pool", "u1001", ".pool-abc", "h", "w1", "x1,a", "wx,a", "README.txt", "h-1,"})
    EXPECT_EQ(decode(foreign, "", s), Decoded::foreign) << foreign;
  EXPECT_EQ(decode("h2,whatever", "", s), Decoded::newer);
  EXPECT_EQ(decode("w9,", "", s), Decoded::newer);
  EXPECT_EQ(decode("h1,whatever", "", s), Decoded::garbage);
  EXPECT_TRUE(s.parties.empty());
}

TEST(Decode, IgnoresFieldsPastThoseItKnows) {
  Snapshot s;
  EXPECT_EQ(decode(record_name(small_record()) + ",abcdefgh27,more=1+of+tomorrow=,still", "", s), Decoded::ok);
}

TEST(Decode, RefusesWhatIsOutOfBounds) {
  const auto with = [](const std::string& claim, const std::string& front = "w1,k7q2m2xd4a,1001,5,0,0,0,-,") {
    return front + claim;
  };
  const std::string many = [] {
    std::string out;
    for (int i = 0; i < 13; ++i) out += (i ? "+r" : "r") + std::to_string(i) + "=1";
    return out;
  }();
  for (const std::string& bad : {with(""),
                                 with("cpu"),
                                 with("cpu=0"),
                                 with("cpu=-1"),
                                 with("cpu=01"),
                                 with("cpu=1+cpu=2"),
                                 with("=1"),
                                 with("cpu=1+"),
                                 with("gpu=0+on=A:1"),
                                 with("gpu=65+on=A:1"),
                                 with("cpu=1+vram=5"),
                                 with("on=A:1"),
                                 with("cpu=1+on=A:1"),
                                 with("gpu=1+on=A"),
                                 with("gpu=1+on=:1"),
                                 with("gpu=1+on=A:1+on=A:2"),
                                 with("gpu=1+compute=101+on=A:1"),
                                 with("on=1"),
                                 with("gpu =1"),
                                 with("cpu=1152921504606846977"),
                                 with(many),
                                 with("cpu=1", "w1,k7q2m2xd4a,,5,0,0,0,-,"),
                                 with("cpu=1", "w1,k7q2m2xd4a,../x,5,0,0,0,-,"),
                                 with("cpu=1", "w1,k7q2m2xd4a,1001,5,1000001,0,0,-,"),
                                 with("cpu=1", "w1,k7q2m2xd4a,1001,-5,0,0,0,-,"),
                                 with("cpu=1", "w1,K7Q2M9XD4A,1001,5,0,0,0,-,"),
                                 with("cpu=1", "w1,k7q2m2xd4a,1001,5,0,0,0,,"),
                                 with("gpu=1+on=A:1", "w1,k7q2m2xd4a,1001,5,0,0,0,0,"),
                                 with("gpu=1+on=A:1", "h1,k7q2m2xd4a,1001,5,0,0,5,-,"),
                                 with("cpu=1", "h1,k7q2m2xd4a,1001,5,0,0,5,!!,"),
                                 with("cpu=1,-,with=abc"),
                                 with("cpu=1,-,debt=-1"),
                                 with("gpu=1+on=A:1", "h1,k7q2m2xd4a,1001,5,0,0,5,1,"),
                                 with("gpu=2+on=A:1+on=B:1", "h1,k7q2m2xd4a,1001,5,0,0,5,0.0,"),
                                 with("gpu=1+on=A:1+on=B:1", "h1,k7q2m2xd4a,1001,5,0,0,5,0.1,")}) {
    Snapshot s;
    EXPECT_EQ(decode(bad, "", s), Decoded::garbage) << bad;
    check_door(bad, "");
  }
}

TEST(Decode, TakesEveryTruncationAndEveryFlippedByte) {
  Record wide = card_record();
  for (int i = 0; i < 10; ++i) wide.claim.eligible.push_back({"GPU-00000000-" + std::to_string(i), 1 << 20});
  for (const Record& record : {small_record(), card_record(), wide, pinned_record()}) {
    const std::string name = record_name(record);
    const std::string target = record_target(record);
    for (size_t length = 0; length <= name.size(); ++length) check_door(name.substr(0, length), target);
    for (size_t length = 0; length <= target.size(); ++length) {
      check_door(name, target.substr(0, length));
      (void)decode_info(Exact(target.substr(0, length)).view());
    }
    for (size_t at = 0; at < name.size(); ++at) {
      for (int flip = 1; flip < 256; ++flip) {
        std::string bad = name;
        bad[at] = static_cast<char>(bad[at] ^ flip);
        check_door(bad, target);
      }
    }
    for (size_t at = 0; at < target.size(); ++at) {
      for (int flip = 1; flip < 256; flip += 7) {
        std::string bad = target;
        bad[at] = static_cast<char>(bad[at] ^ flip);
        check_door(name, bad);
      }
    }
    if (testing::Test::HasFailure()) return;
  }
}

// What one party fills the snapshot with must not keep another's record from being read.
TEST(Decode, GarbageInternsNothing) {
  Snapshot s;
  EXPECT_EQ(decode("w1,k7q2m2xd4a,1001,5,0,0,0,-,license=1+gpu=1+on=A:1+cpu=0", "", s), Decoded::garbage);
  EXPECT_TRUE(s.resources.empty());
  EXPECT_TRUE(s.devices.empty());
}

Record any_record() {
  Record r;
  for (char& c : r.id.text) c = *rc::gen::element('a', 'z', '2', '7', 'q');
  r.state = *rc::gen::element(PartyState::held, PartyState::waiting, PartyState::aside);
  r.dir = *rc::gen::element<std::string>("0", "1001", "4294967294", "1001.3");
  r.arrival_us = *rc::gen::inRange<int64_t>(0, max_amount);
  r.priority = *rc::gen::inRange(-max_priority_magnitude, max_priority_magnitude + 1);
  r.expect_s = *rc::gen::inRange<int64_t>(0, 1'000'000);
  r.seated_us = r.state == PartyState::held ? *rc::gen::inRange<int64_t>(0, max_amount) : 0;
  if (r.state != PartyState::held) r.out = *rc::gen::arbitrary<bool>();
  if (*rc::gen::arbitrary<bool>()) r.parent = PartyId::parse("abcdefgh27");
  if (*rc::gen::arbitrary<bool>()) r.with = PartyId::parse("q7q7q7q7q7");
  r.debt_us = *rc::gen::element<int64_t>(0, 1, max_amount);
  if (r.state == PartyState::held) r.ends_us = *rc::gen::element<int64_t>(0, 1, max_amount);
  r.way.reclaimable = *rc::gen::arbitrary<bool>();
  r.way.gives_up = *rc::gen::arbitrary<bool>();
  if (r.way.reclaimable) r.way.yielding = r.way.idle = *rc::gen::arbitrary<bool>();
  const int counters = *rc::gen::inRange(0, static_cast<int>(max_claim_counters) + 1);
  for (int i = 0; i < counters; ++i)
    r.claim.counters.push_back({i == 0 ? "cpu" : "r" + std::to_string(i), *rc::gen::inRange<int64_t>(1, max_amount)});
  const int64_t cpus = counters == 0 ? 0 : r.claim.counters[0].amount;
  r.pins = cpus > 0 && *rc::gen::arbitrary<bool>();
  if (r.pins && r.state == PartyState::held) {
    ProcessorSet set;
    for (const int n : *rc::gen::container<std::vector<int>>(rc::gen::inRange<int>(0, max_processors)))
      if (static_cast<int64_t>(set.count()) < cpus) set.set(static_cast<size_t>(n));
    set.set(0, set.none());
    r.processors = spans_of(set);
  }
  const int devices = *rc::gen::inRange(counters == 0 ? 1 : 0, static_cast<int>(max_claim_devices) / 4);
  if (devices == 0) return r;
  r.claim.gpu.count = *rc::gen::inRange(1, devices + 1);
  r.claim.gpu.whole = *rc::gen::arbitrary<bool>();
  if (!r.claim.gpu.whole) {
    r.claim.gpu.vram_bytes = *rc::gen::inRange<int64_t>(0, max_amount);
    r.claim.gpu.compute_pct = *rc::gen::inRange(0, 101);
  }
  const std::string odd = *rc::gen::element<std::string>("GPU-", "00000000:41:", "card/", "S_");
  for (int i = 0; i < devices; ++i)
    r.claim.eligible.push_back({odd + std::to_string(i), *rc::gen::inRange<int64_t>(0, max_amount)});
  if (r.state == PartyState::held)
    for (int i = 0; i < r.claim.gpu.count; ++i) r.grant.push_back(static_cast<uint16_t>(devices - 1 - i));
  return r;
}

RC_GTEST_PROP(Decode, ReadsWhatIsWritten, ()) {
  Record r = any_record();
  if (record_name(r).size() > max_name_bytes) r.processors = {{0, 0}};  // who chooses them sees to that
  r.info.label = *rc::gen::arbitrary<std::string>();
  r.info.command = *rc::gen::arbitrary<std::string>();
  const std::string name = record_name(r);
  const std::string target = record_target(r);
  RC_ASSERT(name.size() <= max_name_bytes);
  RC_ASSERT(name.find('/') == std::string::npos);
  RC_ASSERT(target.size() <= max_target_bytes);
  RC_ASSERT(target.find('\0') == std::string::npos);
  Snapshot s;
  RC_ASSERT(decode(name, target, s) == Decoded::ok);
  const Party& p = s.parties.back();
  RC_ASSERT(p.id == r.id && p.state == r.state && p.dir() == r.dir && p.arrival_us == r.arrival_us);
  RC_ASSERT(p.priority == r.priority && p.expect_s == r.expect_s && p.seated_us == r.seated_us && p.gpu == r.claim.gpu);
  RC_ASSERT(p.out == r.out && p.debt_us == r.debt_us && p.ends_us == r.ends_us && p.way == r.way && p.pins == r.pins);
  RC_ASSERT(p.nested == r.parent.has_value() && (!p.nested || p.parent == *r.parent));
  RC_ASSERT(p.seconds == r.with.has_value() && (!p.seconds || p.with == *r.with));
  RC_ASSERT(p.counters.count == r.claim.counters.size() && p.eligible.count == r.claim.eligible.size());
  for (size_t i = 0; i < r.claim.counters.size(); ++i) {
    RC_ASSERT(s.resources[s.counters(p)[i].resource].name == r.claim.counters[i].name);
    RC_ASSERT(s.counters(p)[i].amount == r.claim.counters[i].amount);
  }
  for (size_t i = 0; i < r.claim.eligible.size(); ++i) {
    RC_ASSERT(s.devices[s.eligible(p)[i].device] == r.claim.eligible[i].uuid);
    RC_ASSERT(s.eligible(p)[i].vram_bytes == r.claim.eligible[i].vram_bytes);
  }
  RC_ASSERT(record_of(s, 0).processors == r.processors);
  for (size_t i = 0; i < r.grant.size(); ++i)
    RC_ASSERT(s.devices[s.granted(p)[i]] == r.claim.eligible[r.grant[i]].uuid);
}

RC_GTEST_PROP(Decode, TakesAnyBytes, (const std::string& tail, const std::string& target)) {
  check_door("w1," + tail, target);
  check_door("h1,k7q2m2xd4a,1001,5,0,0,5," + tail, target);
  check_door("h1,k7q2m2xd4a,1001,5,0,0,5,-,@", target);
}

}  // namespace
}  // namespace berth
