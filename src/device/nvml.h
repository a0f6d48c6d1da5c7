// NVIDIA's cards as NVML tells of them. probe_nvidia() (probe.h) is this with the real library and machine.
#pragma once

#include <string>

#include "device/probe.h"

namespace berth::nvml {

// `library`: what dlopen() is given. `root`: "" for this machine, or a directory that has the sys/ and
// proc/ of another one; NVML itself always tells of this one.
[[nodiscard]] Sighting probe(const char* library, const std::string& root);

}  // namespace berth::nvml
