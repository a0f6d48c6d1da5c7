// LocalPool: a directory on a tmpfs that holds a pool. Finding it, making it, refusing what cannot
// be one, and reading all of it in one atomic look. Knows nothing of who does what with it.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/own_fd.h"
#include "base/result.h"
#include "core/snapshot.h"
#include "ledger/pool_config.h"

namespace berth {

inline constexpr const char* config_entry = "pool";

// Where the pool is, before it is opened: $BERTH_POOL, else /run/berth where it exists or root can
// make it, else /dev/shm/berth. `env` is the value of BERTH_POOL or null. Touches the file system
// only to look.
[[nodiscard]] std::string default_pool_path(const char* env);

// One directory, one getdents64: calls visit(name, type, inode) for every entry but . and ..
// `size_hint` is st_size, from which a tmpfs tells how many entries there are.
Result<size_t> read_directory(int fd, int64_t size_hint, std::unique_ptr<char[]>& buffer, size_t& buffer_size);
struct DirEntry {
  std::string_view name;
  unsigned char type = 0;
  uint64_t inode = 0;
  uint32_t offset = 0;
};
// Decodes the entry at `offset` of a getdents64 buffer and moves `offset` to the next one.
[[nodiscard]] DirEntry next_entry(const char* buffer, size_t& offset);

class LocalPool {
 public:
  enum class IfMissing { create, fail };

  // Opens the pool, makes it (mode 1777) if it is missing and that is asked for. Errors
  // (unavailable), each one sentence that says what to do: not a directory, a symbolic link, not on
  // a tmpfs, writable by all without the sticky bit, not writable, not there.
  [[nodiscard]] static Result<LocalPool> open(const std::string& path, IfMissing if_missing);

  // Where the directory was removed: opens the one that is there now, or makes it, under the same
  // descriptor number. Errors as open(), and then nothing has changed.
  [[nodiscard]] Result<> reopen();

  [[nodiscard]] int fd() const { return dir_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] uid_t owner() const { return owner_; }

  // True once the directory has been removed: whatever still holds it open is nobody's pool. As of
  // the last look; a look fills it in.
  [[nodiscard]] bool removed() const { return removed_; }

  // True if a record that the last read() had to look at more closely had been renamed or was gone by
  // then, and so was left out. Under the lock that is nobody alive; who reads without it reads again.
  [[nodiscard]] bool moved() const { return moved_; }

  // One getdents64 into a buffer that is sure to be large enough. tmpfs holds the directory's lock
  // throughout, so what comes back is one moment's picture. Not thread-safe.
  [[nodiscard]] Result<Snapshot> read();
  // The same without the scan: decodes what the last line_is_empty() saw. Only for who has held the
  // lock since.
  [[nodiscard]] Result<Snapshot> read_again();
  // The name of the entry that a party of the last read() came from. Dies with the next read().
  [[nodiscard]] std::string_view entry_name(const Party& party) const;
  // Visits the names of the last read(): records, directories and whatever else lies there.
  template <class Visit>
  void each_entry(Visit visit) const {
    for (size_t offset = 0; offset < used_;) {
      const std::string_view name = next_entry(buffer_.get(), offset).name;
      if (name != "." && name != "..") visit(name);
    }
  }

  // The config of the last read(), or null where there is none or none that can be believed.
  [[nodiscard]] const PoolConfig* config() const { return config_known_ ? &config_ : nullptr; }
  // Set when the config stands but is not believed: written by a stranger, or garbled.
  [[nodiscard]] const std::string& config_complaint() const { return config_complaint_; }

  // Before a long sleep: gives a large scan buffer back. The next read() makes another.
  void shrink_buffer();
  // True if nobody stands in line. A fresh look, cheaper than read(): decodes nothing.
  [[nodiscard]] Result<bool> line_is_empty();

 private:
  Result<> scan();
  [[nodiscard]] Error too_much() const;
  void vet(Snapshot& snapshot);
  [[nodiscard]] bool written_by_its_owner(const Party& party);
  Result<> read_config(uint64_t inode);

  OwnFd dir_;
  std::string path_;
  uid_t owner_ = 0;
  std::unique_ptr<char[]> buffer_;
  size_t buffer_size_ = 0;
  size_t used_ = 0;
  bool removed_ = false;
  bool moved_ = false;
  PoolConfig config_;
  bool config_known_ = false;
  uint64_t config_inode_ = 0;
  std::string config_complaint_;
};

}  // namespace berth
