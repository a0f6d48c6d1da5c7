#include "engine/driver_admission.h"

#include <poll.h>

#include <algorithm>

#include "base/sys.h"
#include "base/text.h"

namespace berth {

namespace {

std::string wants(const Party& party) {
  return party.gpu.whole ? "it is asked for alone" : show_size(party.gpu.vram_bytes) + " are asked for";
}

// Where no lease is to count, what leases make of the card does not count either. Unknown is not 0: what is
// known of a sum counts, and a load that nobody tells may be any.
std::string rule_refusal(const DeviceOccupancy& use, const std::vector<Holding>& holders, const DriverRules& rules,
                         const DeviceSums& s, bool alone) {
  const Device& device = use.device;
  int64_t others = s.strangers + s.graphics + s.nobodys;
  if (!alone) {
    for (const Holding& holder : holders)
      others += std::max(holder.claimed_bytes, lease_bytes(use, holder.lease).value_or(0));
    others = device.vram_used_bytes.value_or(others);
  }
  const int64_t left = device.vram_total_bytes - others;
  if (rules.min_free_bytes > 0 && left < rules.min_free_bytes)
    return device_name(device) + " has " + show_size(std::max<int64_t>(0, left)) + " free, less than --min-free " +
           show_size(rules.min_free_bytes);
  if (alone || rules.max_util_pct >= 100) return "";
  if (!device.util_pct) return device_name(device) + " does not say how busy it is, which --max-util asks for";
  if (*device.util_pct > rules.max_util_pct)
    return device_name(device) + " is " + std::to_string(*device.util_pct) + " % busy, more than --max-util " +
           std::to_string(rules.max_util_pct);
  return "";
}

// A card that takes one process at a time.
std::string mode_refusal(const DeviceOccupancy& use, const std::vector<Holding>& holders, bool seated) {
  const Device& device = use.device;
  if (device.compute_mode == ComputeMode::prohibited)
    return device_name(device) + " is in compute mode \"prohibited\" (nvidia-smi -c 0 lets programs in)";
  if (device.compute_mode != ComputeMode::exclusive_process) return "";
  const DeviceSums s = sums(use, holders);
  if (s.compute_strangers > 0 || (seated && (!holders.empty() || s.processes > 0)))
    return device_name(device) + " takes one process at a time (compute mode), and has one";
  return "";
}

}  // namespace

std::string device_name(const Device& device) { return "GPU " + std::to_string(device.index); }

std::string name_strangers(const DeviceOccupancy& use, const std::vector<Holding>& holders) {
  const Occupant* most = nullptr;
  int count = 0;
  for (const Occupant& o : use.occupants) {
    if (!has_no_lease(o, holders)) continue;
    ++count;
    if (most == nullptr || o.process.vram_bytes.value_or(0) > most->process.vram_bytes.value_or(0)) most = &o;
  }
  if (most == nullptr) return "";
  std::string text = "pid " + std::to_string(most->process.pid) + " (" + most->command + ", uid " +
                     std::to_string(most->uid) + ") without a lease uses " +
                     (most->process.vram_bytes ? show_size(*most->process.vram_bytes) : "an unknown part");
  if (count > 1) text += ", and " + std::to_string(count - 1) + " more";
  return text;
}

std::vector<Holding> holdings(const Snapshot& snapshot, const std::vector<bool>& dead, uint16_t device,
                              int64_t device_bytes) {
  std::vector<Holding> out;
  for (size_t i = 0; i < snapshot.parties.size(); ++i) {
    const Party& p = snapshot.parties[i];
    if (p.state != PartyState::held || p.nested || (i < dead.size() && dead[i])) continue;
    const auto granted = snapshot.granted(p);
    if (std::find(granted.begin(), granted.end(), device) == granted.end()) continue;
    out.push_back({p.key(), p.gpu.whole ? device_bytes : p.gpu.vram_bytes});
  }
  return out;
}

std::string driver_refusal(const DeviceOccupancy& use, const DriverRules& rules, const Snapshot& snapshot,
                           const std::vector<bool>& dead, const Party& party, uint16_t device, bool seated) {
  if (!use.device.trouble.empty()) return device_name(use.device) + " cannot be used: " + use.device.trouble;
  const std::vector<Holding> holders = holdings(snapshot, dead, device, use.device.vram_total_bytes);
  if (std::string why = mode_refusal(use, holders, seated); !why.empty()) return why;
  const DeviceSums s = sums(use, holders);
  const bool alone = !seated && !holders.empty();
  if (std::string why = rule_refusal(use, holders, rules, s, alone); !why.empty()) return why;
  std::string who = name_strangers(use, holders);
  if (who.empty() || s.nobodys > s.strangers + s.graphics)
    who = show_size(s.nobodys) + " are used by no process that is seen from here";
  if (party.gpu.whole) {
    // Where the card's memory is the machine's, every program has some of it.
    if (s.compute_strangers == 0 && (s.nobodys == 0 || use.device.unified_memory)) return "";
    return device_name(use.device) + ": " + who + ", and " + wants(party);
  }
  if (party.gpu.vram_bytes == 0) return "";
  // Where no lease is to count, their own share of what is used does not count either.
  std::optional<int64_t> left = free_bytes(use, holders);
  if (left && !seated) left = use.device.vram_total_bytes - (s.strangers + s.graphics + s.nobodys);
  if (!left || *left >= party.gpu.vram_bytes) return "";
  if (s.strangers + s.graphics + s.nobodys == 0) who = "a lease uses more than it claimed";
  return device_name(use.device) + " has " + show_size(std::max<int64_t>(0, *left)) + " left: " + who + ", and " +
         wants(party);
}

DriverAdmission::DriverAdmission(const Picture& first, DriverRules rules,
                                 std::function<std::vector<LeaseRoot>()> leases)
    : rules_(rules), leases_(std::move(leases)) {
  answer(first);
}

void DriverAdmission::answer(const Picture& picture) {
  ReadProcesses processes(picture.processes);
  devices_ = occupancy(picture.devices, leases_(), processes);
  failure_ = picture.complaints.empty() ? "" : picture.complaints.front();
  begun_us_ = picture.begun_us;
  taken_us_ = picture.taken_us;
}

void DriverAdmission::fail(int64_t begun_us, std::string why) {
  devices_.clear();
  failure_ = std::move(why);
  begun_us_ = begun_us;
  taken_us_ = monotonic_us();
}

void DriverAdmission::ask() {
  if (run_) return;
  auto run = ProbeRun::start(sysfs_root());
  if (run)
    run_.emplace(std::move(*run));
  else
    fail(monotonic_us(), run.error().message);
}

int64_t DriverAdmission::due_us() const { return run_ ? run_->begun_us() + probe_limit_us() : -1; }

bool DriverAdmission::take_in() {
  if (!run_) return true;
  if (run_->take_in()) {
    const int64_t begun_us = run_->begun_us();
    auto picture = run_->finish();
    run_.reset();
    if (picture)
      answer(*picture);
    else
      fail(begun_us, picture.error().message);
    return true;
  }
  if (monotonic_us() < due_us()) return false;
  fail(run_->begun_us(), "a GPU driver does not answer");
  run_.reset();
  return true;
}

void DriverAdmission::ask_and_wait() {
  ask();
  while (run_ && !take_in()) {
    pollfd fd{run_->fd(), POLLIN, 0};
    (void)::poll(&fd, 1, static_cast<int>(std::max<int64_t>(0, due_us() - monotonic_us()) / 1000 + 1));
  }
}

std::string DriverAdmission::refusal(const Snapshot& snapshot, const std::vector<bool>& dead, int self,
                                     const Eligible& device, bool seated) const {
  const std::string& uuid = snapshot.devices[device.device];
  for (const DeviceOccupancy& use : devices_)
    if (use.device.uuid == uuid)
      return driver_refusal(use, rules_, snapshot, dead, snapshot.parties[static_cast<size_t>(self)], device.device,
                            seated);
  return failure_.empty() ? "the driver does not show " + uuid + " any more" : failure_;
}

}  // namespace berth
