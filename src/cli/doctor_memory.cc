#include "cli/doctor_memory.h"

#include <unistd.h>

#include <algorithm>

#include "base/memory_cgroup.h"
#include "base/process_memory.h"
#include "base/small_file.h"
#include "base/text.h"
#include "run/process_tree.h"
#include "run/ram_scope.h"
#include "run/sd_bus.h"

namespace berth {

namespace {

constexpr size_t most_named = 3;
constexpr int64_t full_part = 10;  // a swap of which less than a tenth is left is nearly full

bool swap_is_full(const MemoryFigures& f) {
  return f.swap_total_bytes > 0 && f.swap_free_bytes < f.swap_total_bytes / full_part;
}

std::vector<SwapUser> users_of_swap(const std::string& root, const std::map<int64_t, std::string>& leases) {
  std::map<int64_t, std::string> of_lease;
  for (const auto& [pid, id] : leases)
    for (const pid_t process : tree_of(static_cast<pid_t>(pid))) of_lease.emplace(process, id);
  std::vector<SwapUser> out;
  const auto names = list_names(root + "/proc");
  for (const std::string& name : names ? *names : std::vector<std::string>{}) {
    const auto pid = parse_count(name);
    const auto status = pid ? read_text(root + "/proc/" + name + "/status") : Result<std::string>(std::string());
    const int64_t bytes = status ? swapped_in_status(*status).value_or(0) : 0;
    if (bytes == 0) continue;
    const auto lease = of_lease.find(*pid);
    out.push_back({*pid, printable(read_word(root + "/proc/" + name + "/comm").value_or("?")),
                   lease == of_lease.end() ? "" : lease->second, bytes});
  }
  std::sort(out.begin(), out.end(), [](const SwapUser& a, const SwapUser& b) { return a.bytes > b.bytes; });
  if (out.size() > most_named) out.resize(most_named);
  return out;
}

std::string text_of(const std::vector<SwapUser>& users) {
  std::string out;
  for (const SwapUser& u : users)
    out += (out.empty() ? "; most of it is of " : ", ") + u.name + " (pid " + std::to_string(u.pid) +
           (u.lease.empty() ? "" : ", lease " + u.lease) + "), " + show_size(u.bytes);
  return out;
}

// Version 1 has it where swap is accounted for, version 2 where the kernel can swap at all.
bool limits_swap(const std::string& root) {
  const auto own = own_memory_cgroup(root);
  if (!own || (own->version == 2 && own->path == own->mount)) return true;  // the topmost group has no such file
  const std::string file = own->version == 1 ? "/memory.memsw.limit_in_bytes" : "/memory.swap.max";
  return ::access((own->path + file).c_str(), F_OK) == 0;
}

void look_at_swap(const MemorySurroundings& around, std::vector<MemoryFinding>& out) {
  const MemoryFigures& f = around.figures;
  const std::string users = text_of(around.swap_users);
  if (const std::string trouble = memory_trouble(f); !trouble.empty()) {
    out.push_back({trouble + users,
                   "end what uses most (ps -eo pid,user,rss,args --sort=-rss | head); till then jobs that claim cpu or "
                   "ram wait",
                   true});
  } else if (swap_is_full(f)) {
    const int64_t used = f.swap_total_bytes - f.swap_free_bytes;
    out.push_back({"the swap is nearly full, " + show_size(used) + " of " + show_size(f.swap_total_bytes) + users,
                   "with less than a tenth of the memory available, jobs that claim cpu or ram will wait"});
  }
}

void look_at_limits(const MemorySurroundings& around, std::vector<MemoryFinding>& out) {
  const std::string held = "a job that claims ram is held to it by a cgroup";
  if (around.cgroup_can_be_made)
    out.push_back({held + " that berth makes", ""});
  else if (around.no_manager.why.empty())
    out.push_back({held + " that systemd makes", ""});
  else
    out.push_back({"a job that claims ram is only watched here: " + around.no_manager.why, around.no_manager.mend});
  if (around.cgroup_can_be_made && !around.swap_is_limited && around.figures.swap_total_bytes > 0)
    out.push_back(
        {"swap is not accounted for, so such a job goes into swap before it is ended", "boot with swapaccount=1"});
}

}  // namespace

MemorySurroundings memory_surroundings(const std::string& root, const std::map<int64_t, std::string>& leases) {
  MemorySurroundings out;
  out.figures = read_memory_figures(root, std::nullopt);
  out.pressure_is_told = read_text(root + "/proc/pressure/memory").ok();
  out.cgroup_can_be_made = RamScope::can_be_made(root);
  out.swap_is_limited = limits_swap(root);
  if (!out.cgroup_can_be_made) out.no_manager = ServiceManager::missing(root);
  if (!out.cgroup_can_be_made && out.no_manager.why.empty() && !SdBus::load(libsystemd))
    out.no_manager = {std::string(libsystemd) + " cannot be loaded", "install it (Debian: libsystemd0)"};
  if (swap_is_full(out.figures)) out.swap_users = users_of_swap(root, leases);
  return out;
}

std::vector<MemoryFinding> memory_findings(const MemorySurroundings& around) {
  std::vector<MemoryFinding> out;
  look_at_swap(around, out);
  if (!around.pressure_is_told && around.figures.available_bytes)
    out.push_back({"the kernel does not tell of memory pressure, so only a full swap shows that the machine suffers",
                   "a kernel with CONFIG_PSI, booted with psi=1"});
  look_at_limits(around, out);
  return out;
}

}  // namespace berth
