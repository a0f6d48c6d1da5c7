// Fiber: a function with a stack of its own, that runs only while it is resumed.
//
// For the simulated world (sim_world.h): the very code that a process runs, a dozen times in one
// thread, switched where the world says and nowhere else. Threads with a baton would do the same, at
// thirty times the price a switch. Not thread-safe. An exception that leaves the function aborts, and
// no fiber may suspend while one is in flight: the runtime keeps those a thread, not a stack.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <functional>
#include <memory>

namespace berth {

class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  // Requires done(), or never resumed: what lies on its stack is not destroyed here.
  ~Fiber();

  // Runs it until it suspends or ends. Requires !done().
  void resume();
  // Back to whoever resumed it. Called from inside only.
  void suspend();
  [[nodiscard]] bool done() const { return done_; }

 private:
  static void enter(unsigned high, unsigned low);
  void run();
  // The address sanitizer has to be told of every change of stacks. The thread sanitizer sees one thread whose
  // calls and returns add up; a fiber of its own kind costs it more than all that a simulated life does.
  void leave_for_fiber(void** save) const;
  void leave_for_caller(void** save) const;

  std::function<void()> body_;
  size_t stack_bytes_;
  std::unique_ptr<char[]> stack_;
  ucontext_t inside_{};
  ucontext_t outside_{};
  const void* caller_stack_ = nullptr;
  size_t caller_stack_bytes_ = 0;
  bool started_ = false;
  bool done_ = false;
};

}  // namespace berth
