// Gather: what a history knows, from its databases and its journals, each job once.
#pragma once

#include <string>
#include <vector>

#include "history/job.h"
#include "history/store.h"
#include "history/where.h"

namespace berth {

struct Gathered {
  std::vector<Job> jobs;    // by their end, oldest first
  std::string note;         // what there is to say of it, a sentence without a capital; "" if nothing
  bool incomplete = false;  // a database that is there could not be read; `note` says why
};

// Takes the journals in first, where that can be. What cannot be taken in is read where it lies, so that
// neither a full disk nor a missing library hides it.
[[nodiscard]] Gathered gather_history(const Where& where, const HistoryFilter& filter);

// `jobs` in any order and perhaps twice, as Gathered has them: what the filter takes, its limit included.
[[nodiscard]] std::vector<Job> in_order(std::vector<Job> jobs, const HistoryFilter& filter);

}  // namespace berth
