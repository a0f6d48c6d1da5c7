#include "cli/nearest.h"

#include <algorithm>

namespace berth {

namespace {

// Slips between two words: a letter too many, one too few, another one, or two that changed places.
size_t slips(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
  constexpr size_t longest = 64;  // nothing that is known is half as long
  std::string best;
  size_t best_slips = 3;  // further than two slips is no slip
  for (const std::string& candidate : known) {
    const size_t found = word.size() > longest ? best_slips : slips(word, candidate);
    if (found >= best_slips) continue;
    best_slips = found;
    best = candidate;
  }
  return best;
}

}  // namespace berth
