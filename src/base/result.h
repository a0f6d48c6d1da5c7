// Result<T>: what the world can do to us, as a value.
//
// Every call that can fail for a reason outside the program returns one. "Busy" and "not now"
// are not errors and never travel this way. A broken invariant does not either: it aborts.
// An Error carries a sentence that is built on the way up, so that what reaches the user says
// what was tried and what to do; its kind decides the exit status (see src/cli/exit_status.h).
#pragma once

#include <cstdlib>
#include <string>
#include <utility>
#include <variant>

namespace berth {

enum class ErrorKind {
  usage,        // the call is wrong
  impossible,   // can never be met on this pool
  probe,        // the devices could not be read
  not_yours,    // owned by someone else
  not_found,    // no such lease
  unavailable,  // the pool cannot be used: full, foreign, read-only, not a tmpfs, out of descriptors
  lost,         // our own entries were taken from under us
};

struct Error {
  ErrorKind kind = ErrorKind::unavailable;
  int sys_errno = 0;  // 0: not from a system call
  std::string message;

  // The same error with where it happened put in front.
  [[nodiscard]] Error within(const std::string& where) const { return Error{kind, sys_errno, where + ": " + message}; }
};

// An Error from errno: "what: No such file or directory".
[[nodiscard]] Error sys_error(int sys_errno, std::string what, ErrorKind kind = ErrorKind::unavailable);

struct Unit {};

template <class T = Unit>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit on purpose

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  // Requires ok(); aborts otherwise, in every build.
  [[nodiscard]] T& value() {
    if (!ok()) std::abort();
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T& value() const {
    if (!ok()) std::abort();
    return *std::get_if<0>(&state_);
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }

  // Requires !ok().
  [[nodiscard]] const Error& error() const {
    if (ok()) std::abort();
    return *std::get_if<1>(&state_);
  }

 private:
  std::variant<T, Error> state_;
};

inline Result<> success() { return Result<>(Unit{}); }

}  // namespace berth
