// Occupancy: who uses what of each device, told apart by lease.
//
// The driver names processes, the pool names leases; the process table joins them. What cannot be
// joined is said to be so: a process that we may not look into, one of another PID namespace, memory
// that no process shows.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/snapshot.h"
#include "device/device.h"
#include "device/processes.h"

namespace berth {

// Where the processes of a lease are to be looked for.
struct LeaseRoot {
  PartyKey key;
  uid_t uid = 0;
  int64_t pid = 0;  // its supervisor's, or that of what it was made for
  uint64_t pid_namespace = 0;
  int64_t arrival_us = 0;  // the supervisor is older than this
  std::optional<PartyId> parent;
  std::vector<std::string> devices;  // UUIDs granted
};

enum class Whose {
  lease,     // of that lease
  stranger,  // of no lease
  unknown,   // cannot be told: another PID namespace, or a server that computes for others
};

struct Occupant {
  DeviceProcess process;
  Whose whose = Whose::unknown;
  PartyKey lease;  // whose == lease: the outermost one
  uid_t uid = 0;
  std::string command;
  std::string command_line;
  std::string former_lease;  // a stranger that was started by a lease that is gone
};

struct DeviceOccupancy {
  Device device;
  std::vector<Occupant> occupants;
  std::vector<PartyKey> unattributable;  // leases on it whose processes cannot be told apart from others'
};

// Joins what the drivers said with who holds what. Asks `processes` about each process on a device and
// its forebears, and about nobody else.
[[nodiscard]] std::vector<DeviceOccupancy> occupancy(const std::vector<Device>& devices,
                                                     const std::vector<LeaseRoot>& leases, ProcessTable& processes);

// The sums of it that an admission and a status need. Bytes.
struct DeviceSums {
  int64_t strangers = 0;  // memory of processes without a lease that compute
  int64_t graphics = 0;   // the same, of those that draw: a desktop
  int64_t nobodys = 0;    // used, but of no process that we see; what is too little to matter is 0
  bool stranger_of_unknown_size = false;
  int compute_strangers = 0;  // how many, but for those that hold next to nothing
  int processes = 0;          // that compute, anybody's
};

// Whether a process has no lease among `holders`; false where that cannot be told.
struct Holding;
[[nodiscard]] bool has_no_lease(const Occupant& occupant, const std::vector<Holding>& holders);

// What a lease on it uses by itself; nullopt: it has no process there, or one whose memory is unknown.
[[nodiscard]] std::optional<int64_t> lease_bytes(const DeviceOccupancy& use, const PartyKey& lease);

// `holders` are those of the book at this moment; a lease that is not among them any more is a stranger
// by what it left behind. `claimed` in the same order: what each holds by the book.
struct Holding {
  PartyKey lease;
  int64_t claimed_bytes = 0;
};
[[nodiscard]] DeviceSums sums(const DeviceOccupancy& use, const std::vector<Holding>& holders);

// Bytes of the device that a new share could have, by book and driver: what all others use or were
// granted, whichever is more, is not among them. Where the driver does not say what is used in all, what it
// says of single processes still counts. nullopt: it does not even say how much there is.
[[nodiscard]] std::optional<int64_t> free_bytes(const DeviceOccupancy& use, const std::vector<Holding>& holders);

}  // namespace berth
