// Which processors a lease gets for its own (--pin). Pure.
//
// As near as can be to what it works with, and together: in the NUMA nodes of its GPUs first, then in as few
// nodes as will do, in as few last-level caches, on whole cores, so that nobody else runs on the second thread
// of one of them. Where two choices are as good the smaller gap is filled, so that the large one stays for who
// needs it. The same question has the same answer, whoever asks.
#pragma once

#include <cstdint>
#include <vector>

#include "core/processors.h"

namespace berth {

// `count` of those in `free`; none where it has less. `near`: the nodes of its devices; empty: it makes no
// difference.
[[nodiscard]] ProcessorSet choose_processors(const std::vector<Processor>& machine, const ProcessorSet& free,
                                             int64_t count, const std::vector<int>& near);

}  // namespace berth
