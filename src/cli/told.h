// What a party tells people of itself: the part of its record that no plan needs.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "core/snapshot.h"
#include "ledger/local_pool.h"
#include "ledger/record.h"

namespace berth {

struct Told {
  PartyInfo info;
  uid_t uid = 0;
};

// Of a party of the pool's last read(); nothing if its record is no longer there by that name.
[[nodiscard]] std::optional<Told> ask_party(const LocalPool& pool, const Party& party);

// How a party is called among people: its label, else its command's first word, else its id.
[[nodiscard]] std::string short_name(const PartyInfo& info, const PartyId& id);

}  // namespace berth
