// The little of libsystemd's sd-bus that is needed to talk to a service manager, loaded when it is needed and never
// linked: a machine without systemd has no such library.
//
// Declared as in sd-bus(3), which has kept its interface since version 221; the newest of these calls is of 237. Errors
// are negative errnos. Not thread-safe: a bus is its maker's, who may be any thread, and does not survive a fork.
#pragma once

#include <cstdint>
#include <memory>

namespace berth {

struct sd_bus;
struct sd_bus_message;
struct sd_bus_slot;
struct sd_bus_error {
  const char* name;
  const char* message;
  int need_free;
};
using SdBusHandler = int (*)(sd_bus_message* message, void* userdata, sd_bus_error* error);

inline constexpr const char* libsystemd = "libsystemd.so.0";

struct SdBus {
  int (*make)(sd_bus**) = nullptr;
  int (*set_address)(sd_bus*, const char* address) = nullptr;
  int (*set_bus_client)(sd_bus*, int yes) = nullptr;
  int (*start)(sd_bus*) = nullptr;
  void (*close)(sd_bus*) = nullptr;
  sd_bus* (*unref)(sd_bus*) = nullptr;
  int (*process)(sd_bus*, sd_bus_message**) = nullptr;
  int (*wait)(sd_bus*, uint64_t us) = nullptr;
  int (*call_async)(sd_bus*, sd_bus_slot**, sd_bus_message*, SdBusHandler, void* userdata, uint64_t us) = nullptr;
  int (*match_signal_async)(sd_bus*, sd_bus_slot**, const char* sender, const char* path, const char* interface,
                            const char* member, SdBusHandler, SdBusHandler installed, void* userdata) = nullptr;
  int (*new_method_call)(sd_bus*, sd_bus_message**, const char* destination, const char* path, const char* interface,
                         const char* member) = nullptr;
  int (*append)(sd_bus_message*, const char* types, ...) = nullptr;
  int (*read)(sd_bus_message*, const char* types, ...) = nullptr;
  const sd_bus_error* (*get_error)(sd_bus_message*) = nullptr;
  sd_bus_message* (*unref_message)(sd_bus_message*) = nullptr;

  // Null where there is no such library, or one that lacks a call. It stays loaded.
  [[nodiscard]] static std::unique_ptr<const SdBus> load(const char* file);
};

}  // namespace berth
