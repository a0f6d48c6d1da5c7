// A look at the pool on behalf of one waiter, or of a claim that may become one: for what is said of it.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/waiting_text.h"
#include "device/probe_run.h"
#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

// Of the party that `record` writes down, as it stands in the pool; one that is not there is thought into
// it. `objection`: what its driver has against it, "" if nothing. Takes no lock and changes nothing; asks the
// kernel about the lives of those that stand in the way, and reads what at most three of them tell.
[[nodiscard]] Result<WaitingWords> look_for_waiter(LocalPool& pool, const Picture& picture, const Record& record,
                                                   const std::string& objection);

}  // namespace berth
