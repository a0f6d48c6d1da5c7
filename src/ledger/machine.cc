#include "ledger/machine.h"

#include <sys/sysinfo.h>
#include <unistd.h>

namespace berth {

PoolConfig machine_figures() {
  PoolConfig config;
  const long cpus = ::sysconf(_SC_NPROCESSORS_ONLN);
  struct sysinfo info {};
  config.capacities.push_back({"cpu", cpus > 0 ? cpus : 1});
  if (::sysinfo(&info) == 0)
    config.capacities.push_back({"ram", static_cast<int64_t>(info.totalram) * static_cast<int64_t>(info.mem_unit)});
  return config;
}

}  // namespace berth
