#include "cli/doctor_gpu.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"
#include "cli/container.h"
#include "device/sysfs.h"
#include "engine/occupancy.h"

namespace berth {

namespace {

using Card = GpuSurroundings::Card;

constexpr const char* into_container =
    "give the container its GPUs: docker run --gpus all (NVIDIA), --device /dev/kfd --device /dev/dri (AMD), "
    "--device /dev/dri (Intel)";

// --- What there is -------------------------------------------------------------------------------

std::string vendor_of(const std::string& id) {
  if (id == "0x10de") return "nvidia";
  if (id == "0x1002") return "amd";
  return id == "0x8086" ? "intel" : "";
}

std::vector<Card> cards_on_pci(const std::string& root) {
  std::vector<Card> cards;
  const std::string devices = root + "/sys/bus/pci/devices";
  const auto names = list_names(devices);
  if (!names) return cards;
  for (const std::string& name : *names) {
    const std::string dir = devices + "/" + name;
    // Class 0x03: VGA, 3D and other display controllers.
    if (!read_word(dir + "/class").value_or("").starts_with("0x03")) continue;
    const std::string vendor = vendor_of(read_word(dir + "/vendor").value_or(""));
    if (!vendor.empty()) cards.push_back({name, vendor, link_name(dir + "/driver")});
  }
  return cards;
}

std::string group_name(gid_t gid) {
  group entry{};
  group* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getgrgid_r(gid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return printable(found->gr_name);
  return std::to_string(gid);
}

void add_node(const std::string& root, const std::string& path, std::vector<GpuNode>& nodes) {
  struct stat st {};
  const std::string at = root + path;
  if (::stat(at.c_str(), &st) != 0) return;
  nodes.push_back({path, group_name(st.st_gid), ::faccessat(AT_FDCWD, at.c_str(), R_OK | W_OK, AT_EACCESS) == 0});
}

std::vector<GpuNode> nodes_in_dev(const std::string& root) {
  std::vector<GpuNode> nodes;
  add_node(root, "/dev/kfd", nodes);
  for (const auto& [dir, prefix] : {std::pair("/dev", "nvidia"), std::pair("/dev/dri", "renderD")}) {
    const auto names = list_names(root + dir);
    for (const std::string& name : names ? *names : std::vector<std::string>{}) {
      const std::string number = name.starts_with(prefix) ? name.substr(std::string(prefix).size()) : "";
      if (number == "ctl" || parse_count(number)) add_node(root, std::string(dir) + "/" + name, nodes);
    }
  }
  return nodes;
}

// --- What it means -------------------------------------------------------------------------------

class Diagnosis {
 public:
  Diagnosis(const GpuSurroundings& around, const Picture& picture) : around_(around), picture_(picture) {}

  std::vector<GpuFinding> findings() {
    for (const std::string& complaint : picture_.complaints) complain(complaint);
    for (const Device& d : picture_.devices)
      if (!d.trouble.empty())
        wrong("GPU " + std::to_string(d.index) + " (" + d.name + ") cannot be used: " + d.trouble, mend_of(d.trouble));
    nvidia_is_silent();
    nodes_of("amd", {"/dev/kfd", "/dev/dri/renderD"});
    nodes_of("intel", {"/dev/dri/renderD"});
    for (const Card& card : around_.cards)
      if (card.vendor == "amd" && card.driver.empty())
        wrong("no driver drives the AMD card at " + card.address,
              "as root: modprobe amdgpu   (dmesg | grep amdgpu says why it would not)");
    for (const GpuNode& node : around_.nodes)
      if (!node.usable) wrong("you may not open " + node.path + ", which is for the group " + node.group, join(node));
    if (around_.own_pids &&
        std::any_of(picture_.devices.begin(), picture_.devices.end(), [](const Device& d) { return d.host_pids; }))
      note(
          "NVIDIA's driver numbers processes as the host does; in this PID namespace nobody can tell whose memory "
          "is whose (docker run --pid=host)");
    return std::move(found_);
  }

 private:
  void wrong(std::string sentence, std::string mend) { found_.push_back({std::move(sentence), std::move(mend)}); }
  void note(std::string sentence) { found_.push_back({std::move(sentence), ""}); }

  [[nodiscard]] bool has_card(const std::string& vendor) const {
    return std::any_of(around_.cards.begin(), around_.cards.end(), [&](const Card& c) { return c.vendor == vendor; });
  }
  [[nodiscard]] bool has_node(const std::string& prefix) const {
    return std::any_of(around_.nodes.begin(), around_.nodes.end(),
                       [&](const GpuNode& node) { return node.path.starts_with(prefix); });
  }

  static std::string join(const GpuNode& node) {
    if (node.group == "root" || node.group == "0")
      return "as root: chmod 666 " + node.path + "   (for good: a udev rule)";
    return "as root: usermod -aG " + node.group + " USER, then log in anew (in a container: --group-add)";
  }

  // By the driver's own words, in the spelling of nvmlErrorString().
  [[nodiscard]] std::string mend_of(const std::string& said) const {
    const auto says = [&](const char* words) { return said.find(words) != std::string::npos; };
    if (says("version mismatch"))
      return "the driver was upgraded and the old one is still loaded" +
             (around_.nvidia_module_version.empty() ? std::string() : " (" + around_.nvidia_module_version + ")") +
             ": reboot, or end all that uses the GPUs and, as root: rmmod nvidia_uvm nvidia_drm nvidia_modeset "
             "nvidia; modprobe nvidia";
    if (says("Insufficient Permissions")) return "ls -l /dev/nvidia*: they must be for you to read and write";
    if (says("lost") || says("requires reset"))
      return "dmesg | grep Xid says why; nvidia-smi --gpu-reset, or a reboot, brings it back";
    if (says("MIG")) return "as root: nvidia-smi mig -cgi ... -C makes slices; nvidia-smi -mig 0 leaves MIG mode";
    if (says("cgroup")) return into_container;
    return "dmesg says more, and so may nvidia-smi, rocm-smi or xpu-smi";
  }

  void complain(const std::string& complaint) {
    if (complaint.find("Driver Not Loaded") == std::string::npos) return wrong(complaint, mend_of(complaint));
    if (!has_card("nvidia") && around_.nvidia_module_version.empty())
      return note(complaint + ": NVIDIA's library is installed, and no card of theirs is in this machine");
    if (around_.container && !has_node("/dev/nvidia")) return wrong(complaint, into_container);
    for (const Card& card : around_.cards)
      if (card.vendor == "nvidia" && (card.driver == "nouveau" || card.driver == "vfio-pci"))
        return wrong(complaint,
                     card.driver + " has the card at " + card.address + "; unbind it there, then: modprobe nvidia");
    wrong(complaint,
          "as root: modprobe nvidia   (where that fails, dmesg says why: a new kernel without its module, "
          "or Secure Boot)");
  }

  // A card, and a library that is not even there.
  void nvidia_is_silent() {
    const bool seen = std::any_of(picture_.devices.begin(), picture_.devices.end(),
                                  [](const Device& d) { return d.vendor == "nvidia"; });
    const bool spoke = std::any_of(picture_.complaints.begin(), picture_.complaints.end(),
                                   [](const std::string& c) { return c.starts_with("NVML"); });
    if (seen || spoke || !has_card("nvidia")) return;
    if (around_.container)
      wrong("there is an NVIDIA card, and no libnvidia-ml.so.1 in this container", into_container);
    else
      wrong("there is an NVIDIA card, and no libnvidia-ml.so.1",
            "install NVIDIA's driver with its tools (nvidia-smi comes with the same package)");
  }

  // Nodes without which programs cannot use a vendor's cards that have their driver.
  void nodes_of(const std::string& vendor, const std::vector<std::string>& prefixes) {
    const bool driven = std::any_of(around_.cards.begin(), around_.cards.end(), [&](const Card& c) {
      return c.vendor == vendor && (c.driver == "amdgpu" || c.driver == "i915" || c.driver == "xe");
    });
    if (!driven) return;
    for (const std::string& prefix : prefixes) {
      if (has_node(prefix)) continue;
      const std::string name = prefix == "/dev/kfd" ? prefix : "/dev/dri";
      const std::string sentence =
          (vendor == "amd" ? "there is an AMD card, and no " : "there is an Intel GPU, and no ") + name;
      if (around_.container)
        wrong(sentence + " in this container", into_container);
      else if (prefix == "/dev/kfd")
        note(sentence + ": Vulkan and OpenCL can use it, ROCm cannot");
      else
        wrong(sentence, "dmesg | grep drm says why its driver made none");
    }
  }

  const GpuSurroundings& around_;
  const Picture& picture_;
  std::vector<GpuFinding> found_;
};

}  // namespace

GpuSurroundings gpu_surroundings(const std::string& root) {
  GpuSurroundings out;
  out.cards = cards_on_pci(root);
  out.nodes = nodes_in_dev(root);
  out.nvidia_module_version = printable(read_word(root + "/sys/module/nvidia/version").value_or(""));
  out.container = in_container();
  out.own_pids = !LocalProcesses().sees_everybody();
  return out;
}

std::vector<GpuFinding> gpu_findings(const GpuSurroundings& around, const Result<Picture>& picture) {
  // Simulated ones stand in for what is there, and no driver was asked.
  if (picture && !picture->devices.empty() && picture->devices.front().simulated) return {};
  if (picture) return Diagnosis(around, *picture).findings();
  const std::string& why = picture.error().message;
  if (picture.error().kind == ErrorKind::usage) return {{why, "mend or unset BERTH_SIM_GPUS"}};
  return {
      {why, "nvidia-smi or rocm-smi most likely do the same; dmesg says more; a reboot helps where nothing else does"}};
}

}  // namespace berth
