#include "base/small_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string_view>

#include "base/own_fd.h"
#include "base/sys.h"
#include "base/text.h"

namespace berth {

Result<std::string> read_text(const std::string& path, size_t most) {
  // Not blocking: what is read are files that a kernel makes up, or a recording of them, never a FIFO.
  const OwnFd fd(retry_eintr([&] { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); }));
  if (!fd.valid()) return sys_error(errno, path);
  std::string out;
  std::array<char, 4096> block{};
  while (out.size() < most) {
    const size_t want = std::min(block.size(), most - out.size());
    const ssize_t got = retry_eintr([&] { return ::read(fd.get(), block.data(), want); });
    if (got < 0) return sys_error(errno, path);
    if (got == 0) break;
    out.append(block.data(), static_cast<size_t>(got));
  }
  return out;
}

std::optional<std::string> read_word(const std::string& path) {
  auto text = read_text(path, 4096);
  if (!text) return std::nullopt;
  text->resize(text->find_last_not_of(" \t\r\n") + 1);
  if (text->empty()) return std::nullopt;
  return std::move(*text);
}

std::optional<int64_t> read_count(const std::string& path) {
  const auto word = read_word(path);
  return word ? parse_count(*word) : std::nullopt;
}

Result<std::vector<std::string>> list_names(const std::string& path, size_t most) {
  struct Close {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };
  const std::unique_ptr<DIR, Close> dir(::opendir(path.c_str()));
  if (!dir) return sys_error(errno, path);
  std::vector<std::string> names;
  while (names.size() < most) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr && errno != 0) return sys_error(errno, path);
    if (entry == nullptr) break;
    const std::string_view name = static_cast<const char*>(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace berth
