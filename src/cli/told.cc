#include "cli/told.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/sys.h"
#include "cli/table.h"

namespace berth {

std::optional<Told> ask_party(const LocalPool& pool, const Party& party) {
  std::string target(max_target_bytes + 1, '\0');
  const std::string name(pool.entry_name(party));
  struct stat st {};
  const ssize_t length =
      retry_eintr([&] { return ::readlinkat(pool.fd(), name.c_str(), target.data(), target.size()); });
  if (length >= 0 && ::fstatat(pool.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0)
    return Told{decode_info({target.data(), static_cast<size_t>(length)}), st.st_uid};
  if (errno == ENOENT) return std::nullopt;
  // It is there, and that is what matters most.
  return Told{PartyInfo{}, static_cast<uid_t>(std::strtoul(std::string(party.dir()).c_str(), nullptr, 10))};
}

std::string short_name(const PartyInfo& info, const PartyId& id) {
  constexpr size_t longest = 32;
  std::string name = info.label;
  if (name.empty()) name = info.command.substr(0, info.command.find(' '));
  if (name.empty()) name = id.view();
  return shortened(name, longest);
}

}  // namespace berth
