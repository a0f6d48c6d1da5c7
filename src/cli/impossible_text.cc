#include "cli/impossible_text.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "base/text.h"
#include "core/policy.h"

namespace berth {

namespace {

// All that narrows the choice, so that each can be left out in turn.
struct Choice {
  RunOptions options;
  InheritedVisibility inherited;
};

struct Filter {
  std::string name;
  std::function<void(Choice&)> drop;
};

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ",") + printable(word);
  return out;
}

std::vector<Filter> filters_of(const Choice& choice) {
  std::vector<Filter> out;
  if (!choice.options.only.empty())
    out.push_back({"--only " + joined(choice.options.only), [](Choice& c) { c.options.only.clear(); }});
  if (!choice.options.exclude.empty())
    out.push_back({"--exclude " + joined(choice.options.exclude), [](Choice& c) { c.options.exclude.clear(); }});
  if (choice.options.min_free_bytes > 0)
    out.push_back(
        {"--min-free " + show_size(choice.options.min_free_bytes), [](Choice& c) { c.options.min_free_bytes = 0; }});
  const auto add_inherited = [&](const char* name, std::optional<std::string> InheritedVisibility::*variable) {
    const auto& value = choice.inherited.*variable;
    if (value)
      out.push_back({"the inherited " + std::string(name) + "=" + printable(*value),
                     [variable](Choice& c) { (c.inherited.*variable).reset(); }});
  };
  add_inherited("CUDA_VISIBLE_DEVICES", &InheritedVisibility::cuda);
  add_inherited("ROCR_VISIBLE_DEVICES", &InheritedVisibility::rocr);
  add_inherited("ZE_AFFINITY_MASK", &InheritedVisibility::ze);
  return out;
}

// The memory of each device that is left, the largest first.
std::vector<int64_t> sizes_left(const Choice& choice, const std::vector<Device>& devices) {
  std::vector<int64_t> sizes;
  const auto refs = eligible_devices(choice.options, devices, choice.inherited);
  if (!refs.ok()) return sizes;
  std::transform(refs->begin(), refs->end(), std::back_inserter(sizes),
                 [](const DeviceRef& d) { return d.vram_bytes; });
  std::sort(sizes.rbegin(), sizes.rend());
  return sizes;
}

bool enough(const GpuClaim& gpu, const std::vector<int64_t>& sizes) {
  const auto count = static_cast<size_t>(gpu.count);
  return sizes.size() >= count && (gpu.whole || sizes[count - 1] >= gpu.vram_bytes);
}

// The filters at fault, by name; empty where the machine itself has too little.
std::vector<std::string> culprits(const Choice& all, const std::vector<Device>& devices) {
  const GpuClaim& gpu = all.options.claim.gpu;
  const std::vector<Filter> filters = filters_of(all);
  Choice none = all;
  for (const Filter& filter : filters) filter.drop(none);
  if (!enough(gpu, sizes_left(none, devices))) return {};
  std::vector<std::string> sufficient;
  std::vector<std::string> narrowing;
  for (size_t i = 0; i < filters.size(); ++i) {
    Choice without = all;
    filters[i].drop(without);
    if (enough(gpu, sizes_left(without, devices))) sufficient.push_back(filters[i].name);
    Choice alone = all;
    for (size_t j = 0; j < filters.size(); ++j)
      if (j != i) filters[j].drop(alone);
    if (sizes_left(alone, devices).size() < devices.size()) narrowing.push_back(filters[i].name);
  }
  return sufficient.empty() ? narrowing : sufficient;
}

std::string list(const std::vector<std::string>& names, const char* between) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : between) + name;
  return out;
}

std::string gpus(int64_t count) { return std::to_string(count) + (count == 1 ? " GPU" : " GPUs"); }

std::string gpu_text(const Shortfall& s, const Choice& choice, const std::vector<Device>& devices) {
  const std::vector<std::string> at_fault = culprits(choice, devices);
  const std::vector<int64_t> sizes = sizes_left(choice, devices);
  if (s.what == "gpu") {
    const std::string asks = "it asks for " + gpus(s.asked) + ", but ";
    if (at_fault.empty())
      return asks + "there " + (devices.size() == 1 ? "is " : "are ") + std::to_string(devices.size());
    return asks + list(at_fault, " and ") + (at_fault.size() == 1 ? " leaves " : " leave ") +
           (s.there == 0 ? "none" : std::to_string(s.there)) + " of the " + std::to_string(devices.size()) + " here";
  }
  const std::string asks = "it asks for " + show_size(s.asked) + " vram, but ";
  if (s.there == 0) return asks + "the driver does not say how much the cards it may use have";
  return asks + "the cards " + (at_fault.empty() ? "it may use" : "that " + list(at_fault, " and ") + " leaves it") +
         " have " + show_size(s.there);
}

// "it asks for 3 gpus, but policy.max.gpus_per_user=2 is the most that one user may have"
std::string quota_text(const Shortfall& s, std::string_view name) {
  const auto show = [&](int64_t amount) { return name == "ram" ? show_size(amount) : std::to_string(amount); };
  return "it asks for " + show(s.asked) + " " + std::string(name) + ", but " + s.what + "=" + show(s.there) +
         " is the most that one user may have";
}

std::string counter_text(const Shortfall& s) {
  if (const auto quota = quota_name(s.what)) return quota_text(s, *quota);
  const auto show = [&](int64_t amount) { return s.what == "ram" ? show_size(amount) : std::to_string(amount); };
  const std::string asks = "it asks for " + show(s.asked) + " " + s.what + ", but ";
  if (s.there > 0) return asks + "the pool has " + show(s.there);
  return asks + "the pool has no " + s.what + ": berth set " + s.what + "=N gives it some";
}

}  // namespace

std::string impossible_text(const std::vector<Shortfall>& shortfalls, const RunOptions& options,
                            const std::vector<Device>& devices, const InheritedVisibility& inherited) {
  const Choice choice{options, inherited};
  std::string text;
  for (const Shortfall& s : shortfalls)
    text += (text.empty() ? "" : "; ") +
            (s.what == "gpu" || s.what == "vram" ? gpu_text(s, choice, devices) : counter_text(s));
  return "can never run here: " + text;
}

}  // namespace berth
