// Library: NVML loaded and initialised, for as long as the object lives.
//
// One method a question, whichever version of the call this driver has. Every method returns NVML's own
// code; where a driver lacks the call altogether, that is `function_not_found`. Not thread-safe: dlerror.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/nvml_abi.h"

namespace berth::nvml {

struct Memory {
  int64_t total_bytes = 0;
  std::optional<int64_t> used_bytes;  // without what the driver keeps for itself, where it says how much
};

struct Process {
  int64_t pid = 0;
  std::optional<int64_t> used_bytes;
};

class Library {
 public:
  // Loads and initialises. Null where there is no such library on this machine. Errors (`probe`) begin
  // with "NVML: ": it is there and cannot be used, in its own words.
  [[nodiscard]] static Result<std::unique_ptr<Library>> start(const char* file);

  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library();

  // What NVML calls this code; "error 9" where it does not say.
  [[nodiscard]] std::string text(Return code) const;

  Return count(unsigned& count) const;
  Return card(unsigned index, Handle& card) const;
  Return uuid(Handle device, std::string& uuid) const;
  Return name(Handle device, std::string& name) const;
  // "0000:17:00.0", as sysfs writes it.
  Return pci_address(Handle card, std::string& address) const;
  Return memory(Handle device, Memory& memory) const;
  Return utilization_pct(Handle card, unsigned& pct) const;
  Return compute_mode(Handle device, unsigned& mode) const;

  enum class List { compute, graphics, mps };
  // An answer that no known layout fits is `function_not_found` too.
  Return processes(Handle device, List list, std::vector<Process>& processes) const;

  Return mig_mode(Handle card, unsigned& current) const;
  Return most_mig_devices(Handle card, unsigned& count) const;
  Return mig_device(Handle card, unsigned slot, Handle& device) const;

  Return link_is_active(Handle card, unsigned link, unsigned& active) const;
  Return link_remote_type(Handle card, unsigned link, unsigned& type) const;
  Return link_remote_address(Handle card, unsigned link, std::string& address) const;

 private:
  // As NVML declares them; null: this driver does not have it.
  struct Calls {
    Return (*init)() = nullptr;
    Return (*shutdown)() = nullptr;
    const char* (*error_string)(Return) = nullptr;
    Return (*count)(unsigned*) = nullptr;
    Return (*card)(unsigned, Handle*) = nullptr;
    Return (*uuid)(Handle, char*, unsigned) = nullptr;
    Return (*name)(Handle, char*, unsigned) = nullptr;
    Return (*pci)(Handle, PciInfo*) = nullptr;
    Return (*memory_v2)(Handle, MemoryV2*) = nullptr;
    Return (*memory_v1)(Handle, MemoryV1*) = nullptr;
    Return (*utilization)(Handle, Utilization*) = nullptr;
    Return (*compute_mode)(Handle, unsigned*) = nullptr;
    Return (*processes[3])(Handle, unsigned*, void*) = {};  // by List
    Return (*mig_mode)(Handle, unsigned*, unsigned*) = nullptr;
    Return (*most_mig_devices)(Handle, unsigned*) = nullptr;
    Return (*mig_device)(Handle, unsigned, Handle*) = nullptr;
    Return (*link_state)(Handle, unsigned, unsigned*) = nullptr;
    Return (*link_remote_type)(Handle, unsigned, unsigned*) = nullptr;
    Return (*link_remote_pci)(Handle, unsigned, PciInfo*) = nullptr;
  };

  explicit Library(void* library) : library_(library) {}
  void resolve();

  void* library_;
  Calls calls_;
  bool initialised_ = false;
};

}  // namespace berth::nvml
