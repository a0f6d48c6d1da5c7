// Gives the ledger's lock back whichever way a function is left.
#pragma once

#include "ledger/ledger.h"

namespace berth {

class Unlock {
 public:
  explicit Unlock(Ledger& ledger) : ledger_(ledger) {}
  Unlock(const Unlock&) = delete;
  Unlock& operator=(const Unlock&) = delete;
  ~Unlock() { ledger_.unlock(); }

 private:
  Ledger& ledger_;
};

}  // namespace berth
