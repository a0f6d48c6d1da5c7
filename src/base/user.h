// Users as people call them.
#pragma once

#include <sys/types.h>

#include <string>

namespace berth {

// The user's name for a uid; the number as text where it has none.
[[nodiscard]] std::string user_name(uid_t uid);

}  // namespace berth
