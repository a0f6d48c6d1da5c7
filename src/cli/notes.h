// What everybody who looks at a pool should know of it, and may not think of asking doctor for.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "core/snapshot.h"
#include "ledger/local_pool.h"

namespace berth {

// The default pool that is not used, where it is there too and BERTH_POOL says nothing.
struct SecondPool {
  std::string path;
  uid_t owner = 0;
  int parties = 0;  // living ones
};
[[nodiscard]] std::optional<SecondPool> second_default_pool();

// Directories of parties that their owner has closed to others: nobody else can ask who lives in them.
struct ClosedDirectory {
  std::string dir;  // without the 'u'
  uid_t owner = 0;
};
[[nodiscard]] std::vector<ClosedDirectory> closed_directories(const LocalPool& pool, const Snapshot& snapshot);

// A sentence each. Of the place alone, for a pool that nobody has made yet.
[[nodiscard]] std::vector<std::string> notes_on_place();
[[nodiscard]] std::vector<std::string> notes_on(const LocalPool& pool, const Snapshot& snapshot);

}  // namespace berth
