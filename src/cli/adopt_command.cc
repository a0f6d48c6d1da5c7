// adopt: books what an already running process uses, for as long as it lives.
//
// A server that was started by hand, or by somebody who does not know berth, is a stranger to the book,
// and only the driver keeps others away from its card. Adopted, it is a lease like any other.
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iterator>

#include "base/own_fd.h"
#include "base/pid_namespace.h"
#include "base/text.h"
#include "base/user.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/keeper.h"
#include "cli/place.h"
#include "cli/say.h"
#include "engine/lease_roots.h"

namespace berth {

namespace {

constexpr int64_t mebibyte = int64_t{1} << 20;
constexpr int64_t clock_slip_us = 1'000'000;  // a process's start is known to some ten milliseconds

// A device that the process, or one that it started, uses by the driver's word.
struct Use {
  DeviceRef device;
  std::optional<int64_t> bytes;
};

// The process stands for a lease that is to be, and whoever descends from it belongs to that.
std::vector<Use> uses_of(int64_t pid, uid_t uid, const Picture& picture) {
  LeaseRoot root;
  root.uid = uid;
  root.pid = pid;
  root.pid_namespace = own_pid_namespace();
  root.arrival_us = INT64_MAX / 2;
  for (const Device& d : picture.devices) root.devices.push_back(d.uuid);
  ReadProcesses processes(picture.processes);
  std::vector<Use> out;
  for (const DeviceOccupancy& use : occupancy(picture.devices, {root}, processes)) {
    bool there = false;
    for (const Occupant& o : use.occupants) there = there || (o.whose == Whose::lease && o.lease == root.key);
    if (there) out.push_back({{use.device.uuid, use.device.vram_total_bytes}, lease_bytes(use, root.key)});
  }
  return out;
}

// What was not said is taken from what the driver says. A value is a fault, in words.
std::optional<std::string> fill_in(Place& place, const std::vector<Use>& uses, std::vector<DeviceRef>& devices) {
  const RunOptions& options = place.options();
  GpuClaim gpu = options.claim.gpu;
  if (gpu.count == 0) return std::nullopt;
  const auto allowed = [&](const Use& use) {
    const auto& eligible = place.eligible();
    return std::any_of(eligible.begin(), eligible.end(), [&](const DeviceRef& d) { return d.uuid == use.device.uuid; });
  };
  std::vector<Use> there;
  std::copy_if(uses.begin(), uses.end(), std::back_inserter(there), allowed);
  if (!options.claim_given && there.empty() && !uses.empty())
    return "by the driver's word it uses " + uses.front().device.uuid +
           " and none of these; to book more for it say how much, --only 0 --vram 8G";
  if (!options.claim_given && there.empty() && options.only.empty())
    return "the driver does not say that it uses a GPU; say which, --only 0 (all of it) or --only 0 --vram 8G, or "
           "--cpu 4";
  if (!options.claim_given && !there.empty()) {
    gpu = GpuClaim{static_cast<int>(there.size()), false, 0, 0};
    for (const Use& use : there) {
      gpu.whole = gpu.whole || !use.bytes;
      gpu.vram_bytes = std::max(gpu.vram_bytes, (use.bytes.value_or(0) + mebibyte - 1) / mebibyte * mebibyte);
    }
    if (gpu.whole) gpu.vram_bytes = 0;  // it does not say how much
  }
  for (const Use& use : there) devices.push_back(use.device);
  if (there.empty()) devices = place.eligible();
  if (!options.gpus_given && !there.empty()) gpu.count = static_cast<int>(devices.size());
  if (devices.size() != static_cast<size_t>(gpu.count))
    return "it is not clear which " + std::to_string(gpu.count) + " of " + std::to_string(devices.size()) +
           " GPUs it uses; say --only and --gpus";
  place.set_gpu_claim(gpu);
  return std::nullopt;
}

// The leases that a process is of: those that its environment or a forebear's names, or that were made for one
// of them.
std::vector<LeaseRoot> leases_of_process(int64_t pid, ProcessTable& processes, const std::vector<LeaseRoot>& leases) {
  std::vector<LeaseRoot> out;
  for (int step = 0; step < most_forebears && pid > 1; ++step) {
    const auto facts = processes.facts(pid);
    if (!facts) return out;
    std::copy_if(leases.begin(), leases.end(), std::back_inserter(out), [&](const LeaseRoot& lease) {
      const bool named = lease.key.id.view() == facts->lease_id && lease.uid == facts->uid;
      return named || (lease.pid == pid && lease.pid_namespace == processes.pid_namespace() &&
                       facts->started_us <= lease.arrival_us + clock_slip_us);
    });
    pid = facts->parent;
  }
  return out;
}

// Something that a lease of its has booked, and that would be booked once more, in words; nullopt: nothing.
std::optional<std::string> booked_already(Place& place, int64_t pid, ProcessTable& processes,
                                          const std::vector<DeviceRef>& devices) {
  const auto snapshot = place.pool().read();
  if (!snapshot) return std::nullopt;
  for (const LeaseRoot& lease : leases_of_process(pid, processes, lease_roots(place.pool()))) {
    std::string twice;
    const int index = snapshot->find(lease.key);
    if (index < 0) continue;
    for (const Amount& a : snapshot->counters(snapshot->parties[static_cast<size_t>(index)]))
      for (const NamedAmount& c : place.options().claim.counters)
        if (c.name == snapshot->resources[a.resource].name) twice = c.name;
    for (const DeviceRef& d : devices)
      if (std::find(lease.devices.begin(), lease.devices.end(), d.uuid) != lease.devices.end()) twice = d.uuid;
    if (twice.empty()) continue;
    const std::string id(lease.key.id.view());
    return "process " + std::to_string(pid) + " is in lease " + id + " already, which has booked " + twice +
           " for it; to change how much: berth resize " + id;
  }
  return std::nullopt;
}

int adopt(RunOptions options) {
  const int64_t pid = *options.for_pid;
  const OwnFd pid_fd(static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0)));
  LocalProcesses processes;
  const auto facts = processes.facts(pid);
  if (!pid_fd.valid() || !facts) return fail_usage("adopt", "there is no process " + std::to_string(pid));
  if (facts->uid != ::geteuid() && ::geteuid() != 0) {
    say("process " + std::to_string(pid) + " belongs to " + user_name(facts->uid));
    return exit_status::not_yours;
  }
  options.no_wait = true;
  Place place(std::move(options));
  if (const auto failed = place.prepare(Place::For::another)) return *failed;
  std::vector<DeviceRef> devices;
  if (const auto fault = fill_in(place, uses_of(pid, facts->uid, place.picture()), devices))
    return fail_usage("adopt", *fault);
  if (const auto fault = booked_already(place, pid, processes, devices)) return fail_usage("adopt", *fault);
  const PartyInfo info{pid, place.options().label, facts->command_line, "", own_pid_namespace()};
  if (const auto failed = place.adopt(info, std::move(devices))) return *failed;
  const std::string id(place.seats().front()->engine.record().id.view());
  const pid_t keeper = start_keeper(place, pid_fd.get());
  if (keeper < 0) {
    place.release_all();
    say("adopt: no process could be made to keep the place");
    return exit_status::unavailable;
  }
  if (!put(id + "\n")) {
    ::kill(keeper, SIGTERM);  // nobody heard what was booked
    ::_exit(exit_status::unavailable);
  }
  // Nothing here may be released on the way out: it is the keeper's now.
  ::_exit(exit_status::ok);
}

}  // namespace

int adopt_command(const Words& words) {
  auto options = parse_adopt(words);
  if (!options) return fail_usage("adopt", options.error().message);
  if (options->help) return put(help_text("adopt")) ? exit_status::ok : exit_status::unavailable;
  return adopt(std::move(*options));
}

}  // namespace berth
