// The cards that a claim may be granted.
#include <cstdlib>

#include "cli/device_choice.h"
#include "cli/place.h"
#include "device/probe_run.h"

namespace berth {

namespace {

// The driver's words, where it says of every one of them that it cannot be used; else "".
std::string trouble_of_all(const std::vector<DeviceRef>& eligible, const std::vector<Device>& devices) {
  std::string trouble;
  for (const DeviceRef& ref : eligible)
    for (const Device& d : devices) {
      if (d.uuid != ref.uuid) continue;
      if (d.trouble.empty()) return "";
      trouble = device_name(d) + ": " + d.trouble;
    }
  return trouble;
}

}  // namespace

Result<> Place::find_devices() {
  if (options_.claim.gpu.count == 0) return success();
  auto probed = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root());
  if (!probed) return probed.error();
  picture_ = std::move(*probed);
  const std::string complaint = picture_.complaints.empty() ? "" : picture_.complaints.front();
  if (picture_.devices.empty() && !complaint.empty())
    return Error{ErrorKind::probe, 0, "the state of the GPUs cannot be read: " + complaint};
  if (picture_.devices.empty())
    return Error{ErrorKind::probe, 0,
                 "no GPU can be seen from here; BERTH_SIM_GPUS=2x24G stands in simulated ones, and a claim like "
                 "--cpu 1 needs none"};
  if (const std::string missing = missing_card(picture_);
      !missing.empty() && chooses_by_number(options_, inherited_visibility()))
    return Error{ErrorKind::probe, 0,
                 "the state of the GPUs cannot be read: " + missing +
                     "; until it is back the cards are not counted as before: name them by UUID"};
  auto eligible = eligible_devices(options_, picture_.devices, inherited_visibility());
  if (!eligible) return eligible.error();
  eligible_ = std::move(*eligible);
  if (const std::string trouble = trouble_of_all(eligible_, picture_.devices); !trouble.empty())
    return Error{ErrorKind::probe, 0, "the state of the GPUs cannot be read: " + trouble};
  if (eligible_.size() > max_claim_devices) eligible_.resize(max_claim_devices);
  return success();
}

// What was inherited of the visible cards is most often what berth itself has set for the lease around us. That
// says nothing of the other cards of the machine.
Result<> Place::look_past_own_leases() {
  inherited_ = inherited_visibility();
  if (options_.claim.gpu.count == 0 || around_.leases.empty()) return success();
  std::vector<std::vector<std::string>> cards;
  for (const LeaseAround& lease : around_.leases) {
    cards.emplace_back();
    for (const DeviceRef& d : lease.devices) cards.back().push_back(d.uuid);
  }
  inherited_ = beyond_leases(inherited_, picture_.devices, cards);
  auto eligible = eligible_devices(options_, picture_.devices, inherited_);
  if (!eligible) return eligible.error();
  eligible_ = std::move(*eligible);
  if (eligible_.size() > max_claim_devices) eligible_.resize(max_claim_devices);
  return success();
}

}  // namespace berth
