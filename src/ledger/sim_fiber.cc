#include "ledger/sim_fiber.h"

#include <cstdint>
#include <cstdlib>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define BERTH_FIBERS_TOLD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BERTH_FIBERS_TOLD 1
#endif
#endif

#ifdef BERTH_FIBERS_TOLD
#include <sanitizer/common_interface_defs.h>
#endif

namespace berth {

namespace {

// The engine needs some 10 KiB and the sanitizers several times that. A page is paid for when touched.
constexpr size_t stack_size = size_t{128} << 10;

void arrived([[maybe_unused]] void* saved, [[maybe_unused]] const void** old_stack, [[maybe_unused]] size_t* old_size) {
#ifdef BERTH_FIBERS_TOLD
  __sanitizer_finish_switch_fiber(saved, old_stack, old_size);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body)
    : body_(std::move(body)), stack_bytes_(stack_size), stack_(std::make_unique_for_overwrite<char[]>(stack_size)) {}

Fiber::~Fiber() {
  if (started_ && !done_) std::abort();
}

void Fiber::leave_for_fiber([[maybe_unused]] void** save) const {
#ifdef BERTH_FIBERS_TOLD
  __sanitizer_start_switch_fiber(save, stack_.get(), stack_bytes_);
#endif
}

void Fiber::leave_for_caller([[maybe_unused]] void** save) const {
#ifdef BERTH_FIBERS_TOLD
  __sanitizer_start_switch_fiber(save, caller_stack_, caller_stack_bytes_);
#endif
}

void Fiber::resume() {
  if (done_) std::abort();
  if (!started_) {
    started_ = true;
    ::getcontext(&inside_);
    inside_.uc_stack.ss_sp = stack_.get();
    inside_.uc_stack.ss_size = stack_bytes_;
    inside_.uc_link = &outside_;
    // makecontext() passes ints: a pointer travels in two halves.
    const auto self = reinterpret_cast<uintptr_t>(this);
    ::makecontext(&inside_, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(self >> 32U),
                  static_cast<unsigned>(self & 0xFFFFFFFFU));
  }
  void* saved = nullptr;
  leave_for_fiber(&saved);
  ::swapcontext(&outside_, &inside_);
  arrived(saved, nullptr, nullptr);
}

void Fiber::suspend() {
  void* saved = nullptr;
  leave_for_caller(&saved);
  ::swapcontext(&inside_, &outside_);
  arrived(saved, &caller_stack_, &caller_stack_bytes_);
}

void Fiber::enter(unsigned high, unsigned low) {
  reinterpret_cast<Fiber*>((static_cast<uintptr_t>(high) << 32U) | low)->run();  // NOLINT: makecontext() takes ints
}

void Fiber::run() {
  arrived(nullptr, &caller_stack_, &caller_stack_bytes_);
  body_();
  done_ = true;
  leave_for_caller(nullptr);  // for good: its fake stack goes with it
}

}  // namespace berth
