// Store: the jobs of a history in their database.
//
// A row has the job's journal line (column `job`) and beside it the columns that are asked for; whoever wants
// more takes json_extract(job, '$.claim.gpus'). Bounded: the oldest go, and of refusals (--no-wait in a
// loop) only the last thousand stay.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "history/job.h"
#include "history/sqlite.h"

namespace berth {

inline constexpr int64_t max_history_jobs = 20'000;  // some 12 MB of usual jobs, 60 of the longest
inline constexpr int64_t max_history_refusals = 1'000;

struct HistoryFilter {
  std::optional<std::string> label;
  std::optional<int64_t> uid;
  int64_t since_us = 0;  // ended then or later
  int64_t limit = 0;     // the last so many; 0: all

  // All but the limit.
  [[nodiscard]] bool takes(const Job& job) const {
    return (!label || job.label == *label) && (!uid || job.uid == *uid) && job.ended_us >= since_us;
  }
};

class Store {
 public:
  // To be written, made where it is not there. As Sqlite::open().
  [[nodiscard]] static std::unique_ptr<Store> open(const std::string& path, int busy_ms, SqlTrouble& trouble,
                                                   std::string& said);
  // Adds them, all or none; those that are there already are left. False: see trouble().
  bool add(std::span<const Job> jobs);
  // How long jobs of this key took, the last first; see learned.h for the keys.
  [[nodiscard]] std::vector<int64_t> durations_us(bool by_label, uint64_t key, int64_t uid, int most);

  [[nodiscard]] SqlTrouble trouble() const { return db_->trouble(); }
  [[nodiscard]] const std::string& said() const { return db_->said(); }

 private:
  explicit Store(std::unique_ptr<Sqlite> db) : db_(std::move(db)) {}
  bool insert(const Job& job);
  std::unique_ptr<Sqlite> db_;
};

// The jobs of a database that the filter takes, oldest first. Changes nothing. What was read before a
// trouble is there all the same.
[[nodiscard]] std::vector<Job> read_store(const std::string& path, const HistoryFilter& filter, int busy_ms,
                                          SqlTrouble& trouble, std::string& said);

}  // namespace berth
