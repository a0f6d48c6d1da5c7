#include "run/service_manager.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/memory_cgroup.h"
#include "base/small_file.h"
#include "base/sys.h"
#include "base/text.h"
#include "base/user.h"

namespace berth {

namespace {

constexpr const char* service = "org.freedesktop.systemd1";
constexpr const char* object = "/org/freedesktop/systemd1";
constexpr const char* manager = "org.freedesktop.systemd1.Manager";

bool is_socket(const std::string& path) {
  struct stat st {};
  return ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

// XDG_RUNTIME_DIR may be another's: su and sudo keep it.
std::string runtime_directory(const std::string& root) {
  const char* said = std::getenv("XDG_RUNTIME_DIR");
  struct stat st {};
  if (said != nullptr && *said == '/' && ::stat(said, &st) == 0 && st.st_uid == ::geteuid()) return said;
  return root + "/run/user/" + std::to_string(::geteuid());
}

// As sd_bus_set_address() takes it: what is not plain is escaped.
std::string as_address(const std::string& socket) {
  constexpr const char* plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.";
  constexpr const char* digits = "0123456789abcdef";
  std::string out = "unix:path=";
  for (const char c : socket) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::string_view(plain).find(c) != std::string_view::npos)
      out += c;
    else
      out += std::string("%") + digits[byte >> 4U] + digits[byte & 15U];
  }
  return out;
}

}  // namespace

// One conversation. Every call here is one that does not wait, and between them the bus is driven until an answer is
// there or the time is over: sd_bus_call() would wait for a manager that is stopped as long as it likes.
class ServiceManager::Talk {
 public:
  Talk(const SdBus& calls, int64_t until_us) : calls_(calls), until_us_(until_us) {}
  Talk(const Talk&) = delete;
  Talk& operator=(const Talk&) = delete;
  ~Talk() { hang_up(); }

  // Whether somebody listens at one of them.
  bool begin(const std::vector<Address>& addresses) {
    for (const Address& address : addresses) {
      if (calls_.make(&bus_) < 0) return false;
      is_bus_ = address.is_bus;
      if (calls_.set_address(bus_, as_address(address.socket).c_str()) >= 0 &&
          calls_.set_bus_client(bus_, is_bus_ ? 1 : 0) >= 0 && calls_.start(bus_) >= 0)
        return true;
      hang_up();
    }
    return false;
  }

  // A scope is there when its job is done, and the end of jobs is told to those who want to hear it.
  bool start_scope(const std::string& unit, const MemoryLimits& limits) {
    unit_ = unit;
    const char* sender = is_bus_ ? service : nullptr;
    if (calls_.match_signal_async(bus_, nullptr, sender, object, manager, "JobRemoved", heard_job, heard_anything,
                                  this) < 0)
      return false;
    send("Subscribe", heard_anything, [](sd_bus_message*) { return 0; });
    const auto fill = [&](sd_bus_message* message) {
      return calls_.append(message, "ssa(sv)a(sa(sv))", unit.c_str(), "fail", 7,    //
                           "Description", "s", "A command that berth run started",  //
                           "PIDs", "au", 1, uint32_t{0},                            //
                           "Delegate", "b", 1,                                      //
                           "CollectMode", "s", "inactive-or-failed",                //
                           "MemoryMax", "t", uint64_t(limits.hard_bytes),           //
                           "MemoryHigh", "t", uint64_t(limits.soft_bytes),          //
                           "MemorySwapMax", "t", uint64_t{0},                       //
                           0);
    };
    return send("StartTransientUnit", heard_reply, fill) && drive([this] { return job_ended_ || refused_; }) &&
           job_ended_ && job_done_;
  }

  bool set_limits(const std::string& unit, const MemoryLimits& limits) {
    const auto fill = [&](sd_bus_message* message) {
      return calls_.append(message, "sba(sv)", unit.c_str(), 1, 2, "MemoryMax", "t", uint64_t(limits.hard_bytes),
                           "MemoryHigh", "t", uint64_t(limits.soft_bytes));
    };
    return send("SetUnitProperties", heard_reply, fill) && drive([this] { return replied_ || refused_; }) && replied_;
  }

 private:
  static int heard_anything(sd_bus_message* /*message*/, void* /*self*/, sd_bus_error* /*error*/) { return 0; }
  static int heard_reply(sd_bus_message* message, void* self, sd_bus_error* /*error*/) {
    auto& talk = *static_cast<Talk*>(self);
    (talk.calls_.get_error(message) != nullptr ? talk.refused_ : talk.replied_) = true;
    return 0;
  }
  static int heard_job(sd_bus_message* message, void* self, sd_bus_error* /*error*/) {
    auto& talk = *static_cast<Talk*>(self);
    uint32_t id = 0;
    const char* job = nullptr;
    const char* unit = nullptr;
    const char* result = nullptr;
    if (talk.calls_.read(message, "uoss", &id, &job, &unit, &result) < 0 || talk.unit_ != unit) return 0;
    talk.job_ended_ = true;
    talk.job_done_ = std::string_view(result) == "done";
    return 0;
  }

  template <class Fill>
  bool send(const char* member, SdBusHandler heard, const Fill& fill) {
    sd_bus_message* message = nullptr;
    if (calls_.new_method_call(bus_, &message, is_bus_ ? service : nullptr, object, manager, member) < 0) return false;
    const int64_t left_us = until_us_ - monotonic_us();
    const bool sent = left_us > 0 && fill(message) >= 0 &&
                      calls_.call_async(bus_, nullptr, message, heard, this, static_cast<uint64_t>(left_us)) >= 0;
    calls_.unref_message(message);
    return sent;
  }

  template <class Until>
  bool drive(const Until& until) {
    while (!until()) {
      const int64_t left_us = until_us_ - monotonic_us();
      if (left_us <= 0) return false;
      const int did = calls_.process(bus_, nullptr);
      if (did < 0) return false;
      if (did == 0 && !until())
        if (const int woke = calls_.wait(bus_, static_cast<uint64_t>(left_us)); woke < 0 && woke != -EINTR)
          return false;
    }
    return true;
  }

  void hang_up() {
    if (bus_ == nullptr) return;
    calls_.close(bus_);
    calls_.unref(bus_);
    bus_ = nullptr;
  }

  const SdBus& calls_;
  int64_t until_us_;
  sd_bus* bus_ = nullptr;
  bool is_bus_ = false;
  std::string unit_;
  bool replied_ = false;
  bool refused_ = false;
  bool job_ended_ = false;
  bool job_done_ = false;
};

// Its own socket first, as systemctl(1) has it: that is there without a message bus.
std::vector<ServiceManager::Address> ServiceManager::addresses(const std::string& root) {
  std::vector<Address> all;
  if (::geteuid() == 0) {
    all = {{root + "/run/systemd/private", false}, {root + "/run/dbus/system_bus_socket", true}};
  } else {
    const std::string directory = runtime_directory(root);
    all = {{directory + "/systemd/private", false}, {directory + "/bus", true}};
  }
  std::erase_if(all, [](const Address& address) { return !is_socket(address.socket); });
  return all;
}

NoManager ServiceManager::missing(const std::string& root) {
  const auto own = own_memory_cgroup(root);
  if (!own)
    return {"no memory cgroup is seen from here",
            "a container needs a /sys/fs/cgroup that it may write to, any kernel CONFIG_MEMCG"};
  if (own->version != 2)
    return {"the memory controller is with cgroup version 1, where only root may make groups",
            "boot with systemd.unified_cgroup_hierarchy=1"};
  const bool root_asks = ::geteuid() == 0;
  if (addresses(root).empty() && root_asks)
    return {"no systemd runs here",
            "start it in a cgroup whose parent gives the memory controller: cgroup.subtree_control"};
  const std::string user = user_name(::geteuid());
  if (addresses(root).empty())
    return {"no systemd of this user's runs here (systemctl --user status)",
            "log in by way of PAM (libpam-systemd), or as root: loginctl enable-linger " + user};
  if (root_asks) return {};
  const std::string uid = std::to_string(::geteuid());
  const auto given =
      read_word(own->mount + "/user.slice/user-" + uid + ".slice/user@" + uid + ".service/cgroup.controllers");
  if (!given) return {};  // elsewhere, by an admin's choice; then what comes of it is looked at
  for (const std::string& controller : split(*given, ' '))
    if (controller == "memory") return {};
  return {"this user's systemd was not given the memory controller",
          "write [Service] and Delegate=cpu pids memory to /etc/systemd/system/user@.service.d/delegate.conf, and have "
          "the user log in anew"};
}

std::shared_ptr<const ServiceManager> ServiceManager::find(const std::string& root) {
  if (!missing(root).why.empty()) return nullptr;
  auto calls = SdBus::load(libsystemd);
  if (!calls) return nullptr;
  return std::shared_ptr<const ServiceManager>(new ServiceManager(addresses(root), std::move(calls)));
}

bool ServiceManager::enter_scope(const std::string& unit, const MemoryLimits& limits, int64_t patience_us) const {
  Talk talk(*calls_, monotonic_us() + patience_us);
  return talk.begin(addresses_) && talk.start_scope(unit, limits);
}

bool ServiceManager::set_limits(const std::string& unit, const MemoryLimits& limits, int64_t patience_us) const {
  Talk talk(*calls_, monotonic_us() + patience_us);
  return talk.begin(addresses_) && talk.set_limits(unit, limits);
}

}  // namespace berth
