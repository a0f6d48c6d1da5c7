#include "device/mps.h"

#include <unistd.h>

#include <cstdlib>

namespace berth {

bool mps_runs() {
  const char* named = std::getenv("CUDA_MPS_PIPE_DIRECTORY");
  const std::string dir = named == nullptr || *named == '\0' ? "/tmp/nvidia-mps" : named;
  return ::access((dir + "/control").c_str(), F_OK) == 0;
}

bool is_shared_server(const ProcessFacts& process) { return process.command.starts_with("nvidia-cuda-mps"); }

}  // namespace berth
