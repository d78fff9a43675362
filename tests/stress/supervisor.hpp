// The supervisor: starts the workers, kills them, starts new ones, and watches over the waiting.
#ifndef HEIRLOCK_TESTS_STRESS_SUPERVISOR_HPP
#define HEIRLOCK_TESTS_STRESS_SUPERVISOR_HPP

#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "heirlock/shared.hpp"
#include "stress/bank.hpp"
#include "stress/display.hpp"
#include "stress/ledger.hpp"
#include "stress/report.hpp"
#include "stress/scoreboard.hpp"
#include "stress/watch.hpp"

namespace stress {

/// One run. It has a single thread, so that it may fork at any time. Throws std::system_error when the system
/// refuses what it needs; no worker outlives it, however it ends.
class Supervisor {
 public:
  /// The options have their seed.
  explicit Supervisor(const Options& options);
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor();

  Result run();

 private:
  struct Worker {
    pid_t pid = 0;           // 0 when there is none
    bool is_killed = false;  // and not yet reaped
    bool is_alive() const { return pid != 0 && !is_killed; }
  };
  struct Waiters {
    std::uint32_t count = 0;
    std::uint32_t stranded = 0;
    Nanoseconds longest = 0;
  };

  void keep_workers_busy();
  void stop_workers();
  void final_audit();
  void collect();

  void start(std::uint32_t worker);
  void kill_if_due();
  void schedule_next_kill();
  void kill_all() noexcept;
  void reap();
  void note_death(std::uint32_t worker, int status);

  void begin_roll_call();
  void end_roll_call();
  bool is_roll_call() const { return roll_call_since_ != 0; }
  Waiters look();
  bool is_lock_free() const;
  bool is_stranded(std::uint32_t line, const Worker& worker, Nanoseconds waiting_since);

  void show_progress(const Waiters& waiters);
  void wait_for_signal(Nanoseconds until);
  Nanoseconds next_event() const;
  bool is_any_left() const;
  bool is_any_alive() const;
  Line& line_of(std::uint32_t worker, std::uint32_t thread) const;
  std::size_t workers_lines() const { return stranded_since_.size(); }
  std::uint64_t total(Posted<std::uint64_t> Line::*field) const;
  std::int64_t largest(Posted<std::int64_t> Line::*field) const;

  static constexpr Nanoseconds never = std::numeric_limits<Nanoseconds>::max();

  const Options options_;
  Display display_;
  sigset_t signals_{};
  heirlock::Shared<Ledger> ledger_;
  heirlock::Shared<Scoreboard> board_;
  Bank bank_;
  std::vector<Worker> workers_;
  std::mt19937_64 kill_random_;  // of its own, so that a seed gives the same victims whatever else happens
  std::mt19937_64 worker_random_;

  Nanoseconds started_ = 0;
  bool is_stopping_ = false;
  std::uint64_t kills_scheduled_ = 0;
  Nanoseconds next_kill_ = never;
  std::uint32_t next_victim_ = 0;
  Nanoseconds roll_call_since_ = 0;
  Nanoseconds next_roll_call_ = 0;
  Nanoseconds next_progress_ = 0;
  std::uint64_t operations_shown_ = 0;
  FreeLockWatch watch_;
  std::vector<Nanoseconds> stranded_since_;  // of each line: the beginning of the wait that was counted
  Result result_;
};

}  // namespace stress
#endif
