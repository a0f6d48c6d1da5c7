#include "cli/ram_guard.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/memory_cgroup.h"
#include "base/pid_namespace.h"
#include "base/process_memory.h"
#include "base/process_stat.h"
#include "base/small_file.h"
#include "base/text.h"
#include "base/user.h"
#include "cli/say.h"
#include "device/probe_run.h"
#include "run/process_tree.h"
#include "run/ram_watch.h"

namespace berth {

namespace {

// Watches what the command has of the machine's memory.
class RamCompanion : public Companion {
 public:
  RamCompanion(RamGuard& guard, int64_t claimed_bytes, bool ends_command)
      : guard_(guard),
        watch_(
            claimed_bytes, [] { return left_running([](pid_t) { return false; }); },
            [this](int64_t used_bytes) { speak_of(used_bytes); }),
        claimed_bytes_(claimed_bytes),
        limited_bytes_(claimed_bytes),
        ends_command_(ends_command) {}
  [[nodiscard]] int fd() const override { return guard_.scope() == nullptr ? -1 : guard_.scope()->events_fd(); }
  [[nodiscard]] int64_t due_us() const override { return watch_.due_us(); }
  [[nodiscard]] bool act() override {
    guard_.heed_events();
    guard_.look_for_scope();
    heed_resize();
    watch_.act(guard_.scope());
    guard_.note_use(watch_.last_bytes());
    return over_ && ends_command_;
  }

 private:
  void speak_of(int64_t used_bytes) {
    over_ = true;
    guard_.note_spoken_of();
    say("it uses " + show_size(used_bytes) + " of RAM and claimed " + show_size(claimed_bytes_) +
        "; others may run out of memory" + (ends_command_ ? ", so it is ended (--over-use term)" : ""));
  }

  // Less than it has would end it on the spot: the limit follows what it gives back.
  void heed_resize() {
    claimed_bytes_ = guard_.claimed_now();
    watch_.set_claim(claimed_bytes_);
    const int64_t limit_bytes = std::max(claimed_bytes_, std::min(limited_bytes_, watch_.last_bytes()));
    if (guard_.scope() == nullptr || limit_bytes == limited_bytes_) return;
    if (guard_.set_limit(limit_bytes)) limited_bytes_ = limit_bytes;
  }

  RamGuard& guard_;
  RamWatch watch_;
  int64_t claimed_bytes_;
  int64_t limited_bytes_;
  bool ends_command_;
  bool over_ = false;
};

constexpr uint64_t exiting = 4;  // PF_EXITING

// A manager that is well answers in milliseconds, one on a machine that is out of breath in tenths of a second.
constexpr int64_t manager_patience_us = 2'000'000;

// A scope that an outer lease is in holds all that is in it, and one beside it would not. In a container's own view of
// the cgroups it does not show.
bool inside_a_scope(const std::string& root) {
  const char* lease = std::getenv("BERTH_LEASE");
  if (lease == nullptr || *lease == '\0') return false;
  const auto own = own_memory_cgroup(root);
  return own && (own->path == own->mount || own->path.find("/berth-", own->mount.size()) != std::string::npos);
}

// A user's manager ends with his last login, and takes with it what is in its scopes. A berth that stays holds the
// login open; --exec leaves none.
bool manager_outlives_login() {
  return ::geteuid() == 0 || ::access(("/var/lib/systemd/linger/" + user_name(::geteuid())).c_str(), F_OK) == 0;
}

MemoryLimits limits_for(int64_t claimed_bytes) {
  return {hard_limit_bytes(claimed_bytes), soft_limit_bytes(claimed_bytes)};
}

}  // namespace

RamGuard::RamGuard(const RunOptions& options) : options_(options), claimed_bytes_(amount_of(options.claim, "ram")) {
  if (options.dry_run || claimed_bytes_ == 0) return;
  is_free_ = !inside_a_scope(sysfs_root());
  if (!is_free_) return;
  if (auto made = RamScope::make(sysfs_root(), claimed_bytes_)) scope_.emplace(std::move(*made));
}

// While it waits in line a job has no use for a library.
void RamGuard::limit(Command& command) {
  if (!is_free_) return;
  if (scope_ && !manager_) {
    command.cgroup_fd = scope_->procs_fd();
    return;
  }
  scope_.reset();  // of the start before
  if (!manager_ && (!options_.replace_self || manager_outlives_login())) manager_ = ServiceManager::find(sysfs_root());
  if (!manager_) return tell_if_only_booked();
  unit_ = "berth-" + std::to_string(::getpid()) + (++starts_ > 1 ? "-" + std::to_string(starts_) : "") + ".scope";
  command.prepare = [this] {
    if (!manager_->enter_scope(unit_, limits_for(claimed_bytes_), manager_patience_us)) return tell_if_only_booked();
    end_own_group_as_one(sysfs_root(), unit_);
  };
}

void RamGuard::tell_if_only_booked() const {
  if (options_.replace_self)
    say("no cgroup can be had here, and --exec leaves nobody to watch what memory it uses: its --ram is only booked");
}

std::unique_ptr<Companion> RamGuard::companion(std::function<int64_t()> claimed) {
  if (claimed_bytes_ == 0 || options_.replace_self) return nullptr;
  claimed_ = std::move(claimed);
  return std::make_unique<RamCompanion>(*this, claimed_bytes_, options_.over_use_ends);
}

int64_t RamGuard::claimed_now() {
  const int64_t now_bytes = claimed_ ? claimed_() : claimed_bytes_;
  most_claimed_bytes_ = std::max(most_claimed_bytes_, now_bytes);
  return now_bytes;
}

void RamGuard::started(pid_t pid) {
  pid_ = pid;
  if (manager_) return look_for_scope();
  if (!scope_) return;
  const std::string process = "/proc/" + std::to_string(pid);
  const auto groups = read_text(process + "/cgroup");
  if (!groups || groups->find(scope_->path().substr(scope_->path().rfind('/'))) != std::string::npos) return;
  // Who is on its way out is in no group any more.
  const auto text = read_text(process + "/stat");
  const auto stat = text ? parse_process_stat(*text) : std::nullopt;
  if (!stat || !stat->runs() || (stat->flags & exiting) != 0) return;
  say("its memory is only watched: the kernel does not let it into " + scope_->path());
  scope_.reset();
}

void RamGuard::look_for_scope() {
  if (!manager_ || scope_ || pid_ == 0) return;
  auto found = RamScope::joined(sysfs_root(), pid_, unit_);
  if (!found) return;
  scope_.emplace(std::move(*found));
}

bool RamGuard::set_limit(int64_t claimed_bytes) {
  if (!scope_ || !scope_->limit(claimed_bytes)) return false;
  if (!manager_) return true;
  // It is in force. That the manager knows too has time, and is nothing to wait for.
  try {
    std::thread([manager = manager_, unit = unit_, limits = limits_for(claimed_bytes)] {
      (void)manager->set_limits(unit, limits, manager_patience_us);
    }).detach();
  } catch (const std::system_error&) {  // no thread left
  }
  return true;
}

void RamGuard::heed_events() {
  if (!scope_ || scope_->events_fd() < 0) return;
  scope_->quiet_events();
  ran_out_ = ran_out_ || scope_->ran_out();
}

void RamGuard::note_use(int64_t used_bytes) {
  most_bytes_ = std::max({most_bytes_, used_bytes, scope_ ? scope_->peak_bytes().value_or(0) : 0});
}

void RamGuard::tell_end(int64_t largest_bytes) {
  if (scope_) note_use(0);
  if (claimed_bytes_ == 0) return;
  const int64_t claimed_bytes = claimed_now();
  if (ran_out_ || (scope_ && scope_->ran_out()))
    return say("it took more than the " + show_size(claimed_bytes) +
               " of RAM that it claimed, and the kernel ended it, or a part of it");
  // Over before it was seen. What a process has with its files in it may be more than its data.
  if (!spoken_of_ && largest_bytes > hard_limit_bytes(most_claimed_bytes_))
    say("it used " + show_size(largest_bytes) + " of RAM and claimed " + show_size(claimed_bytes));
}

std::optional<int64_t> RamGuard::peak_bytes(int64_t largest_bytes) const {
  const int64_t most = std::max(most_bytes_, largest_bytes);
  return most > 0 ? std::optional(most) : std::nullopt;
}

namespace {

// ".../berth-PID", ".../berth-PID.scope" or ".../berth-PID-2.scope".
bool is_scope_of(const std::string& path, const std::string& pid) {
  const std::string name = path.substr(path.rfind('/') + 1);
  const size_t end = 6 + pid.size();
  return name.starts_with("berth-" + pid) && (name.size() == end || name[end] == '.' || name[end] == '-');
}

}  // namespace

RamLimitSeen ram_limit_seen(const PartyInfo& info, int64_t claimed_bytes) {
  if (claimed_bytes == 0 || info.pid_namespace == 0 || info.pid_namespace != own_pid_namespace()) return {};
  const std::string pid = std::to_string(info.pid);
  const auto name = read_word("/proc/" + pid + "/comm");
  if (!name) return {};
  const bool supervised = name == "berth";
  RamLimitSeen out{supervised ? "watched" : "booked", false};
  const auto look_at = [&](pid_t process) {
    const auto group = memory_cgroup_of(sysfs_root(), process);
    if (!group || !memory_limit({group->version, group->path, group->path})) return;
    if (is_scope_of(group->path, pid))
      out.by = "cgroup";
    else if (group->path.find("/berth-", group->mount.size()) != std::string::npos)
      out.in_outer_one = true;
  };
  if (!supervised) look_at(static_cast<pid_t>(info.pid));
  for (const pid_t child : supervised ? children_of("/proc", static_cast<pid_t>(info.pid)) : std::vector<pid_t>{})
    look_at(child);
  if (out.by == "cgroup") out.in_outer_one = false;
  return out;
}

}  // namespace berth
