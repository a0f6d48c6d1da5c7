// Processes: what has to be known of one to tell whose it is.
//
// A process's environment and command line are read through its own memory, under a lock that it may
// hold while it is stuck in a driver: who reads them is stuck as well. So of processes on a card only the
// child that asks the drivers reads (probe_run.h), and hands on what it found.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace berth {

// What is known of a process. Of other users' the environment is not.
struct ProcessFacts {
  int64_t parent = 0;
  uid_t uid = 0;
  int64_t started_us = 0;    // wall clock, to about 10 ms
  std::string command;       // its name
  std::string command_line;  // with its arguments, for people; its name where it has none
  bool environment_known = false;
  std::string lease_id;  // BERTH_ID in its environment; "" without one
  bool ending = false;   // on its way out: its environment has gone, its memory of a device may not have
  friend bool operator==(const ProcessFacts&, const ProcessFacts&) = default;
};

// By pid.
using KnownProcesses = std::map<int64_t, ProcessFacts>;

class ProcessTable {
 public:
  virtual ~ProcessTable() = default;
  // nullopt: there is none of that pid (any more).
  virtual std::optional<ProcessFacts> facts(int64_t pid) = 0;
  // Whether pids as the kernel's drivers number them mean the same here: we are in the initial PID
  // namespace and see all of it.
  [[nodiscard]] virtual bool sees_everybody() const = 0;
  // The number of our PID namespace, as in PartyInfo.
  [[nodiscard]] virtual uint64_t pid_namespace() const = 0;
};

// This machine's, from /proc; reads what it may. Can block for as long as the process is stuck.
class LocalProcesses : public ProcessTable {
 public:
  LocalProcesses();
  std::optional<ProcessFacts> facts(int64_t pid) override;
  [[nodiscard]] bool sees_everybody() const override;
  [[nodiscard]] uint64_t pid_namespace() const override { return pid_namespace_; }

 private:
  uint64_t pid_namespace_ = 0;
  int64_t boot_us_ = 0;
};

// Those that somebody else has read, here and just now. Never blocks.
class ReadProcesses : public ProcessTable {
 public:
  // `known` must outlive this object.
  explicit ReadProcesses(const KnownProcesses& known);
  std::optional<ProcessFacts> facts(int64_t pid) override;
  [[nodiscard]] bool sees_everybody() const override;
  [[nodiscard]] uint64_t pid_namespace() const override { return pid_namespace_; }

 private:
  const KnownProcesses& known_;
  uint64_t pid_namespace_ = 0;
};

// Reads a process and its forebears into `known`, but for those that are there.
inline constexpr int most_forebears = 128;
void read_line_of_descent(int64_t pid, ProcessTable& processes, KnownProcesses& known);

}  // namespace berth
