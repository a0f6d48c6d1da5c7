// SHA-256 (FIPS 180-4), for the one place where a pool must know a secret without showing it. Own code
// because libcrypto would cost every start more than berth itself.
#pragma once

#include <string>
#include <string_view>

namespace berth {

// 64 lower-case hexadecimal digits.
[[nodiscard]] std::string sha256_hex(std::string_view data);

}  // namespace berth
