#include "base/user.h"

#include <pwd.h>

#include <array>

#include "base/text.h"

namespace berth {

std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 4096> buffer{};
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return printable(found->pw_name);
  return std::to_string(uid);
}

}  // namespace berth
