// What a card is called, from the lists that a distribution installs. Nothing of ours to keep up to date.
#pragma once

#include <string>
#include <string_view>

#include "device/sysfs.h"

namespace berth {

// The name in amdgpu.ids (libdrm's: by device and revision, as the box says), in pci.ids, or, where
// neither knows it or is installed, "<vendor> GPU 56a0".
[[nodiscard]] std::string card_name(const std::string& root, const DrmCard& card, const std::string& vendor);

// The line of a device in the text of pci.ids; what stands in brackets there is what people call it.
[[nodiscard]] std::string name_in_pci_ids(std::string_view text, uint32_t vendor_id, uint32_t device_id);

// The line of a device in the text of amdgpu.ids ("744C, C8, AMD Radeon RX 7900 XTX").
[[nodiscard]] std::string name_in_amdgpu_ids(std::string_view text, uint32_t device_id, uint32_t revision);

}  // namespace berth
