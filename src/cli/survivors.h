// Who keeps a place after its command has ended: for the sentence that says so.
#pragma once

#include <string>

#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

// ": pid 123 (python), pid 124 (python)" for processes that hold this lease's life, as far as /proc
// shows them; "" where it shows none. Looks at every process once: not for a hot path.
[[nodiscard]] std::string survivors_text(const LocalPool& pool, const Record& record);

}  // namespace berth
