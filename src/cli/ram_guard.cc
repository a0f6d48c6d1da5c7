#include "cli/ram_guard.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/pid_namespace.h"
#include "base/process_memory.h"
#include "base/process_stat.h"
#include "base/small_file.h"
#include "base/text.h"
#include "cli/say.h"
#include "run/process_tree.h"
#include "run/ram_watch.h"

namespace berth {

namespace {

// Watches what the command has of the machine's memory.
class RamCompanion : public Companion {
 public:
  RamCompanion(int64_t claimed_bytes, std::function<int64_t()> claimed, const RamScope* scope, bool ends_command)
      : watch_(
            claimed_bytes, scope, [] { return left_running([](pid_t) { return false; }); },
            [this](int64_t used_bytes) { speak_of(used_bytes); }),
        scope_(scope),
        claimed_bytes_(claimed_bytes),
        limited_bytes_(claimed_bytes),
        claimed_(std::move(claimed)),
        ends_command_(ends_command) {}
  [[nodiscard]] int fd() const override { return -1; }
  [[nodiscard]] int64_t due_us() const override { return watch_.due_us(); }
  [[nodiscard]] bool act() override {
    heed_resize();
    watch_.act();
    return over_ && ends_command_;
  }

 private:
  void speak_of(int64_t used_bytes) {
    over_ = true;
    say("it uses " + show_size(used_bytes) + " of RAM and claimed " + show_size(claimed_bytes_) +
        "; others may run out of memory" + (ends_command_ ? ", so it is ended (--over-use term)" : ""));
  }

  // Less than it has would end it on the spot: the limit follows what it gives back.
  void heed_resize() {
    if (claimed_) claimed_bytes_ = claimed_();
    watch_.set_claim(claimed_bytes_);
    const int64_t limit_bytes = std::max(claimed_bytes_, std::min(limited_bytes_, watch_.last_bytes()));
    if (scope_ == nullptr || limit_bytes == limited_bytes_) return;
    if (scope_->limit(limit_bytes)) limited_bytes_ = limit_bytes;
  }

  RamWatch watch_;
  const RamScope* scope_;
  int64_t claimed_bytes_;
  int64_t limited_bytes_;
  std::function<int64_t()> claimed_;
  bool ends_command_;
  bool over_ = false;
};

constexpr uint64_t exiting = 4;  // PF_EXITING

bool inside_a_lease() {
  const char* lease = std::getenv("BERTH_LEASE");
  return lease != nullptr && *lease != '\0';
}

}  // namespace

// Inside a lease the outer one's scope holds all that is in it, and one beside it would not.
RamGuard::RamGuard(const RunOptions& options) : options_(options) {
  if (options.replace_self || options.dry_run) return;
  claimed_bytes_ = amount_of(options.claim, "ram");
  if (claimed_bytes_ == 0 || inside_a_lease()) return;
  if (auto made = RamScope::make("", claimed_bytes_)) scope_.emplace(std::move(*made));
}

void RamGuard::limit(Command& command) const {
  if (scope_) command.cgroup_fd = scope_->procs_fd();
}

std::unique_ptr<Companion> RamGuard::companion(std::function<int64_t()> claimed) {
  if (claimed_bytes_ == 0) return nullptr;
  return std::make_unique<RamCompanion>(claimed_bytes_, std::move(claimed), scope_ ? &*scope_ : nullptr,
                                        options_.over_use_ends);
}

void RamGuard::started(pid_t pid) {
  if (!scope_) return;
  const std::string process = "/proc/" + std::to_string(pid);
  const auto groups = read_text(process + "/cgroup");
  if (!groups || groups->find(scope_->path().substr(scope_->path().rfind('/'))) != std::string::npos) return;
  // Who is on its way out is in no group any more.
  const auto text = read_text(process + "/stat");
  const auto stat = text ? parse_process_stat(*text) : std::nullopt;
  if (!stat || !stat->runs() || (stat->flags & exiting) != 0) return;
  say("its memory cannot be limited: the kernel does not let it into " + scope_->path());
}

void RamGuard::tell_end() const {
  if (scope_ && scope_->ran_out())
    say("it took more than the " + show_size(claimed_bytes_) +
        " of RAM that it claimed, and the kernel ended it, or a part of it");
}

std::string ram_limit_seen(const PartyInfo& info, int64_t claimed_bytes) {
  if (claimed_bytes == 0 || info.pid_namespace == 0 || info.pid_namespace != own_pid_namespace()) return "";
  const std::string pid = std::to_string(info.pid);
  if (read_word("/proc/" + pid + "/comm") != "berth") return "";
  for (const pid_t child : children_of("/proc", static_cast<pid_t>(info.pid)))
    if (const auto groups = read_text("/proc/" + std::to_string(child) + "/cgroup"))
      if (groups->find("/berth-" + pid + "\n") != std::string::npos) return "cgroup";
  return "watched";
}

}  // namespace berth
