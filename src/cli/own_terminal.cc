#include "cli/own_terminal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/own_fd.h"

namespace berth {

OwnTerminal::OwnTerminal() {
  std::array<char, 256> name{};
  if (::isatty(STDERR_FILENO) == 1 && ::ttyname_r(STDERR_FILENO, name.data(), name.size()) == 0) path_ = name.data();
}

void OwnTerminal::tell(const std::string& sentence) const {
  if (!is_there()) return;
  const OwnFd fd(::open(path_.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!fd.valid() || ::fstat(fd.get(), &st) != 0 || !S_ISCHR(st.st_mode) || st.st_uid != ::geteuid()) return;
  const std::string text = "\r\nberth: " + sentence + "\r\n";
  (void)!::write(fd.get(), text.data(), text.size());
}

}  // namespace berth
