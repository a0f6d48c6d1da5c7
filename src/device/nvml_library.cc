#include "device/nvml_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "base/text.h"

namespace berth::nvml {

namespace {

// The first of `names` that the library has.
template <class Call>
void find(void* library, Call& call, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* symbol = dlsym(library, name); symbol != nullptr) {
      call = reinterpret_cast<Call>(symbol);
      return;
    }
  }
}

// A call that this driver may lack.
template <class Call, class... Args>
Return ask(Call call, Args... args) {
  return call == nullptr ? function_not_found : call(args...);
}

// What a call that fills a buffer with text said, made fit to be shown and compared.
template <class Call>
Return ask_text(Call call, Handle device, std::string& text) {
  char buffer[text_size] = {};
  const Return code = ask(call, device, buffer, text_size);
  buffer[text_size - 1] = '\0';
  if (code == success) text = printable(buffer);
  return code;
}

std::optional<int64_t> amount(uint64_t bytes) {
  if (bytes > static_cast<uint64_t>(max_amount)) return std::nullopt;
  return static_cast<int64_t>(bytes);
}

std::string address_of(const PciInfo& pci) {
  char text[40];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.0", pci.domain, pci.bus, pci.device);
  return text;
}

// --- The lists of processes ----------------------------------------------------------------------
//
// A list is asked for by the number of entries there is room for, and nothing in the call says how long
// an entry is: see nvml_abi.h for the three that are about. To read them with the wrong length is to
// take one process's memory for another's id; to make room with the wrong one is to have the driver
// write past it. So there is room for the longest, filled with a byte that no answer ends in, and how
// far the driver has written over it tells the length. An entry of each kind ends in the upper half of
// an amount or in an id, neither of which ends in that byte.

constexpr size_t lengths[] = {sizeof(ProcessV1), sizeof(ProcessV2), sizeof(ProcessV3)};
constexpr size_t longest = sizeof(ProcessV3);
constexpr unsigned char unwritten = 0xa5;
constexpr unsigned first_room = 64;
constexpr unsigned most_room = 1U << 16;  // more processes than a card can have contexts
constexpr int most_tries = 8;             // processes may come faster than we make room

constexpr size_t several = ~size_t{0};

// 0: none that is known. `several`: half the room in entries of 32 is all of it in entries of 16.
size_t entry_length(const std::vector<unsigned char>& buffer, size_t entries, size_t room) {
  size_t written = buffer.size();
  while (written > 0 && buffer[written - 1] == unwritten) --written;
  size_t found = 0;
  for (const size_t length : lengths) {
    // A driver may also write all the room that it was given.
    if (written != entries * length && written != room * length) continue;
    if (found != 0) return several;
    found = length;
  }
  return found;
}

Process process_at(const unsigned char* entry) {
  ProcessV1 raw{};
  std::memcpy(&raw, entry, sizeof raw);
  Process process;
  process.pid = raw.pid;
  if (raw.used_bytes != value_not_available) process.used_bytes = amount(raw.used_bytes);
  return process;
}

}  // namespace

// --- Start and end -------------------------------------------------------------------------------

Result<std::unique_ptr<Library>> Library::start(const char* file) {
  void* loaded = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr) {
    const char* said = dlerror();
    const std::string why = said == nullptr ? "cannot be loaded" : said;
    // Not there is one thing; there, but of another machine or without what it needs, is another.
    if (why.starts_with(std::string(file) + ": cannot open shared object file: No such file"))
      return std::unique_ptr<Library>();
    return Error{ErrorKind::probe, 0, "NVML: " + printable(why)};
  }
  std::unique_ptr<Library> library(new Library(loaded));
  library->resolve();
  const Calls& calls = library->calls_;
  if (calls.init == nullptr || calls.count == nullptr || calls.card == nullptr || calls.uuid == nullptr)
    return Error{ErrorKind::probe, 0,
                 "NVML: Function Not Found: this library lacks nvmlInit, nvmlDeviceGetCount, "
                 "nvmlDeviceGetHandleByIndex or nvmlDeviceGetUUID"};
  if (const Return code = calls.init(); code != success)
    return Error{ErrorKind::probe, 0, "NVML: " + library->text(code)};
  library->initialised_ = true;
  return library;
}

Library::~Library() {
  if (initialised_ && calls_.shutdown != nullptr) calls_.shutdown();
  dlclose(library_);
}

void Library::resolve() {
  Calls& c = calls_;
  // The first nvmlInit fails where one of many GPUs does.
  find(library_, c.init, {"nvmlInit_v2", "nvmlInit"});
  find(library_, c.shutdown, {"nvmlShutdown"});
  find(library_, c.error_string, {"nvmlErrorString"});
  find(library_, c.count, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"});
  find(library_, c.card, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"});
  find(library_, c.uuid, {"nvmlDeviceGetUUID"});
  find(library_, c.name, {"nvmlDeviceGetName"});
  find(library_, c.pci, {"nvmlDeviceGetPciInfo_v3", "nvmlDeviceGetPciInfo_v2", "nvmlDeviceGetPciInfo"});
  find(library_, c.memory_v2, {"nvmlDeviceGetMemoryInfo_v2"});
  find(library_, c.memory_v1, {"nvmlDeviceGetMemoryInfo"});
  find(library_, c.utilization, {"nvmlDeviceGetUtilizationRates"});
  find(library_, c.compute_mode, {"nvmlDeviceGetComputeMode"});
  find(library_, c.processes[0],
       {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2",
        "nvmlDeviceGetComputeRunningProcesses"});
  find(library_, c.processes[1],
       {"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2",
        "nvmlDeviceGetGraphicsRunningProcesses"});
  find(library_, c.processes[2],
       {"nvmlDeviceGetMPSComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v2",
        "nvmlDeviceGetMPSComputeRunningProcesses"});
  find(library_, c.mig_mode, {"nvmlDeviceGetMigMode"});
  find(library_, c.most_mig_devices, {"nvmlDeviceGetMaxMigDeviceCount"});
  find(library_, c.mig_device, {"nvmlDeviceGetMigDeviceHandleByIndex"});
  find(library_, c.link_state, {"nvmlDeviceGetNvLinkState"});
  find(library_, c.link_remote_type, {"nvmlDeviceGetNvLinkRemoteDeviceType"});
  find(library_, c.link_remote_pci, {"nvmlDeviceGetNvLinkRemotePciInfo_v2", "nvmlDeviceGetNvLinkRemotePciInfo"});
}

std::string Library::text(Return code) const {
  const char* said = calls_.error_string == nullptr ? nullptr : calls_.error_string(code);
  if (said == nullptr || *said == '\0') return "error " + std::to_string(code);
  return printable(said);
}

// --- What can be asked ---------------------------------------------------------------------------

Return Library::count(unsigned& count) const { return calls_.count(&count); }

Return Library::card(unsigned index, Handle& card) const { return calls_.card(index, &card); }

Return Library::uuid(Handle device, std::string& uuid) const { return ask_text(calls_.uuid, device, uuid); }

Return Library::name(Handle device, std::string& name) const { return ask_text(calls_.name, device, name); }

Return Library::pci_address(Handle card, std::string& address) const {
  PciInfo pci{};
  const Return code = ask(calls_.pci, card, &pci);
  if (code == success) address = address_of(pci);
  return code;
}

Return Library::memory(Handle device, Memory& memory) const {
  // The header says that `used` of _v2 has `reserved` in it, drivers that it has not (nvml-wrapper issue 57).
  // What is neither free nor reserved is used either way.
  MemoryV2 v2{};
  v2.version = memory_v2_version;
  const Return newer = ask(calls_.memory_v2, device, &v2);
  if (newer == success) {
    const auto total = amount(v2.total);
    if (!total) return unknown_error;
    memory.total_bytes = *total;
    memory.used_bytes.reset();
    if (v2.free <= v2.total && v2.reserved <= v2.total - v2.free)
      memory.used_bytes = amount(v2.total - v2.free - v2.reserved);
    return success;
  }
  // Whatever _v2 failed with, for there are drivers that have it and do not mean it (WSL: nvitop issue 30).
  MemoryV1 v1{};
  if (calls_.memory_v1 == nullptr) return newer;
  if (const Return code = calls_.memory_v1(device, &v1); code != success) return code;
  const auto total = amount(v1.total);
  if (!total) return unknown_error;
  memory.total_bytes = *total;
  memory.used_bytes.reset();
  if (v1.used <= v1.total) memory.used_bytes = amount(v1.used);
  return success;
}

Return Library::utilization_pct(Handle card, unsigned& pct) const {
  Utilization rates{};
  const Return code = ask(calls_.utilization, card, &rates);
  if (code == success) pct = rates.gpu;
  return code;
}

Return Library::compute_mode(Handle device, unsigned& mode) const { return ask(calls_.compute_mode, device, &mode); }

Return Library::processes(Handle device, List list, std::vector<Process>& processes) const {
  const auto call = calls_.processes[static_cast<size_t>(list)];
  unsigned room = first_room;
  for (int tries = 0; tries < most_tries; ++tries) {
    std::vector<unsigned char> buffer(size_t{room} * longest, unwritten);
    unsigned entries = room;
    const Return code = ask(call, device, &entries, buffer.data());
    if (code == insufficient_size) {
      // `entries` is how many there are now. Room for some more, for they may be arriving.
      room = std::clamp(entries, room, most_room / 2) * 2;
      continue;
    }
    if (code != success) return code;
    if (entries == 0) return success;
    const size_t length = entries > room ? 0 : entry_length(buffer, entries, room);
    if (length == 0) return function_not_found;
    if (length == several) {
      ++room;
      continue;
    }
    for (size_t i = 0; i < entries; ++i) processes.push_back(process_at(&buffer[i * length]));
    return success;
  }
  return insufficient_size;
}

Return Library::mig_mode(Handle card, unsigned& current) const {
  unsigned pending = 0;  // after the next reset
  return ask(calls_.mig_mode, card, &current, &pending);
}

Return Library::most_mig_devices(Handle card, unsigned& count) const {
  return ask(calls_.most_mig_devices, card, &count);
}

Return Library::mig_device(Handle card, unsigned slot, Handle& device) const {
  return ask(calls_.mig_device, card, slot, &device);
}

Return Library::link_is_active(Handle card, unsigned link, unsigned& active) const {
  return ask(calls_.link_state, card, link, &active);
}

Return Library::link_remote_type(Handle card, unsigned link, unsigned& type) const {
  return ask(calls_.link_remote_type, card, link, &type);
}

Return Library::link_remote_address(Handle card, unsigned link, std::string& address) const {
  PciInfo pci{};
  const Return code = ask(calls_.link_remote_pci, card, link, &pci);
  if (code == success) address = address_of(pci);
  return code;
}

}  // namespace berth::nvml
