// doctor: what is wrong with this pool or machine, each with the mend. Looks, and changes nothing.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/container.h"
#include "cli/exit_status.h"
#include "cli/pool_access.h"
#include "cli/say.h"
#include "cli/view.h"
#include "device/probe_run.h"
#include "ledger/local_ledger.h"
#include "ledger/pool_lock.h"

namespace berth {

namespace {

class Findings {
 public:
  void fine(const std::string& sentence) { text_ += "ok    " + sentence + "\n"; }
  void note(const std::string& sentence) { text_ += "note  " + sentence + "\n"; }
  void wrong(const std::string& sentence, const std::string& mend) {
    text_ += "WRONG " + sentence + "\n      mend: " + mend + "\n";
    ++count_;
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] int count() const { return count_; }

 private:
  std::string text_;
  int count_ = 0;
};

bool exists(const char* path) {
  struct stat st {};
  return ::lstat(path, &st) == 0;
}

void look_at_place(Findings& out, const std::string& path) {
  const char* env = std::getenv("BERTH_POOL");
  const bool chosen = env != nullptr && *env != '\0';
  out.note("the pool is " + path + (chosen ? " (BERTH_POOL says so)" : ""));
  if (!chosen && exists("/run/berth") && exists("/dev/shm/berth"))
    out.wrong("there are two default pools, /run/berth and /dev/shm/berth; jobs in one do not see the other's",
              "let the jobs of /dev/shm/berth end, then: rm -r /dev/shm/berth");
  if (path.starts_with("/dev/shm/")) {
    out.note("in /dev/shm whoever made the pool can upset it, and every container has another");
    if (exists("/run/systemd/system"))
      out.wrong("systemd-logind empties /dev/shm of a user's files at his last logout, running jobs' too (RemoveIPC)",
                "as root: install -d -m 1777 /run/berth   (or RemoveIPC=no in /etc/systemd/logind.conf)");
  }
  if (in_container() && !is_mount_point(path))
    out.wrong("this is a container with a pool of its own, which the host and other containers do not see",
              "docker run -v /run/berth:/run/berth ...");
}

void look_at_directory(Findings& out, LocalPool& pool) {
  struct stat st {};
  if (::fstat(pool.fd(), &st) != 0) return;
  std::array<char, 16> mode{};
  std::snprintf(mode.data(), mode.size(), "%04o", st.st_mode & 07777U);
  out.note("it belongs to " + user_name(st.st_uid) + " and has mode " + mode.data());
  if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0)
    out.wrong("everybody can write to it and it lacks the sticky bit: anyone can remove anyone's lease",
              "chmod 1777 " + pool.path());
  if (::faccessat(pool.fd(), ".", W_OK | X_OK, AT_EACCESS) != 0)
    out.wrong("you cannot write to it", "chmod 1777 " + pool.path() + ", or set BERTH_POOL to another");
  struct statfs fs {};
  if (::fstatfs(pool.fd(), &fs) == 0 && fs.f_blocks > 0 && fs.f_bavail == 0)
    out.wrong("its file system is full", "free some of it: df " + pool.path());
  if (fs.f_files > 0 && fs.f_ffree == 0) out.wrong("its file system has no inode left", "df -i " + pool.path());
}

void look_inside(Findings& out, LocalPool& pool, const PoolView& view) {
  if (!pool.config_complaint().empty())
    out.wrong(pool.config_complaint(), "its owner or root: berth set cpu=N, or rm " + pool.path() + "/pool");
  if (!view.snapshot.newer_name.empty())
    out.wrong("a newer berth uses this pool (entry " + printable(view.snapshot.newer_name) + ")", "upgrade this one");
  if (view.snapshot.garbage > 0)
    out.wrong(
        std::to_string(view.snapshot.garbage) + " entries look like records and cannot be read; they count as nothing",
        "see ls -l " + pool.path() + ", and have their owner or root remove them");
  out.note(std::to_string(view.leases.size()) + " live parties");
  if (view.dead > 0)
    out.note(std::to_string(view.dead) +
             " dead records; they count as nothing, and their owner's or root's next commands remove them");
  size_t strange = 0;
  pool.each_entry([&](std::string_view name) {
    const bool record = name.size() > 3 && name[2] == ',' && (name[0] == 'h' || name[0] == 'w' || name[0] == 'a');
    if (!record && name != config_entry && name[0] != 'u' && !name.starts_with(".pool-")) ++strange;
  });
  if (strange > 0) out.note(std::to_string(strange) + " other entries lie in it; they are ignored");
  for (const LeaseView& lease : view.leases) {
    const Party& party = view.snapshot.parties[static_cast<size_t>(lease.party)];
    const std::string dir(party.dir());
    if (dir.substr(0, dir.find('.')) != std::to_string(lease.uid))
      out.note("lease " + std::string(party.id.view()) + " was made by uid " + dir +
               " of a user namespace; here it is " + lease.user);
  }
}

void look_at_lock(Findings& out, LocalPool& pool) {
  const std::string holder = lock_holder(pool.fd());
  if (holder.empty()) return out.fine("nobody sits on the pool's lock");
  if (holder.find("stopped") != std::string::npos)
    return out.wrong("the pool's lock is held by " + holder + "; all others wait for it",
                     "kill -CONT that process, or kill it");
  out.note("the pool's lock is held by " + holder + " at this moment");
}

void look_at_devices(Findings& out) {
  const auto devices = probe_devices(std::getenv("BERTH_SIM_GPUS"), sysfs_root());
  if (!devices) return out.wrong(devices.error().message, "mend or unset BERTH_SIM_GPUS");
  if (devices->devices.empty()) return out.note("no GPU is seen from here (this version knows simulated ones only)");
  for (const Device& d : devices->devices)
    out.note("GPU " + std::to_string(d.index) + ": " + d.name + ", " + show_size(d.vram_total_bytes) + ", " + d.uuid);
}

}  // namespace

int doctor_command(const Words& words) {
  if (!words.empty()) {
    if (words.front() == "--help" || words.front() == "-h")
      return put(help_text("doctor")) ? exit_status::ok : exit_status::unavailable;
    return fail_usage("doctor", "unknown word " + printable(words.front()));
  }
  Findings out;
  const std::string path = default_pool_path(std::getenv("BERTH_POOL"));
  look_at_place(out, path);
  auto pool = LocalPool::open(path, LocalPool::IfMissing::fail);
  if (!pool && pool.error().sys_errno == ENOENT) {
    out.note("nobody has made it yet; the first berth run does");
  } else if (!pool) {
    out.wrong(pool.error().message, "set BERTH_POOL to a directory under /run or /dev/shm");
  } else {
    look_at_directory(out, *pool);
    auto view = view_pool(*pool, {});
    if (!view)
      out.wrong(view.error().message, "see ls -la " + path);
    else
      look_inside(out, *pool, *view);
    look_at_lock(out, *pool);
  }
  look_at_devices(out);
  const std::string end = out.count() == 0 ? "All is well.\n" : std::to_string(out.count()) + " to mend.\n";
  if (!put(out.text() + end)) return exit_status::unavailable;
  return out.count() == 0 ? exit_status::ok : 1;
}

}  // namespace berth
