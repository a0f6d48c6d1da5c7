#include "base/result.h"

#include <cstring>

namespace berth {

Error sys_error(int sys_errno, std::string what, ErrorKind kind) {
  char buffer[128];
  // GNU strerror_r may return a pointer to its own constant text.
  const char* text = strerror_r(sys_errno, buffer, sizeof buffer);
  what += ": ";
  what += text;
  return Error{kind, sys_errno, std::move(what)};
}

}  // namespace berth
