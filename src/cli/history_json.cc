#include <map>
#include <nlohmann/json.hpp>

#include "base/user.h"
#include "cli/history_text.h"

namespace berth {

namespace {

using Json = nlohmann::ordered_json;

template <class T>
Json or_null(bool known, T value) {
  return known ? Json(value) : Json(nullptr);
}

// To the millisecond. Not by round(): that would have the program link libm.
double seconds(int64_t us) {
  const int64_t ms = us / 1000;
  return static_cast<double>(ms) / 1000.0;
}

Json resources_of(const Job& job) {
  Json out = Json::object();
  for (const NamedAmount& c : job.claim.counters) out[c.name] = c.amount;
  return out;
}

Json granted_of(const Job& job) {
  if (job.seated_us == 0) return nullptr;
  Json devices = Json::array();
  for (const GrantedDevice& d : job.devices)
    devices.push_back({{"uuid", d.uuid}, {"index", d.index}, {"vram", d.vram_bytes}});
  return {{"devices", devices},
          {"resources", resources_of(job)},
          {"processors", or_null(!job.processors.empty(), job.processors)}};
}

Json job_json(const Job& job, const std::string& user) {
  const bool sat = job.seated_us > 0;
  const GpuClaim& gpu = job.claim.gpu;
  return {{"id", job.id},
          {"verb", job.verb},
          {"label", job.label},
          {"user", user},
          {"uid", job.uid},
          {"pid", job.pid},
          {"cmd", job.command},
          {"pool", job.pool},
          {"parent", or_null(!job.parent.empty(), job.parent)},
          {"priority", job.priority},
          {"expect_s", or_null(job.expect_s > 0, job.expect_s)},
          {"arrived", job.arrival_us / 1'000'000},
          {"started", or_null(sat, job.seated_us / 1'000'000)},
          {"ended", job.ended_us / 1'000'000},
          {"waited_s", seconds((sat ? job.seated_us : job.ended_us) - job.arrival_us)},
          {"held_s", or_null(sat, seconds(job.ended_us - job.seated_us))},
          {"claim",
           {{"gpus", gpu.count},
            {"vram", or_null(gpu.vram_bytes > 0, gpu.vram_bytes)},
            {"compute", or_null(gpu.compute_pct > 0, gpu.compute_pct)},
            {"resources", resources_of(job)}}},
          {"granted", granted_of(job)},
          {"peak_vram", or_null(job.peak_bytes.has_value(), job.peak_bytes.value_or(0))},
          {"peak_ram", or_null(job.peak_ram_bytes.has_value(), job.peak_ram_bytes.value_or(0))},
          {"how", std::string(how_name(job.how))},
          {"status", or_null(job.status.has_value(), job.status.value_or(0))},
          {"signal", or_null(job.signal != 0, job.signal)},
          {"reason", or_null(!job.reason.empty(), job.reason)},
          {"stays", job.stays}};
}

}  // namespace

std::string history_json(const std::vector<Job>& jobs, int64_t now_us) {
  Json list = Json::array();
  std::map<int64_t, std::string> users;
  for (const Job& job : jobs) {
    const auto [user, fresh] = users.try_emplace(job.uid);
    if (fresh) user->second = user_name(static_cast<uid_t>(job.uid));
    list.push_back(job_json(job, user->second));
  }
  const Json out{{"version", 1}, {"now", now_us / 1'000'000}, {"jobs", list}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace berth
