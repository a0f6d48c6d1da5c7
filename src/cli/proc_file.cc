#include "cli/proc_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/own_fd.h"
#include "base/sys.h"

namespace berth {

std::string read_proc_file(const std::string& path) {
  const OwnFd fd(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  std::string text(size_t{64} << 10, '\0');
  size_t used = 0;
  while (fd.valid() && used < text.size()) {
    const ssize_t got = retry_eintr([&] { return ::read(fd.get(), text.data() + used, text.size() - used); });
    if (got <= 0) break;
    used += static_cast<size_t>(got);
  }
  text.resize(used);
  return text;
}

}  // namespace berth
