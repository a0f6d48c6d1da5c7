// Which of several free devices are taken for a whole claim, by what lies between them. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "core/snapshot.h"

namespace berth {

// Orders `fit`, best first, of which the first `count` will be taken; in the order of preference before.
// Several devices come from one group with a fast link if one has enough of them, else from one NUMA
// node, else from as few of either as can be; of groups with enough, the one with the least to spare. A
// single one comes from the group that is broken up already, so that pairs stay pairs. Where nothing is
// known of any device's neighbours, or all are neighbours, the order stays as it is.
void prefer_neighbours(std::vector<const Eligible*>& fit, size_t count);

}  // namespace berth
