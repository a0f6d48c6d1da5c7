#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <map>
#include <set>

#include "base/sys.h"
#include "base/text.h"
#include "cli/doctor.h"
#include "cli/notes.h"
#include "cli/view.h"
#include "ledger/local_ledger.h"

#ifndef BERTH_VERSION
#define BERTH_VERSION "0.1.0"
#endif

namespace berth {

namespace {

constexpr size_t most_named = 5;  // entries of a kind that are named one by one
constexpr size_t most_removed = 1000;

struct Entry {
  std::string name;
  uid_t owner = 0;
  ino_t inode = 0;
};

// Everything in the pool, by what it is. One scan; what has gone since then is left out.
struct Sorted {
  Snapshot snapshot;                 // of the scan, the dead included
  std::vector<Entry> newer;          // records of a later format
  std::vector<Entry> garbage;        // look like records
  std::vector<Entry> unheeded;       // good records that speak of another's lease, or of one that is gone
  std::map<uid_t, size_t> dead;      // records whose life has ended, by owner
  std::map<std::string, size_t> in;  // living parties by directory
  int held = 0;                      // by the living
  int waiting = 0;
  size_t strange = 0;
};

Decoded decode(const LocalPool& pool, const std::string& name) {
  Snapshot scratch;
  const Decoded decoded = decode_record(name, {}, scratch);
  if (decoded != Decoded::needs_target) return decoded;
  std::array<char, max_target_bytes + 1> target{};
  const ssize_t length =
      retry_eintr([&] { return ::readlinkat(pool.fd(), name.c_str(), target.data(), target.size()); });
  if (length < 0) return Decoded::garbage;
  return decode_record(name, {target.data(), static_cast<size_t>(length)}, scratch);
}

bool is_own_name(std::string_view name) {
  return name == config_entry || name.starts_with(".pool-") ||
         (name.size() > 1 && name[0] == 'u' && name[1] >= '0' && name[1] <= '9');
}

Result<Sorted> sort_entries(LocalPool& pool) {
  auto snapshot = pool.read();
  if (!snapshot) return snapshot.error();
  Sorted out;
  out.snapshot = std::move(*snapshot);
  LocalLedger ledger(pool);
  std::set<std::string, std::less<>> parties;
  for (const Party& party : out.snapshot.parties) {
    const std::string name(pool.entry_name(party));
    parties.insert(name);
    const bool dead = ledger.life(party) == Life::dead;
    struct stat st {};
    // A record goes before its life does: one that still stands with an ended life is of the dead.
    if (::fstatat(pool.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (dead) {
      ++out.dead[st.st_uid];
      continue;
    }
    ++(party.state == PartyState::held ? out.held : out.waiting);
    ++out.in[std::string(party.dir())];
  }
  pool.each_entry([&](std::string_view view) {
    struct stat st {};
    const std::string name(view);
    if (is_own_name(name) || parties.contains(name)) return;
    if (::fstatat(pool.fd(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    const Entry entry{name, st.st_uid, st.st_ino};
    switch (S_ISLNK(st.st_mode) ? decode(pool, name) : Decoded::foreign) {
      case Decoded::newer: out.newer.push_back(entry); break;
      case Decoded::ok: out.unheeded.push_back(entry); break;
      case Decoded::foreign: ++out.strange; break;
      default: out.garbage.push_back(entry); break;
    }
  });
  return out;
}

// A name that anybody may have chosen is not printed for a shell to read.
Mend removal(const LocalPool& pool, const Entry& entry) {
  const std::string path = shell_word(pool.path());
  if (printable(entry.name) == entry.name && entry.name[0] != '-')
    return by_command("rm " + shell_word(pool.path() + "/" + entry.name), entry.owner);
  return by_command("find " + path + " -maxdepth 1 -inum " + std::to_string(entry.inode) + " -delete", entry.owner);
}

std::string owners(const std::vector<Entry>& entries) {
  std::set<std::string> names;
  for (const Entry& e : entries) names.insert(user_name(e.owner));
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::vector<Mend> removals(const LocalPool& pool, const std::vector<Entry>& entries, const std::string& before) {
  std::vector<Mend> out;
  if (!before.empty()) out.push_back(in_words(before));
  if (entries.size() <= most_named) {
    for (const Entry& e : entries) out.push_back(removal(pool, e));
    return out;
  }
  // Many of them, in one command; more than that at the next call.
  std::string which;
  for (size_t i = 0; i < entries.size() && i < most_removed; ++i)
    which += (which.empty() ? "-inum " : " -o -inum ") + std::to_string(entries[i].inode);
  out.push_back(by_command("find " + shell_word(pool.path()) + " -maxdepth 1 \\( " + which + " \\) -delete"));
  return out;
}

void tell_settings(Findings& out, const LocalPool& pool) {
  if (pool.config_complaint().empty()) return;
  struct stat st {};
  ::fstatat(pool.fd(), config_entry, &st, AT_SYMLINK_NOFOLLOW);
  out.wrong(pool.config_complaint(), {in_words("the machine's own figures come back with the next berth run after"),
                                      by_command("rm -r " + shell_word(pool.path() + "/" + config_entry), st.st_uid)});
}

void tell_records(Findings& out, const LocalPool& pool, const Sorted& sorted) {
  if (!sorted.newer.empty())
    out.wrong("a newer berth, of " + owners(sorted.newer) +
                  ", uses this pool; this one (" BERTH_VERSION ", format 1) cannot plan around what it does not know",
              removals(pool, sorted.newer, "upgrade this berth; or, where that newer one is gone for good:"));
  if (!sorted.garbage.empty())
    out.wrong(counted(sorted.garbage.size(), "entry") + " of " + owners(sorted.garbage) +
                  ", named like a record, cannot be read; that counts as nothing",
              removals(pool, sorted.garbage, ""));
  if (!sorted.unheeded.empty())
    out.note(counted(sorted.unheeded.size(), "record") + " of " + owners(sorted.unheeded) +
             " inside a lease that is gone or another's; that counts as nothing");
  out.note(sorted.held + sorted.waiting == 0
               ? "nobody holds or waits for anything"
               : std::to_string(sorted.held) + " held, " + std::to_string(sorted.waiting) + " waiting");
  for (const auto& [uid, count] : sorted.dead)
    out.note(counted(count, "dead record") + " of " + user_name(uid) + ", to be removed by the next berth run of " +
             user_name(uid) + " or root; that counts as nothing");
  if (sorted.strange > 0) out.note(counted(sorted.strange, "other entry") + " in it, ignored");
}

// Who may not ask for a life counts it as alive, whatever has become of it.
void tell_closed(Findings& out, const LocalPool& pool, const Sorted& sorted) {
  for (const ClosedDirectory& closed : closed_directories(pool, sorted.snapshot)) {
    const auto at = sorted.in.find(closed.dir);
    const std::string path = pool.path() + "/u" + closed.dir;
    out.wrong(user_name(closed.owner) + " has closed u" + closed.dir + " to others, who count " +
                  counted(at == sorted.in.end() ? 0 : at->second, "party") + " in it as alive, dead or not",
              {by_command("chmod 755 " + shell_word(path), closed.owner)});
  }
  for (const Party& party : sorted.snapshot.parties) {
    const std::string life = "u" + std::string(party.dir()) + "/" + std::string(party.id.view()) + ".l";
    struct stat st {};
    if (::fstatat(pool.fd(), life.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISFIFO(st.st_mode)) continue;
    if ((st.st_mode & S_IROTH) != 0) continue;
    out.wrong(user_name(st.st_uid) + " has closed the life of " + std::string(party.id.view()) +
                  " to others, who count it as alive, dead or not",
              {by_command("chmod 644 " + shell_word(pool.path() + "/" + life), st.st_uid)});
  }
}

// "1001.2" is the third directory of uid 1001.
std::string uid_of(const std::string& dir) { return dir.substr(0, dir.find('.')); }

void tell_uids(Findings& out, const LocalPool& pool, const Sorted& sorted) {
  pool.each_entry([&](std::string_view name) {
    struct stat st {};
    if (!is_own_name(name) || name[0] != 'u') return;
    const std::string entry(name);
    if (::fstatat(pool.fd(), entry.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return;
    const std::string uid = uid_of(entry.substr(1));
    if (S_ISDIR(st.st_mode) && uid == std::to_string(st.st_uid)) return;
    const bool lives = sorted.in.contains(entry.substr(1));
    out.note("u" + entry.substr(1) + " belongs to " + user_name(st.st_uid) +
             (lives ? ", who has that uid in a user namespace or a container"
                    : ": whoever has uid " + uid + " uses another name"));
  });
}

}  // namespace

void look_at_entries(Findings& out, LocalPool& pool) {
  auto sorted = sort_entries(pool);
  if (!sorted) return out.wrong(sorted.error().message, {in_words("see ls -la " + shell_word(pool.path()))});
  tell_settings(out, pool);
  tell_records(out, pool, *sorted);
  tell_closed(out, pool, *sorted);
  tell_uids(out, pool, *sorted);
}

}  // namespace berth
