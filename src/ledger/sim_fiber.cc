#include "ledger/sim_fiber.h"

#include <cstdint>
#include <cstdlib>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#define BERTH_STACKS_TOLD 1
#elif defined(__SANITIZE_THREAD__)
#define BERTH_THREADS_TOLD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BERTH_STACKS_TOLD 1
#elif __has_feature(thread_sanitizer)
#define BERTH_THREADS_TOLD 1
#endif
#endif

#if defined(BERTH_STACKS_TOLD)
#include <sanitizer/common_interface_defs.h>
#elif defined(BERTH_THREADS_TOLD)
#include <sanitizer/tsan_interface.h>
// It follows calls and returns a stack: what is entered on one and left on the other must not be seen.
#define BERTH_UNSEEN [[gnu::no_sanitize("thread")]]
#endif
#ifndef BERTH_UNSEEN
#define BERTH_UNSEEN
#endif

namespace berth {

namespace {

// The engine needs some 10 KiB and the sanitizers several times that. A page is paid for when touched.
constexpr size_t stack_size = size_t{128} << 10;

void arrived([[maybe_unused]] void* saved, [[maybe_unused]] const void** old_stack, [[maybe_unused]] size_t* old_size) {
#ifdef BERTH_STACKS_TOLD
  __sanitizer_finish_switch_fiber(saved, old_stack, old_size);
#endif
}

}  // namespace

Fiber::Fiber(std::function<void()> body)
    : body_(std::move(body)), stack_bytes_(stack_size), stack_(std::make_unique_for_overwrite<char[]>(stack_size)) {}

Fiber::~Fiber() {
  if (started_ && !done_) std::abort();
#ifdef BERTH_THREADS_TOLD
  if (started_) __tsan_destroy_fiber(thread_inside_);
#endif
}

BERTH_UNSEEN void Fiber::leave_for_fiber([[maybe_unused]] void** save) {
#if defined(BERTH_STACKS_TOLD)
  __sanitizer_start_switch_fiber(save, stack_.get(), stack_bytes_);
#elif defined(BERTH_THREADS_TOLD)
  if (thread_inside_ == nullptr) thread_inside_ = __tsan_create_fiber(0);
  thread_outside_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(thread_inside_, 0);
#endif
}

BERTH_UNSEEN void Fiber::leave_for_caller([[maybe_unused]] void** save) const {
#if defined(BERTH_STACKS_TOLD)
  __sanitizer_start_switch_fiber(save, caller_stack_, caller_stack_bytes_);
#elif defined(BERTH_THREADS_TOLD)
  __tsan_switch_to_fiber(thread_outside_, 0);
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

BERTH_UNSEEN void Fiber::enter(unsigned high, unsigned low) {
  reinterpret_cast<Fiber*>((static_cast<uintptr_t>(high) << 32U) | low)->run();  // NOLINT: makecontext() takes ints
}

BERTH_UNSEEN void Fiber::run() {
  arrived(nullptr, &caller_stack_, &caller_stack_bytes_);
  body_();
  done_ = true;
  leave_for_caller(nullptr);  // for good: its fake stack goes with it
}

}  // namespace berth
