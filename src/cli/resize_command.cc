// resize: another amount for a lease that is held.
#include <cstdlib>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/lease_wanted.h"
#include "cli/options.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "device/probe_run.h"
#include "engine/driver_admission.h"
#include "engine/engine.h"
#include "engine/lease_roots.h"
#include "ledger/local_ledger.h"
#include "run/supervisor.h"

namespace berth {

namespace {

ClaimWish wish_of(const RunOptions& options) {
  ClaimWish wish;
  wish.counters = options.claim.counters;
  if (options.gpus_given) wish.gpus = options.claim.gpu.count;
  wish.vram_bytes = options.claim.gpu.vram_bytes;
  wish.compute_pct = options.claim.gpu.compute_pct;
  if (options.ttl_ms) wish.ttl_us = *options.ttl_ms * 1000;
  return wish;
}

std::string amount_text(const std::string& what, int64_t amount) {
  return what == "vram" ? show_size(amount) + " vram" : describe_amount(what, amount);
}

int refuse(const Resized& resized) {
  if (!resized.shortfalls.empty()) {
    std::string text;
    for (const Shortfall& s : resized.shortfalls)
      text += std::string(text.empty() ? "" : "; ") + "there are " + amount_text(s.what, s.there) +
              ", and it would have " + amount_text(s.what, s.asked);
    say("resize: never: " + text);
    return exit_status::impossible;
  }
  say("resize: not now: " + (resized.refusal.empty() ? "others have it, or wait for it" : resized.refusal) +
      "; nothing has changed");
  return exit_status::busy;
}

}  // namespace

int resize_command(const Words& words) {
  auto options = parse_resize(words);
  if (!options) return fail_usage("resize", options.error().message);
  if (options->help) return put(help_text("resize")) ? exit_status::ok : exit_status::unavailable;
  const ClaimWish wish = wish_of(*options);
  auto pool = open_pool_of_a_lease();
  if (!pool) return fail(pool.error());
  auto view = view_pool(*pool, {});
  if (!view) return fail(view.error());
  auto who = find_leases(*view, {options->command.front(), ""});
  if (!who) return fail(who.error());
  auto signals = Signals::take();
  if (!signals) return fail(signals.error());
  LocalLedger ledger(*pool, signals->fd());
  ledger.on_slow_lock([](const std::string& sentence) { say(sentence); });
  Engine engine(ledger, machine_figures);
  Picture picture;
  std::unique_ptr<DriverAdmission> admission;
  if (wish.gpus > 0 || wish.vram_bytes > 0) {
    auto probed = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root());
    if (!probed) return fail(probed.error());
    picture = std::move(*probed);
    if (!picture.devices.empty() && !picture.devices.front().simulated) {
      admission = std::make_unique<DriverAdmission>(picture, DriverRules{}, [&pool] { return lease_roots(*pool); });
      engine.heed(*admission);
    }
  }
  if (wish.gpus > static_cast<int>(max_claim_devices)) {
    Resized never;
    never.shortfalls.push_back({"gpu", wish.gpus, static_cast<int64_t>(picture.devices.size())});
    return refuse(never);
  }
  const auto resized = engine.resize(who->front(), wish);
  if (!resized) {
    signals->die_if_told();
    return resized.error().kind == ErrorKind::usage ? fail_usage("resize", resized.error().message)
                                                    : fail(resized.error());
  }
  return resized->fits ? exit_status::ok : refuse(*resized);
}

}  // namespace berth
