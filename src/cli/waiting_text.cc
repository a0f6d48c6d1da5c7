#include "cli/waiting_text.h"

#include <algorithm>
#include <utility>

#include "base/text.h"
#include "cli/table.h"

namespace berth {

namespace {

enum class Detail { all, names, none };

std::string holder_text(const WaitingWords& words, const InTheWay& holder, Detail detail) {
  if (detail != Detail::all) return holder.who;
  std::string about = holder.user;
  if (holder.left_s) about += *holder.left_s < 0 ? ", overdue" : ", " + show_duration(*holder.left_s) + " left";
  if (holder.asked)
    about += words.in_line ? ", asked to give way" : ", would be asked to give way";
  else if (holder.reclaimable)
    about += ", reclaimable";
  if (holder.hides) about += ", who hides whether it lives";
  return holder.who + " (" + about + ")";
}

// "GPU 0 is held by a (x), b (y); cpu by c (z)", of the first `most` of them.
std::string holders_text(const WaitingWords& words, size_t most, Detail detail) {
  if (detail == Detail::none || words.holders.empty()) return "";
  const size_t shown = std::min(most, words.holders.size());
  std::vector<std::string> whats;
  for (size_t i = 0; i < shown; ++i)
    if (std::find(whats.begin(), whats.end(), words.holders[i].what) == whats.end())
      whats.push_back(words.holders[i].what);
  std::string text;
  for (const std::string& what : whats) {
    text += text.empty() ? what + " is held by " : "; " + what + " by ";
    bool first = true;
    for (size_t i = 0; i < shown; ++i) {
      if (words.holders[i].what != what) continue;
      text += (std::exchange(first, false) ? "" : ", ") + holder_text(words, words.holders[i], detail);
    }
  }
  const size_t more = words.more_holders + words.holders.size() - shown;
  return more == 0 ? text : text + " and " + std::to_string(more) + " more";
}

std::string duration_text(const WaitingWords& words) {
  const bool in_other_hands =
      std::any_of(words.holders.begin(), words.holders.end(), [](const InTheWay& holder) { return holder.asked; });
  if (!words.eta_s && in_other_hands) return "";
  if (!words.eta_s) return words.holders.empty() && words.ahead == 0 ? "" : "no telling how long";
  return *words.eta_s == 0 ? "about to start" : "about " + show_duration(*words.eta_s);
}

std::string sentence(const WaitingWords& words, size_t most, Detail detail) {
  std::string why = holders_text(words, most, detail);
  if (words.objection_is_of_them)
    why = words.objection + (why.empty() ? "" : ": " + why);
  else if (!words.objection.empty())
    why += (why.empty() ? "" : "; ") + words.objection;
  const std::string how_long = duration_text(words);
  if (!how_long.empty()) why += (why.empty() ? "" : ", ") + how_long;
  if (words.ahead > 0) why += (why.empty() ? "" : "; ") + std::to_string(words.ahead) + " ahead of you";
  return words.claim + (why.empty() ? "" : ": " + why);
}

}  // namespace

std::string waiting_text(const WaitingWords& words) { return sentence(words, words.holders.size(), Detail::all); }

std::string waiting_line(const std::string& before, const WaitingWords& words, size_t columns) {
  struct Form {
    size_t most;
    Detail detail;
  };
  std::string line;
  for (const Form form :
       {Form{words.holders.size(), Detail::all}, Form{1, Detail::all}, Form{1, Detail::names}, Form{0, Detail::none}}) {
    line = before + sentence(words, form.most, form.detail);
    if (longest_line(line) <= columns) return line;
  }
  return shortened(line, columns);
}

}  // namespace berth
