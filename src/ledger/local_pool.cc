#include "ledger/local_pool.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>

#include "base/sys.h"
#include "base/user.h"
#include "ledger/machine.h"
#include "ledger/record.h"

namespace berth {

namespace {

constexpr long tmpfs_magic = 0x01021994;  // linux/magic.h
constexpr long ramfs_magic = 0x858458f6;
constexpr const char* system_pool = "/run/berth";
constexpr const char* fallback_pool = "/dev/shm/berth";

Error refuse(std::string message) { return Error{ErrorKind::unavailable, 0, std::move(message)}; }

bool is_directory(const char* path) {
  struct stat st {};
  return ::lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

const char* file_system_name(long type) {
  switch (type) {
    case 0x6969: return "NFS";
    case 0xFF534D42: return "CIFS";
    case 0xFE534D42: return "SMB";
    case 0x65735546: return "FUSE";
    case 0xEF53: return "ext4";
    case 0x9123683E: return "btrfs";
    case 0x58465342: return "XFS";
    case 0x794C7630: return "overlayfs";
    case 0x01021997: return "9p";
    case 0x00C36400: return "Ceph";
    default: return "another file system";
  }
}

Result<> check_file_system(int fd, const std::string& path) {
  struct statfs fs {};
  if (retry_eintr([&] { return ::fstatfs(fd, &fs); }) != 0) return sys_error(errno, "cannot examine " + path);
  if (fs.f_type == tmpfs_magic || fs.f_type == ramfs_magic) return success();
  return refuse("the pool " + path + " is on " + file_system_name(fs.f_type) +
                "; a pool must be on a tmpfs of this machine: set BERTH_POOL to a directory under /run or /dev/shm");
}

// Made with its mode in one step: nobody ever sees it with another, and a crash leaves no draft. The
// umask is the process's own for these few instructions; a pool is made once in a machine's life.
Result<> create_pool(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const OwnFd parent_fd(retry_eintr([&] { return ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (!parent_fd.valid()) return sys_error(errno, "cannot make the pool " + path + ": " + parent);
  if (auto fine = check_file_system(parent_fd.get(), path); !fine) return fine;
  const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  const mode_t umask_was = ::umask(0);
  const int failed = retry_eintr([&] { return ::mkdirat(parent_fd.get(), name.c_str(), 01777); }) != 0 ? errno : 0;
  ::umask(umask_was);
  // Somebody else was quicker: that one is as good.
  if (failed != 0 && failed != EEXIST) return sys_error(failed, "cannot make the pool " + path);
  return success();
}

Result<> check_pool(int fd, const std::string& path, const struct stat& st) {
  if (auto fine = check_file_system(fd, path); !fine) return fine;
  if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0)
    return refuse("the pool " + path + " is writable by everybody without the sticky bit, so anyone could remove " +
                  "anyone's lease: chmod 1777 " + path);
  if (::faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) != 0) {
    const int failed = errno;
    return sys_error(failed,
                     "cannot write to the pool " + path +
                         (failed == EROFS ? " (in a container mount it without :ro)"
                                          : " (mode 1777 lets every user take part; BERTH_POOL names another pool)"));
  }
  return success();
}

}  // namespace

std::string default_pool_path(const char* env) {
  if (env != nullptr && *env != '\0') {
    std::string path = env;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
  }
  struct stat st {};
  if (::lstat(system_pool, &st) == 0) return system_pool;
  if (::geteuid() == 0 && is_directory("/run")) {
    struct statfs fs {};
    if (::statfs("/run", &fs) == 0 && fs.f_type == tmpfs_magic) return system_pool;
  }
  return fallback_pool;
}

Result<LocalPool> LocalPool::open(const std::string& path, IfMissing if_missing) {
  constexpr int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int fd = retry_eintr([&] { return ::open(path.c_str(), flags); });
  if (fd < 0 && errno == ENOENT && if_missing == IfMissing::create) {
    if (auto made = create_pool(path); !made) return made.error();
    fd = retry_eintr([&] { return ::open(path.c_str(), flags); });
  }
  if (fd < 0) {
    const int failed = errno;
    struct stat st {};
    const bool link = (failed == ELOOP || failed == ENOTDIR) && ::lstat(path.c_str(), &st) == 0 && S_ISLNK(st.st_mode);
    if (link) return refuse("the pool " + path + " is a symbolic link; a pool must be a directory itself");
    return sys_error(failed, "cannot open the pool " + path);
  }
  LocalPool pool;
  pool.dir_.reset(fd);
  pool.path_ = path;
  struct stat st {};
  if (::fstat(fd, &st) != 0) return sys_error(errno, "cannot examine the pool " + path);
  pool.owner_ = st.st_uid;
  if (if_missing == IfMissing::create) {
    if (auto fine = check_pool(fd, path, st); !fine) return fine.error();
  } else if (auto fine = check_file_system(fd, path); !fine) {
    return fine.error();
  }
  return pool;
}

Result<> LocalPool::reopen() {
  auto fresh = open(path_, IfMissing::create);
  if (!fresh) return fresh.error();
  if (::dup3(fresh->dir_.get(), dir_.get(), O_CLOEXEC) < 0) return sys_error(errno, "cannot open the pool " + path_);
  owner_ = fresh->owner_;
  removed_ = false;
  config_known_ = false;
  config_inode_ = 0;
  return success();
}

Result<size_t> read_directory(int fd, int64_t size_hint, std::unique_ptr<char[]>& buffer, size_t& buffer_size) {
  // A tmpfs counts 20 bytes of st_size an entry; a dirent takes at most 280 bytes.
  const size_t wanted = std::max<size_t>(size_t{32} << 10, static_cast<size_t>(size_hint) / 20 * 280 + 4096);
  for (int tries = 0; tries < 12; ++tries) {
    if (buffer == nullptr || buffer_size < wanted << tries) {
      buffer_size = wanted << tries;
      // Not value-initialised: only what is used is ever touched.
      buffer.reset(new (std::nothrow) char[buffer_size]);
      if (buffer == nullptr) return Error{ErrorKind::unavailable, ENOMEM, "no memory to read the pool"};
    }
    if (::lseek(fd, 0, SEEK_SET) < 0) return sys_error(errno, "cannot read the pool");
    const long got = retry_eintr([&] { return ::syscall(SYS_getdents64, fd, buffer.get(), buffer_size); });
    if (got < 0) return sys_error(errno, "cannot read the pool");
    // A second call that finds nothing proves that the first took it all at once.
    std::array<char, 512> probe{};
    const long more = retry_eintr([&] { return ::syscall(SYS_getdents64, fd, probe.data(), probe.size()); });
    if (more < 0) return sys_error(errno, "cannot read the pool");
    if (more == 0) return static_cast<size_t>(got);
  }
  return refuse("the pool holds more entries than can be read at once");
}

DirEntry next_entry(const char* buffer, size_t& offset) {
  const auto* entry = reinterpret_cast<const dirent64*>(buffer + offset);  // NOLINT: the kernel's own layout
  DirEntry out{entry->d_name, entry->d_type, entry->d_ino, static_cast<uint32_t>(offset)};
  offset += entry->d_reclen;
  return out;
}

Result<> LocalPool::scan() {
  struct stat st {};
  if (::fstat(dir_.get(), &st) != 0) return sys_error(errno, "cannot examine the pool " + path_);
  removed_ = st.st_nlink == 0;
  auto got = read_directory(dir_.get(), st.st_size, buffer_, buffer_size_);
  if (!got) return got.error();
  used_ = *got;
  return success();
}

Result<Snapshot> LocalPool::read() {
  if (auto scanned = scan(); !scanned) return scanned.error();
  return read_again();
}

Result<Snapshot> LocalPool::read_again() {
  moved_ = false;
  Snapshot snapshot;
  snapshot.now_us = wall_us();
  // A record takes about 110 bytes of the scan; room for all at once, and one for a newcomer.
  snapshot.parties.reserve(used_ / 88 + 1);
  snapshot.amounts.reserve(used_ / 88 + 1);
  std::string target;
  uint64_t config_inode = 0;
  // The config comes first, so that resources keep their order whoever reads.
  for (size_t offset = 0; offset < used_ && config_inode == 0;) {
    const DirEntry e = next_entry(buffer_.get(), offset);
    if (e.name == config_entry) config_inode = e.inode;
  }
  if (config_inode != config_inode_ || config_inode == 0) {
    if (auto read = read_config(config_inode); !read) return read.error();
  }
  if (config_known_) {
    for (const NamedAmount& c : config_.capacities) snapshot.resources.push_back({c.name, c.amount});
    snapshot.policy = config_.policy;
  }
  for (size_t offset = 0; offset < used_;) {
    const DirEntry e = next_entry(buffer_.get(), offset);
    if (e.type != DT_LNK) continue;
    Decoded decoded = decode_record(e.name, {}, snapshot);
    if (decoded == Decoded::needs_target) {
      target.resize(max_target_bytes + 1);
      const ssize_t length =
          retry_eintr([&] { return ::readlinkat(dir_.get(), e.name.data(), target.data(), target.size()); });
      if (length < 0 && errno == ENOENT) {  // gone or renamed since: outside the lock that can be
        moved_ = true;
        continue;
      }
      // A claim that cannot be read may hold anything: nobody can plan around it.
      if (length < 0) return sys_error(errno, "cannot read a record of the pool " + path_);
      target.resize(static_cast<size_t>(length));
      decoded = decode_record(e.name, target, snapshot);
    }
    if (decoded == Decoded::no_room) return too_much();
    if (decoded == Decoded::ok) snapshot.parties.back().entry = e.offset;
    if (decoded == Decoded::garbage) ++snapshot.garbage;
    if (decoded == Decoded::newer) snapshot.newer_name = e.name;
  }
  if (!snapshot.has_room()) return too_much();  // the reader's own must fit as well
  vet(snapshot);
  return snapshot;
}

// Whoever left out what does not fit would give its place away. So nobody plans, and the user with the
// most records is named.
Error LocalPool::too_much() const {
  std::map<uid_t, int> records;
  for (size_t offset = 0; offset < used_;) {
    const DirEntry e = next_entry(buffer_.get(), offset);
    struct stat st {};
    if (e.type == DT_LNK && ::fstatat(dir_.get(), e.name.data(), &st, AT_SYMLINK_NOFOLLOW) == 0) ++records[st.st_uid];
  }
  std::string who;
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  if (const auto most = std::max_element(records.begin(), records.end(), fewer); most != records.end())
    who = "; most of them, " + std::to_string(most->second) + ", are the user's " + user_name(most->first);
  return refuse("the pool " + path_ + " has more records, or names more devices, than can be told apart" + who);
}

// A record says itself whose it is, and nobody looks while it is the only one to say so: a stranger's
// that names a life of another's is as good as one of his own. It is looked at where it could do harm:
// where several have one id, and where somebody is inside of somebody. Both are rare.
void LocalPool::vet(Snapshot& snapshot) {
  const auto word_of = [](const PartyId& id) {
    uint64_t word = 0;
    std::memcpy(&word, id.text.data(), sizeof word);
    return word;
  };
  std::vector<uint64_t> ids;
  ids.reserve(snapshot.parties.size());
  std::set<PartyKey> parents;
  for (const Party& p : snapshot.parties) {
    ids.push_back(word_of(p.id));
    if (p.nested) parents.insert(p.parent_key());
  }
  std::sort(ids.begin(), ids.end());
  std::vector<uint64_t> twins;
  for (size_t i = 1; i < ids.size(); ++i)
    if (ids[i] == ids[i - 1]) twins.push_back(ids[i]);
  if (twins.empty() && parents.empty()) return;
  const auto is_twin = [&](const Party& p) { return std::binary_search(twins.begin(), twins.end(), word_of(p.id)); };
  const size_t all = std::erase_if(snapshot.parties, [&](const Party& p) {
    return (p.nested || is_twin(p) || parents.contains(p)) && !written_by_its_owner(p);
  });
  snapshot.garbage += static_cast<int>(all);
  if (twins.empty()) return;
  const uid_t self = ::geteuid();
  std::stable_partition(snapshot.parties.begin(), snapshot.parties.end(), [&](const Party& p) {
    struct stat st {};
    const std::string dir = "u" + std::string(p.dir());
    return is_twin(p) && ::fstatat(dir_.get(), dir.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == self;
  });
}

bool LocalPool::written_by_its_owner(const Party& party) {
  struct stat record {};
  struct stat directory {};
  const std::string name(entry_name(party));
  const std::string dir = "u" + std::string(party.dir());
  // What cannot be looked at is believed: to leave out a true one would give its place away.
  if (::fstatat(dir_.get(), name.c_str(), &record, AT_SYMLINK_NOFOLLOW) != 0) {
    moved_ |= errno == ENOENT;
    return errno != ENOENT;
  }
  if (::fstatat(dir_.get(), dir.c_str(), &directory, AT_SYMLINK_NOFOLLOW) != 0) return errno != ENOENT;
  return record.st_uid == directory.st_uid;
}

Result<> LocalPool::read_config(uint64_t inode) {
  config_known_ = false;
  config_complaint_.clear();
  config_inode_ = 0;  // until it is understood, it is asked for again
  if (inode == 0) return success();
  std::array<char, max_target_bytes + 1> text{};
  const ssize_t length = retry_eintr([&] { return ::readlinkat(dir_.get(), config_entry, text.data(), text.size()); });
  if (length < 0 && errno == ENOENT) return success();
  if (length < 0 && errno == EINVAL) {
    config_complaint_ = "the entry \"pool\" is not a symbolic link";
    return success();
  }
  struct stat st {};
  // Never take what cannot be read for what is not there: the settings would be written anew.
  if (length < 0 || retry_eintr([&] { return ::fstatat(dir_.get(), config_entry, &st, AT_SYMLINK_NOFOLLOW); }) != 0)
    return sys_error(errno, "cannot read the settings of the pool " + path_);
  PoolConfig read;
  if (!decode_config({text.data(), static_cast<size_t>(length)}, read)) {
    config_complaint_ = "the entry \"pool\" is garbled";
    return success();
  }
  // What the pool's owner or root wrote is believed. Anybody may have been the first party, and should
  // have written what the machine has. What he did write makes no difference: we ask the machine.
  if (st.st_uid != owner_ && st.st_uid != 0) {
    const bool plain = std::all_of(read.capacities.begin(), read.capacities.end(),
                                   [](const NamedAmount& c) { return c.name == "cpu" || c.name == "ram"; });
    if (!plain) {
      config_complaint_ = "the entry \"pool\" was written by uid " + std::to_string(st.st_uid) +
                          ", who does not own the pool, and says more than the machine's own figures";
      return success();
    }
    read = machine_figures();
  }
  config_ = std::move(read);
  config_known_ = true;
  config_inode_ = inode;
  return success();
}

std::string_view LocalPool::entry_name(const Party& party) const {
  size_t offset = party.entry;
  return next_entry(buffer_.get(), offset).name;
}

Result<bool> LocalPool::line_is_empty() {
  if (auto scanned = scan(); !scanned) return scanned.error();
  for (size_t offset = 0; offset < used_;) {
    const DirEntry e = next_entry(buffer_.get(), offset);
    if (e.type == DT_LNK && (e.name[0] == 'w' || e.name[0] == 'a')) return false;
  }
  return true;
}

void LocalPool::shrink_buffer() {
  constexpr size_t small = size_t{64} << 10;
  if (buffer_size_ <= small) return;
  buffer_.reset();
  buffer_size_ = 0;
  used_ = 0;
}

}  // namespace berth
