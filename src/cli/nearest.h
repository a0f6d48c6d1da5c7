// What somebody may have meant who mistyped a word.
#pragma once

#include <string>
#include <vector>

namespace berth {

// The known word nearest to `word`, for "did you mean"; "" if none is near.
[[nodiscard]] std::string nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace berth
