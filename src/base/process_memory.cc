#include "base/process_memory.h"

#include <initializer_list>

#include "base/small_file.h"
#include "base/text.h"

namespace berth {

namespace {

constexpr size_t most_children_bytes = size_t{1} << 20U;

}  // namespace

std::vector<pid_t> children_of(const std::string& proc, pid_t parent) {
  std::vector<pid_t> out;
  const std::string dir = proc + "/" + std::to_string(parent) + "/task";
  const auto threads = list_names(dir);
  for (const std::string& thread : threads ? *threads : std::vector<std::string>{})
    if (auto text = read_text(dir + "/" + thread + "/children", most_children_bytes)) {
      text->resize(text->find_last_of(' ') + 1);  // behind each of them; one that is cut off is another's pid
      for (const std::string& word : split(*text, ' '))
        if (const auto pid = parse_count(word)) out.push_back(static_cast<pid_t>(*pid));
    }
  return out;
}

namespace {

// The sum of lines like "RssAnon:	  300 kB" of those names, in bytes.
std::optional<int64_t> sum_of_lines(std::string_view text, std::initializer_list<std::string_view> names) {
  std::optional<int64_t> sum;
  for (const std::string_view name : names) {
    const size_t at = text.find(name);
    if (at == std::string_view::npos) continue;
    const size_t first = text.find_first_not_of(" \t", at + name.size());
    if (first == std::string_view::npos) continue;
    const auto kib = parse_count(text.substr(first, text.find(' ', first) - first));
    if (kib && *kib <= max_amount / 4096) sum = sum.value_or(0) + *kib * 1024;
  }
  return sum;
}

}  // namespace

std::optional<int64_t> bytes_in_status(std::string_view status) {
  return sum_of_lines(status, {"\nRssAnon:", "\nRssShmem:", "\nVmSwap:"});
}

std::optional<int64_t> swapped_in_status(std::string_view status) { return sum_of_lines(status, {"\nVmSwap:"}); }

std::optional<int64_t> bytes_in_rollup(std::string_view rollup) {
  return sum_of_lines(rollup, {"\nPss_Anon:", "\nPss_Shmem:", "\nSwapPss:"});
}

int64_t tree_bytes(const std::string& proc, pid_t root) {
  constexpr size_t most = 4096;
  std::vector<pid_t> tree{root};
  int64_t sum = 0;
  for (size_t i = 0; i < tree.size() && tree.size() < most; ++i) {
    const auto status = read_text(proc + "/" + std::to_string(tree[i]) + "/status");
    if (!status) continue;
    sum += bytes_in_status(*status).value_or(0);
    for (const pid_t child : children_of(proc, tree[i])) tree.push_back(child);
  }
  return sum;
}

}  // namespace berth
