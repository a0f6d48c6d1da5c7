// PID namespaces, as numbers that can be compared.
#pragma once

#include <cstdint>

namespace berth {

// The number of this process's PID namespace (the inode of /proc/self/ns/pid); 0 where /proc does not say,
// or is not that namespace's: then a pid of ours means another process there.
[[nodiscard]] uint64_t own_pid_namespace();

// That of the machine's first PID namespace: PROC_PID_INIT_INO, linux/proc_ns.h.
inline constexpr uint64_t initial_pid_namespace = 0xEFFFFFFC;

}  // namespace berth
