// What is taken of the pool's resources and devices, by the book, and what their drivers say of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/view.h"

namespace berth {

// What the holders take of a resource, or of a device, in this picture.
[[nodiscard]] int64_t held_amount(const Snapshot& snapshot, size_t resource);
[[nodiscard]] int64_t held_vram_bytes(const Snapshot& snapshot, const Device& device);
[[nodiscard]] int held_compute_pct(const Snapshot& snapshot, const Device& device);

// The holders of a device, with what each claimed of it.
[[nodiscard]] std::vector<Holding> holdings_of(const PoolView& view, const Device& device);

// What a driver has to say that the book does not, a line each: who uses a device without a lease, what
// of its memory shows no owner, which lease uses more than it claimed, what cannot be used at all.
[[nodiscard]] std::vector<std::string> driver_notes(const PoolView& view);
// Free bytes of view.devices[index], by book and driver.
[[nodiscard]] int64_t free_vram_bytes(const PoolView& view, size_t index);

}  // namespace berth
