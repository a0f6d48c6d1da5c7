// What a user's ended leases had: a symlink in his own directory (sched/fair_share.h says what for).
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/local_ledger.h"

namespace berth {

namespace {

constexpr const char* use_entry = "use";

}  // namespace

// The directory as it is: who only asks makes none.
std::string LocalLedger::use_account() {
  const std::string path = "u" + own_dir() + "/" + use_entry;
  struct stat st {};
  if (::fstatat(pool_.fd(), path.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_uid != ::geteuid()) return "";
  std::string text(max_target_bytes + 1, '\0');
  const ssize_t length = ::readlinkat(pool_.fd(), path.c_str(), text.data(), text.size());
  text.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return text;
}

void LocalLedger::write_use_account(const std::string& text) {
  if (!open_own_dir("")) return;
  const std::string draft = std::string(use_entry) + ".d";
  ::unlinkat(own_dir_.get(), draft.c_str(), 0);
  if (::symlinkat(text.c_str(), own_dir_.get(), draft.c_str()) != 0) return;
  if (::renameat(own_dir_.get(), draft.c_str(), own_dir_.get(), use_entry) != 0)
    ::unlinkat(own_dir_.get(), draft.c_str(), 0);
}

}  // namespace berth
