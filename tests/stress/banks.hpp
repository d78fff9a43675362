// The banks of a run, of which each has its ledger and its lock, whatever kind of lock that is.
#ifndef HEIRLOCK_TESTS_STRESS_BANKS_HPP
#define HEIRLOCK_TESTS_STRESS_BANKS_HPP

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>

#include "stress/options.hpp"
#include "stress/worker.hpp"

namespace stress {

class Banks {
 public:
  virtual ~Banks() = default;

  /// The thread id of the owner of a bank's lock, 0 when it is free.
  virtual pid_t owner(std::uint32_t bank) = 0;
  /// How often somebody came in.
  virtual std::uint64_t visits(std::uint32_t bank) = 0;
  /// Takes the lock as everybody does, and audits. Returns whether it got the lock in this time. Needs a
  /// Visitor.
  virtual bool audit(std::uint32_t bank, std::chrono::nanoseconds patience) = 0;
  /// See worker.hpp.
  [[noreturn]] virtual void employ(const Employment& employment) noexcept = 0;
};

std::unique_ptr<Banks> make_banks(const Options& options);

}  // namespace stress
#endif
