// Fold: what ended lately goes from the journals into the database.
//
// For whoever has time: a child that `berth run` leaves to it, a keeper, `berth history`. Takes milliseconds, or as
// long as a disk takes; never more than one does it at a time. Nothing of it is on the path of a job.
#pragma once

#include <string>

#include "history/sqlite.h"
#include "history/where.h"

namespace berth {

struct Folded {
  SqlTrouble trouble = SqlTrouble::none;
  std::string said;        // on trouble: why, in a sentence without a capital
  bool set_aside = false;  // the database was garbled, lies in history.db.garbled now, and was begun anew
};

// Another who is at it is waited for, at most `patience_ms`; after that it is his, and no trouble.
[[nodiscard]] Folded fold_history(const Where& where, int patience_ms);

}  // namespace berth
