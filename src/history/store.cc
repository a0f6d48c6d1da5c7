#include "history/store.h"

#include <algorithm>

#include "history/learned.h"

namespace berth {

namespace {

constexpr const char* schema = R"sql(
CREATE TABLE IF NOT EXISTS job(
  seq INTEGER PRIMARY KEY, uid INTEGER NOT NULL, id TEXT NOT NULL, arrival_us INTEGER NOT NULL,
  seated_us INTEGER, ended_us INTEGER NOT NULL, label TEXT NOT NULL, cmd TEXT NOT NULL, how TEXT NOT NULL,
  status INTEGER, label_key INTEGER, cmd_key INTEGER, job TEXT NOT NULL, UNIQUE(uid, id, arrival_us));
CREATE INDEX IF NOT EXISTS job_ended ON job(ended_us);
CREATE INDEX IF NOT EXISTS job_label ON job(label_key, uid) WHERE label_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_cmd ON job(cmd_key, uid) WHERE cmd_key IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_refused ON job(seq) WHERE how = 'busy';
PRAGMA user_version = 1;
)sql";

const std::string& insertion() {
  static const std::string text =
      "INSERT OR IGNORE INTO job(uid, id, arrival_us, seated_us, ended_us, label, cmd, how, status, label_key, "
      "cmd_key, job) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
  return text;
}

std::string trimming() {
  return "DELETE FROM job WHERE seq <= (SELECT max(seq) FROM job) - " + std::to_string(max_history_jobs) +
         "; DELETE FROM job WHERE how = 'busy' AND seq < (SELECT min(seq) FROM (SELECT seq FROM job WHERE how = 'busy' "
         "ORDER BY seq DESC LIMIT " +
         std::to_string(max_history_refusals) + "));";
}

}  // namespace

std::unique_ptr<Store> Store::open(const std::string& path, int busy_ms, SqlTrouble& trouble, std::string& said) {
  auto db = Sqlite::open(path, Sqlite::Mode::write, busy_ms, trouble, said);
  if (!db) return nullptr;
  return std::unique_ptr<Store>(new Store(std::move(db)));
}

bool Store::insert(const Job& job) {
  db_->bind(1, job.uid);
  db_->bind(2, job.id);
  db_->bind(3, job.arrival_us);
  job.seated_us == 0 ? db_->bind_null(4) : db_->bind(4, job.seated_us);
  db_->bind(5, job.ended_us);
  db_->bind(6, job.label);
  db_->bind(7, job.command);
  db_->bind(8, how_name(job.how));
  job.status ? db_->bind(9, *job.status) : db_->bind_null(9);
  const bool teaches = teaches_duration(job);
  teaches && !job.label.empty() ? db_->bind(10, static_cast<int64_t>(learned_key(job.label))) : db_->bind_null(10);
  teaches ? db_->bind(11, static_cast<int64_t>(learned_key(job.command))) : db_->bind_null(11);
  std::string line = encode_job(job);
  line.pop_back();
  db_->bind(12, line);
  return db_->step_and_reset();
}

bool Store::add(std::span<const Job> jobs) {
  bool well = db_->run("BEGIN IMMEDIATE") && db_->run(schema) && db_->prepare(insertion());
  for (const Job& job : jobs) well = well && insert(job);
  return well && db_->run(trimming().c_str()) && db_->run("COMMIT");
}

std::vector<int64_t> Store::durations_us(bool by_label, uint64_t key, int64_t uid, int most) {
  std::vector<int64_t> out;
  db_->prepare(std::string("SELECT ended_us - seated_us FROM job WHERE uid = ?1 AND ") +
               (by_label ? "label_key" : "cmd_key") + " = ?2 ORDER BY seq DESC LIMIT ?3");
  db_->bind(1, uid);
  db_->bind(2, static_cast<int64_t>(key));
  db_->bind(3, most);
  while (db_->step()) out.push_back(db_->number(0));
  return out;
}

std::vector<Job> read_store(const std::string& path, const HistoryFilter& filter, int busy_ms, SqlTrouble& trouble,
                            std::string& said) {
  std::vector<Job> out;
  const auto db = Sqlite::open(path, Sqlite::Mode::read, busy_ms, trouble, said);
  if (!db) return out;
  // One that an admin has just made has no table yet.
  db->prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'job'");
  if (db->step()) {
    std::string query = "SELECT job FROM job WHERE ended_us >= ?1";
    if (filter.label) query += " AND label = ?2";
    if (filter.uid) query += " AND uid = ?3";
    query += " ORDER BY ended_us DESC, seq DESC";
    if (filter.limit > 0) query += " LIMIT ?4";
    db->prepare(query);
    db->bind(1, filter.since_us);
    if (filter.label) db->bind(2, *filter.label);
    if (filter.uid) db->bind(3, *filter.uid);
    if (filter.limit > 0) db->bind(4, filter.limit);
    while (db->step())
      if (auto job = decode_job(db->text(0)); job && filter.takes(*job)) out.push_back(std::move(*job));
  }
  trouble = db->trouble();
  said = db->said();
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace berth
