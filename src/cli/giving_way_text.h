// What people see of who is asked to give way, and of what comes of it.
#pragma once

#include "cli/view.h"

namespace berth {

// Fills in LeaseView::asked_to_give_way, and adds to the reasons of holders that are asked, busy or do not heed it, and
// of waiters that gave way or for whom somebody is asked: of them nobody knows when they start.
void tell_who_gives_way(PoolView& view);

}  // namespace berth
