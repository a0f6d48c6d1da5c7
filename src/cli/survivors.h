// Who keeps a place after its command has ended: for the sentence that says so.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

// ": pid 123 (python), pid 124 (python)" for `known`, the processes that stay. Where none is known, for
// those that hold this lease's life, as far as /proc shows them; "" where it shows none. That looks at
// every process once: not for a hot path.
[[nodiscard]] std::string survivors_text(const LocalPool& pool, const Record& record, const std::vector<pid_t>& known);

// "pid 123 (python), pid 124 (python) and others".
[[nodiscard]] std::string name_processes(const std::vector<pid_t>& pids);

}  // namespace berth
