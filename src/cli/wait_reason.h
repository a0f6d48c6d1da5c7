// Why a waiter has to wait, as people ask it.
#pragma once

#include <string>
#include <vector>

#include "cli/view.h"
#include "ledger/record.h"
#include "sched/plan.h"

namespace berth {

// Of one that has not its place, in half a sentence: "held by train-llama (alice)". `plan` is of all levels.
[[nodiscard]] std::string wait_reason(const PoolView& view, const Plan& plan, int party);

// The leases whose parties take something of what `party` asks for: the reasons it is not seated.
[[nodiscard]] std::vector<const LeaseView*> holders_in_the_way(const PoolView& view, int party);

// The same for a claim that is not in the pool: written down as `record`.
[[nodiscard]] std::vector<const LeaseView*> rivals_in_the_way(const PoolView& view, const Record& record);

}  // namespace berth
