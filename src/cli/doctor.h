// The rooms that doctor looks into. Each looks, says what it found, and changes nothing.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/findings.h"
#include "ledger/local_pool.h"

namespace berth {

// Where the pool is, before it is opened: the two defaults, systemd-logind, containers.
void look_at_place(Findings& out, const std::string& path);
// Why it could not be opened.
// Of a pool that nobody has made yet.
void look_at_making(Findings& out, const std::string& path);
void look_at_failure(Findings& out, const std::string& path, const Error& error);
// Its owner, mode and file system.
void look_at_directory(Findings& out, const LocalPool& pool);
// What lies in it: the settings, newer and garbled records, the dead, closed directories, other uids.
void look_at_entries(Findings& out, LocalPool& pool);
// Who sits on its lock. Takes up to a second where somebody does.
void look_at_lock(Findings& out, const LocalPool& pool);

}  // namespace berth
