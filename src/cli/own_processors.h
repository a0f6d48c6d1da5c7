// --pin: the processors of this machine as this shell may use them, and how a lease chooses its own.
#pragma once

#include <string>
#include <vector>

#include "core/processors.h"
#include "device/probe_run.h"
#include "engine/processor_choice.h"

namespace berth {

class OwnProcessors : public ProcessorChoice {
 public:
  // `allowed`: those that this process may run on.
  OwnProcessors(std::vector<Processor> machine, const ProcessorSet& allowed, const Picture& picture);
  [[nodiscard]] ProcessorSet choose(int64_t count, const ProcessorSet& taken,
                                    const std::vector<std::string>& devices) const override;

 private:
  std::vector<Processor> machine_;
  ProcessorSet allowed_;
  std::vector<std::pair<std::string, int>> node_of_device_;
};

}  // namespace berth
