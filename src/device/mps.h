// NVIDIA's Multi-Process Service: one process computes on a card for many clients.
#pragma once

#include "device/processes.h"

namespace berth {

// Whether its control daemon listens where this process would look for it (CUDA_MPS_PIPE_DIRECTORY, else
// /tmp/nvidia-mps). Source: NVIDIA's "Multi-Process Service", "Environment Variables".
[[nodiscard]] bool mps_runs();

// Whether it is such a server: it holds its clients' memory, so that what is on the card is nobody's in particular.
[[nodiscard]] bool is_shared_server(const ProcessFacts& process);

}  // namespace berth
