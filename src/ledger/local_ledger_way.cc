// What a holder that may be asked to give way hears of besides its record: that work is in flight inside of it,
// and that its owner asks it by hand. Both lie beside its life, where only its owner's uid and root can write.
//
//   u<DIR>/<ID>.s   FIFO: spans of work. Whoever is in one keeps its write end, so a span ends with its last
//                   process, however that ends
//   u<DIR>/<ID>.a   symlink: asked by hand; the holder removes it when it has read it
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/sys.h"
#include "ledger/local_ledger.h"

namespace berth {

namespace {

OwnFd open_span_of(const OwnFd& dir, const PartyId& id) {
  OwnFd fd(retry_eintr([&] {
    return ::openat(dir.get(), (std::string(id.view()) + ".s").c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  }));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0 || !S_ISFIFO(st.st_mode)) return {};
  char byte = 0;
  // 0: nobody is in one. What somebody writes there is nothing to us.
  if (retry_eintr([&] { return ::read(fd.get(), &byte, 1); }) == 0) return {};
  return fd;
}

}  // namespace

OwnFd LocalLedger::open_span() { return open_span_of(own_dir_, id_); }

bool LocalLedger::is_in_span(const Party& party) {
  const OwnFd dir = open_dir_of(party);
  return dir.valid() && open_span_of(dir, party.id).valid();
}

bool LocalLedger::take_request() {
  return own_dir_.valid() && ::unlinkat(own_dir_.get(), (std::string(id_.view()) + ".a").c_str(), 0) == 0;
}

Result<> LocalLedger::request(const Party& party) {
  const OwnFd dir = open_dir_of(party);
  if (!dir.valid()) return sys_error(errno, "cannot use the pool " + pool_.path());
  const std::string name = std::string(party.id.view()) + ".a";
  if (::symlinkat("asked", dir.get(), name.c_str()) == 0 || errno == EEXIST) return success();
  if (errno == EPERM || errno == EACCES) return Error{ErrorKind::not_yours, errno, "that lease is not yours"};
  return sys_error(errno, "cannot write to the pool " + pool_.path());
}

Result<OwnFd> LocalLedger::begin_span(const Party& party) {
  const OwnFd dir = open_dir_of(party);
  const std::string name = std::string(party.id.view()) + ".s";
  if (!dir.valid() || (::mkfifoat(dir.get(), name.c_str(), 0600) != 0 && errno != EEXIST))
    return sys_error(errno, "cannot write to the pool " + pool_.path());
  OwnFd fd(
      retry_eintr([&] { return ::openat(dir.get(), name.c_str(), O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC); }));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0 || !S_ISFIFO(st.st_mode))
    return sys_error(fd.valid() ? ENXIO : errno, "cannot use the pool " + pool_.path());
  return fd;
}

void LocalLedger::remove_way_entries() {
  for (const char* suffix : {".s", ".a"}) ::unlinkat(own_dir_.get(), (std::string(id_.view()) + suffix).c_str(), 0);
}

}  // namespace berth
