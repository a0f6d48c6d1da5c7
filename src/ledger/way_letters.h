// The letters of a record's way= word, and what each of them says; see Way.
#pragma once

#include "core/snapshot.h"

namespace berth {

inline constexpr struct {
  char letter;
  bool Way::*flag;
} way_letters[] = {{'r', &Way::reclaimable}, {'p', &Way::preemptible}, {'b', &Way::busy}, {'a', &Way::asked},
                   {'y', &Way::yielding},    {'u', &Way::unheeded},    {'i', &Way::idle}, {'d', &Way::doubtful},
                   {'n', &Way::unseen},      {'t', &Way::gives_up}};

}  // namespace berth
