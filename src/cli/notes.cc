#include "cli/notes.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "cli/view.h"
#include "ledger/local_ledger.h"

namespace berth {

std::optional<SecondPool> second_default_pool() {
  const char* env = std::getenv("BERTH_POOL");
  if (env != nullptr && *env != '\0') return std::nullopt;
  constexpr const char* second = "/dev/shm/berth";
  struct stat st {};
  if (default_pool_path(nullptr) == second || ::lstat(second, &st) != 0) return std::nullopt;
  SecondPool out{second, st.st_uid, 0};
  auto pool = LocalPool::open(second, LocalPool::IfMissing::fail);
  if (!pool) return out;
  out.owner = pool->owner();
  auto snapshot = pool->read();
  LocalLedger ledger(*pool);
  if (snapshot.ok())
    out.parties = static_cast<int>(std::count_if(snapshot->parties.begin(), snapshot->parties.end(),
                                                 [&](const Party& p) { return ledger.life(p) != Life::dead; }));
  return out;
}

std::vector<ClosedDirectory> closed_directories(const LocalPool& pool, const Snapshot& snapshot) {
  std::vector<ClosedDirectory> out;
  std::set<std::string_view> seen;
  for (const Party& party : snapshot.parties) {
    if (!seen.insert(party.dir()).second) continue;
    const std::string dir(party.dir());
    struct stat st {};
    if (::fstatat(pool.fd(), ("u" + dir).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode)) continue;
    if ((st.st_mode & S_IXOTH) == 0) out.push_back({dir, st.st_uid});
  }
  return out;
}

std::vector<std::string> notes_on_place() {
  const auto second = second_default_pool();
  if (!second || second->parties == 0) return {};
  return {"there is a second default pool, " + second->path + ", and " + std::to_string(second->parties) +
          " in it do not see this one: berth doctor"};
}

std::vector<std::string> notes_on(const LocalPool& pool, const Snapshot& snapshot) {
  std::vector<std::string> out = notes_on_place();
  for (const ClosedDirectory& closed : closed_directories(pool, snapshot))
    out.push_back(user_name(closed.owner) + " has closed u" + closed.dir +
                  " to others, who count all in it as alive, dead or not: berth doctor");
  return out;
}

}  // namespace berth
