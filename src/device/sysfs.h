// What the kernel shows as files, read below a root: "" for this machine, or a directory that has sys/
// and proc/ of another one, recorded.
//
// A file may be gone between the listing and the opening, may be refused, may hold anything. None of
// that is an accident here: a value that cannot be had is nullopt, and nobody fails for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/small_file.h"

namespace berth {

// The last component of where a symbolic link points; "" where there is no such link.
[[nodiscard]] std::string link_name(const std::string& path);

// The whole text as a number without sign, up to 2^64-1; base 16 with or without "0x".
[[nodiscard]] std::optional<uint64_t> parse_u64(std::string_view text, int base = 10);

// Cuts the next line off `rest` and returns it without its newline.
std::string_view next_line(std::string_view& rest);

// domain:bus:device.function, in hexadecimal digits.
struct PciAddress {
  uint32_t domain = 0;
  uint32_t bus = 0;
  uint32_t device = 0;
  uint32_t function = 0;

  // "0000:17:00.0" and nothing else. (The domain may have more than four digits: Intel's VMD.)
  [[nodiscard]] static std::optional<PciAddress> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  friend auto operator<=>(const PciAddress&, const PciAddress&) = default;
};

// A GPU that the kernel's DRM drives, as /sys/class/drm shows it.
struct DrmCard {
  std::string card_dir;    // ".../sys/class/drm/card0"
  std::string device_dir;  // card_dir + "/device", the PCI device
  PciAddress pci;
  uint32_t vendor_id = 0;
  uint32_t device_id = 0;
  uint32_t revision = 0;
  std::string driver;  // "amdgpu", "xe", "i915", "nvidia", ...
};

// The cards that sit on PCI and have a driver, by PCI address. Not among them: connectors (card0-DP-1),
// render nodes, and what is no PCI device (simpledrm; the platform devices that amdgpu makes for the
// partitions of an MI300).
[[nodiscard]] std::vector<DrmCard> drm_cards(const std::string& root);

// Whether a card is part of the processor and lives in the machine's RAM.
//
// Intel: it is at 0000:00:02.0, on every machine with one, and no other GPU ever is; nvtop goes by the
// same. AMD: amdgpu gives "vddnb", the voltage of the processor's own northbridge, to hwmon for APUs
// only ("only APUs have vddnb", amdgpu_pm.c, Linux 4.15 and later). The size of its memory says nothing:
// firmware may carve out anything from 64 MiB to 96 GiB. (An MI300A is an APU too but shows no vddnb:
// it is no graphics beside something better, and is asked for where this is used.)
[[nodiscard]] bool is_integrated(const DrmCard& card);

// Whether the machine has a GPU on a card of its own, of any vendor, with its driver.
//
// The rule for integrated graphics, in one place: they are devices only where there is nothing else.
// A job that asks for a GPU on a laptop with an NVIDIA card does not mean the graphics in the processor,
// and a CUDA job seated there would fail; on a machine that has no other GPU it cannot mean anything
// else, and a large APU is well worth a place. An NVIDIA card counts by the driver that is bound to it,
// not by whether that driver answers: a card out of order does not make the other one what was meant.
[[nodiscard]] bool has_discrete_gpu(const std::string& root, const std::vector<DrmCard>& cards);

// The NUMA node of a card; -1: unknown, or the machine has only one.
[[nodiscard]] int numa_node_of(const DrmCard& card);

}  // namespace berth
