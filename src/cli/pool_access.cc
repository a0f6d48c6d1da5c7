#include "cli/pool_access.h"

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "base/text.h"

namespace berth {

// The job is told where the pool is, and may go elsewhere before it asks.
Result<LocalPool> open_pool(LocalPool::IfMissing if_missing) {
  std::string path = default_pool_path(std::getenv("BERTH_POOL"));
  if (path.front() != '/') {
    std::error_code failed;
    const std::filesystem::path here = std::filesystem::current_path(failed);
    if (failed) return sys_error(failed.value(), "cannot tell where the pool " + path + " is");
    const bool plain = path.find("..") == std::string::npos;  // else a link on the way may lead elsewhere
    path = plain ? (here / path).lexically_normal() : here / path;
  }
  return LocalPool::open(path, if_missing);
}

Result<LocalPool> open_pool_of_a_lease() {
  auto pool = open_pool(LocalPool::IfMissing::fail);
  if (!pool && pool.error().sys_errno == ENOENT)
    return Error{ErrorKind::not_found, 0, "there is no lease: there is no pool"};
  return pool;
}

}  // namespace berth
