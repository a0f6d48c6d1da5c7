// doctor, for GPUs: why a card that is in the machine cannot be used from here, each with its mend.
//
// The drivers' own words come first; what the kernel shows beside them (PCI, modules, device nodes and
// who may open them) says what to do about it. Nothing is opened and nothing is changed.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "device/probe_run.h"

namespace berth {

struct GpuFinding {
  std::string sentence;
  std::string mend;  // "": nothing is wrong, it is only worth knowing
  friend bool operator==(const GpuFinding&, const GpuFinding&) = default;
};

// A node below /dev that a program must be able to open.
struct GpuNode {
  std::string path;
  std::string group;  // by name, or its number
  bool usable = true;
};

// What the kernel shows of a machine's GPUs.
struct GpuSurroundings {
  // A display controller on PCI.
  struct Card {
    std::string address;
    std::string vendor;  // "nvidia", "amd", "intel"
    std::string driver;  // that is bound to it; "" for none
  };
  std::vector<Card> cards;
  std::vector<GpuNode> nodes;         // /dev/nvidia0.., /dev/nvidiactl, /dev/kfd, /dev/dri/renderD128..
  std::string nvidia_module_version;  // of the module that is loaded; "": none is
  bool container = false;
  bool own_pids = false;  // a PID namespace other than the machine's first
};

// `root` as in probe.h, with dev/ as well.
[[nodiscard]] GpuSurroundings gpu_surroundings(const std::string& root);

// Pure. `picture`: what the drivers said, or why they did not.
[[nodiscard]] std::vector<GpuFinding> gpu_findings(const GpuSurroundings& around, const Result<Picture>& picture);

}  // namespace berth
