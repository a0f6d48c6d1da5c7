// doctor: what is wrong with this pool or machine, each with the mend. Looks, and changes nothing.
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/pid_namespace.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/doctor.h"
#include "cli/doctor_gpu.h"
#include "cli/doctor_memory.h"
#include "cli/exit_status.h"
#include "cli/help.h"
#include "cli/say.h"
#include "device/probe_run.h"
#include "engine/lease_roots.h"
#include "ledger/local_pool.h"

namespace berth {

namespace {

void look_at_devices(Findings& out) {
  const auto devices = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root());
  if (!devices && devices.error().kind == ErrorKind::usage)
    return out.wrong(devices.error().message, {by_command("unset BERTH_SIM_GPUS", ::geteuid())});
  for (const GpuFinding& finding : gpu_findings(gpu_surroundings(sysfs_root()), devices))
    if (finding.mend.empty())
      out.note(finding.sentence);
    else
      out.wrong(finding.sentence, {in_words(finding.mend)});
  if (!devices) return;
  if (devices->devices.empty()) return out.note("no GPU is seen from here");
  for (const Device& d : devices->devices)
    out.note("GPU " + std::to_string(d.index) + ": " + d.name + ", " + show_size(d.vram_total_bytes) + ", " + d.uuid);
}

std::map<int64_t, std::string> leases_by_process(LocalPool& pool) {
  std::map<int64_t, std::string> out;
  for (const LeaseRoot& root : lease_roots(pool))
    if (root.pid > 0 && root.pid_namespace == own_pid_namespace()) out.emplace(root.pid, root.key.id.view());
  return out;
}

void look_at_memory(Findings& out, const std::map<int64_t, std::string>& leases) {
  for (const MemoryFinding& finding : memory_findings(memory_surroundings(sysfs_root(), leases)))
    if (finding.is_wrong)
      out.wrong(finding.sentence, {in_words(finding.mend)});
    else
      out.note(finding.sentence + (finding.mend.empty() ? "" : " (" + finding.mend + ")"));
}

}  // namespace

int doctor_command(const Words& words) {
  if (!words.empty()) {
    if (words.front() == "--help" || words.front() == "-h")
      return put(help_text("doctor")) ? exit_status::ok : exit_status::unavailable;
    return fail_unknown("doctor", words.front());
  }
  Findings out;
  std::map<int64_t, std::string> leases;
  const std::string path = default_pool_path(std::getenv("BERTH_POOL"));
  look_at_place(out, path);
  auto pool = LocalPool::open(path, LocalPool::IfMissing::fail);
  if (!pool && pool.error().sys_errno == ENOENT) {
    look_at_making(out, path);
  } else if (!pool) {
    look_at_failure(out, path, pool.error());
  } else {
    look_at_directory(out, *pool);
    look_at_entries(out, *pool);
    look_at_lock(out, *pool);
    leases = leases_by_process(*pool);
  }
  look_at_memory(out, leases);
  look_at_devices(out);
  const std::string end = out.count() == 0 ? "All is well.\n" : std::to_string(out.count()) + " to mend.\n";
  if (!put(out.text() + end)) return exit_status::unavailable;
  return out.count() == 0 ? exit_status::ok : 1;
}

}  // namespace berth
