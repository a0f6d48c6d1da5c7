#include "history/gather.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "history/fold.h"
#include "history/journal.h"

namespace berth {

namespace {

constexpr int patience_ms = 500;

auto name_of(const Job& job) { return std::tie(job.ended_us, job.arrival_us, job.uid, job.id); }

void read_database(const std::string& path, const HistoryFilter& filter, Gathered& out) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return;
  SqlTrouble trouble = SqlTrouble::none;
  std::string said;
  for (Job& job : read_store(path, filter, patience_ms, trouble, said)) out.jobs.push_back(std::move(job));
  if (trouble == SqlTrouble::none || out.incomplete) return;
  out.incomplete = true;
  out.note = path + " cannot be read (" + said + "); this is what is not in it yet";
}

}  // namespace

std::vector<Job> in_order(std::vector<Job> jobs, const HistoryFilter& filter) {
  std::erase_if(jobs, [&](const Job& job) { return !filter.takes(job); });
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return name_of(a) < name_of(b); });
  const auto twice = [](const Job& a, const Job& b) { return name_of(a) == name_of(b); };
  jobs.erase(std::unique(jobs.begin(), jobs.end(), twice), jobs.end());
  const auto limit = static_cast<size_t>(filter.limit);
  if (limit > 0 && jobs.size() > limit) jobs.erase(jobs.begin(), jobs.end() - static_cast<std::ptrdiff_t>(limit));
  return jobs;
}

Gathered gather_history(const Where& where, const HistoryFilter& filter) {
  Gathered out;
  const Folded folded = dir_is_ours(where.dir) ? fold_history(where, patience_ms) : Folded{};
  // Journals before databases: what goes from one to the other meanwhile is seen twice, and not never.
  out.jobs = read_journals(where);
  read_database(where.file(history_db), filter, out);
  if (::access(where.machine_db.c_str(), R_OK) == 0) read_database(where.machine_db, filter, out);
  out.jobs = in_order(std::move(out.jobs), filter);
  if (out.incomplete) return out;
  const std::string path = where.file(history_db);
  if (folded.set_aside)
    out.note = path + " was garbled: it is " + path + ".garbled now, and a new one was begun";
  else if (folded.trouble != SqlTrouble::none)
    out.note = "what ended lately cannot be taken into the database (" + folded.said +
               "); it is shown, and some thousand jobs are kept like this";
  return out;
}

}  // namespace berth
