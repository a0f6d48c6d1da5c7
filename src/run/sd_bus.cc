#include "run/sd_bus.h"

#include <dlfcn.h>

namespace berth {

namespace {

template <class Call>
bool find(void* library, Call& call, const char* name) {
  call = reinterpret_cast<Call>(::dlsym(library, name));
  return call != nullptr;
}

}  // namespace

std::unique_ptr<const SdBus> SdBus::load(const char* file) {
  void* library = ::dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  auto bus = std::make_unique<SdBus>();
  const bool complete =
      find(library, bus->make, "sd_bus_new") && find(library, bus->set_address, "sd_bus_set_address") &&
      find(library, bus->set_bus_client, "sd_bus_set_bus_client") && find(library, bus->start, "sd_bus_start") &&
      find(library, bus->close, "sd_bus_close") && find(library, bus->unref, "sd_bus_unref") &&
      find(library, bus->process, "sd_bus_process") && find(library, bus->wait, "sd_bus_wait") &&
      find(library, bus->call_async, "sd_bus_call_async") &&
      find(library, bus->match_signal_async, "sd_bus_match_signal_async") &&
      find(library, bus->new_method_call, "sd_bus_message_new_method_call") &&
      find(library, bus->append, "sd_bus_message_append") && find(library, bus->read, "sd_bus_message_read") &&
      find(library, bus->get_error, "sd_bus_message_get_error") &&
      find(library, bus->unref_message, "sd_bus_message_unref");
  if (!complete) return nullptr;
  return bus;
}

}  // namespace berth
