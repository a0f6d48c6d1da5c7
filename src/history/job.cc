#include "history/job.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "core/processors.h"

namespace berth {

namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 15> names{"exited",        "signal", "not_started", "limit",     "over_use",
                                                 "timed_out",     "busy",   "cancelled",   "lost",      "released",
                                                 "process_ended", "ttl",    "terminated",  "reclaimed", "unknown"};

// What a JSON object says, without an exception whatever it is.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  [[nodiscard]] std::string text(const char* key) const {
    const Json* at = find(key);
    return at != nullptr && at->is_string() ? kept_text(at->get_ref<const std::string&>()) : "";
  }
  // Within the bounds, or `other`.
  [[nodiscard]] int64_t number(const char* key, int64_t least, int64_t most, int64_t other) const {
    const Json* at = find(key);
    if (at == nullptr || !at->is_number_integer()) return other;
    if (at->is_number_unsigned() && at->get<uint64_t>() > static_cast<uint64_t>(max_amount)) return other;
    const auto value = at->get<int64_t>();
    return value < least || value > most ? other : value;
  }
  [[nodiscard]] int64_t amount(const char* key) const { return number(key, 0, max_amount, 0); }
  [[nodiscard]] bool flag(const char* key) const {
    const Json* at = find(key);
    return at != nullptr && at->is_boolean() && at->get<bool>();
  }
  [[nodiscard]] const Json* find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto at = json_.find(key);
    return at == json_.end() ? nullptr : &*at;
  }

 private:
  const Json& json_;
};

Claim claim_of(const Json& json) {
  const Reader read(json);
  Claim claim;
  claim.gpu.count = static_cast<int>(read.number("gpus", 0, max_claim_devices, 0));
  claim.gpu.vram_bytes = read.amount("vram");
  claim.gpu.compute_pct = static_cast<int>(read.number("compute", 0, 100, 0));
  claim.gpu.whole = claim.gpu.vram_bytes == 0 && claim.gpu.compute_pct == 0;
  const Json* resources = read.find("resources");
  if (resources == nullptr || !resources->is_object()) return claim;
  for (const auto& [name, value] : resources->items()) {
    const int64_t amount = Reader(*resources).amount(name.c_str());
    if (amount > 0 && valid_resource_name(name) && claim.counters.size() < max_claim_counters)
      claim.counters.push_back({name, amount});
  }
  return claim;
}

std::vector<GrantedDevice> devices_of(const Json* json) {
  std::vector<GrantedDevice> out;
  if (json == nullptr || !json->is_array()) return out;
  for (const Json& entry : *json) {
    if (out.size() >= max_claim_devices) break;
    const Reader read(entry);
    out.push_back({read.text("uuid"), static_cast<int>(read.number("index", 0, 65'535, 0)), read.amount("vram")});
  }
  return out;
}

}  // namespace

std::string kept_text(std::string_view text) {
  std::string out = printable(text.substr(0, max_job_text + 1));
  if (out.size() <= max_job_text) return out;
  size_t end = max_job_text - 3;
  while (end > 0 && (static_cast<unsigned char>(out[end]) & 0xC0U) == 0x80U) --end;
  return out.substr(0, end) + "...";
}

std::string_view how_name(How how) { return names[static_cast<size_t>(how)]; }

std::optional<How> how_of(std::string_view name) {
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == name) return static_cast<How>(i);
  return std::nullopt;
}

std::string encode_job(const Job& job) {
  Json out{{"id", job.id},
           {"uid", job.uid},
           {"pid", job.pid},
           {"verb", job.verb},
           {"cmd", kept_text(job.command)},
           {"pool", kept_text(job.pool)},
           {"arrival_us", job.arrival_us},
           {"ended_us", job.ended_us},
           {"how", how_name(job.how)}};
  if (!job.label.empty()) out["label"] = kept_text(job.label);
  if (!job.parent.empty()) out["parent"] = job.parent;
  if (job.priority != 0) out["priority"] = job.priority;
  if (job.expect_s != 0) out["expect_s"] = job.expect_s;
  if (job.seated_us != 0) out["seated_us"] = job.seated_us;
  if (job.peak_bytes) out["peak"] = *job.peak_bytes;
  if (job.peak_ram_bytes) out["peak_ram"] = *job.peak_ram_bytes;
  if (job.status) out["status"] = *job.status;
  if (job.signal != 0) out["signal"] = job.signal;
  if (!job.reason.empty()) out["reason"] = kept_text(job.reason);
  if (job.stays) out["stays"] = true;
  Json& claim = out["claim"] = Json::object();
  if (job.claim.gpu.count > 0) claim["gpus"] = job.claim.gpu.count;
  if (job.claim.gpu.vram_bytes > 0) claim["vram"] = job.claim.gpu.vram_bytes;
  if (job.claim.gpu.compute_pct > 0) claim["compute"] = job.claim.gpu.compute_pct;
  for (const NamedAmount& c : job.claim.counters) claim["resources"][c.name] = c.amount;
  if (!job.processors.empty()) out["processors"] = job.processors;
  for (const GrantedDevice& d : job.devices)
    out["devices"].push_back({{"uuid", d.uuid}, {"index", d.index}, {"vram", d.vram_bytes}});
  return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<Job> decode_job(std::string_view line) {
  if (line.size() > max_job_line) return std::nullopt;
  const Json json = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  const Reader read(json);
  Job job;
  const auto how = how_of(read.text("how"));
  job.id = read.text("id");
  job.arrival_us = read.amount("arrival_us");
  job.ended_us = read.amount("ended_us");
  if (!how || job.id.empty() || job.arrival_us == 0 || job.ended_us == 0) return std::nullopt;
  job.how = *how;
  job.uid = read.number("uid", 0, UINT32_MAX, UINT32_MAX);
  job.pid = read.number("pid", 0, INT32_MAX, 0);
  job.verb = read.text("verb");
  job.label = read.text("label");
  job.command = read.text("cmd");
  job.pool = read.text("pool");
  job.parent = read.text("parent");
  job.priority = static_cast<int>(read.number("priority", -max_priority_magnitude, max_priority_magnitude, 0));
  job.expect_s = read.amount("expect_s");
  job.seated_us = read.amount("seated_us");
  if (read.find("peak") != nullptr) job.peak_bytes = read.amount("peak");
  if (read.find("peak_ram") != nullptr) job.peak_ram_bytes = read.amount("peak_ram");
  if (read.find("status") != nullptr) job.status = static_cast<int>(read.number("status", 0, 255, 0));
  job.signal = static_cast<int>(read.number("signal", 0, 127, 0));
  job.reason = read.text("reason");
  job.stays = read.flag("stays");
  if (const Json* claim = read.find("claim"); claim != nullptr) job.claim = claim_of(*claim);
  job.devices = devices_of(read.find("devices"));
  if (const auto own = parse_processors(read.text("processors"))) job.processors = show_processors(*own);
  return job;
}

}  // namespace berth
