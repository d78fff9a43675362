// The supervisor: starts the workers, does them harm, starts new ones, and watches over the waiting.
#ifndef HEIRLOCK_TESTS_STRESS_SUPERVISOR_HPP
#define HEIRLOCK_TESTS_STRESS_SUPERVISOR_HPP

#include <signal.h>
#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "heirlock/shared.hpp"
#include "stress/banks.hpp"
#include "stress/display.hpp"
#include "stress/faults.hpp"
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
    pid_t pid = 0;                  // 0 when there is none
    bool is_killed = false;         // and not yet reaped
    Nanoseconds stopped_until = 0;  // the last time: when it went on, or will
    bool is_stopped = false;
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
  void inject_if_due();
  void inject(const PlannedFault& planned);
  void pass_over_fault();
  void pass_over_missed_faults();
  void stop(Worker& worker, Nanoseconds duration);
  void resume_if_due();
  void resume(Worker& worker);
  void interrupt_a_waiter(std::uint32_t worker, std::uint32_t thread);
  void order(const PlannedFault& planned);
  void count(Fault fault) { ++result_.faults[index_of(fault)]; }
  void kill_all() noexcept;
  void reap();
  void note_death(std::uint32_t worker, int status);
  bool has_left_as_it_should(int status) const;

  void begin_roll_call();
  void end_roll_call();
  bool is_roll_call() const { return roll_call_since_ != 0; }
  Waiters look();
  void look_at_locks();
  bool is_waiting(std::uint32_t line, Nanoseconds& since, std::uint32_t& bank) const;
  bool is_in_good_hands(std::uint32_t bank) const;
  const Line* line_of_owner(pid_t owner) const;
  Obstacle obstacle_of(std::uint32_t bank) const;
  bool is_stranded(std::uint32_t line, const Worker& worker, Nanoseconds waiting_since, std::uint32_t bank);
  bool is_at_work(std::uint32_t worker) const;
  void check_children();

  void show_progress(const Waiters& waiters);
  void wait_for_signal(Nanoseconds until);
  Nanoseconds next_event() const;
  bool is_any_left() const;
  bool is_any_alive() const;
  Line& line_of(std::uint32_t worker, std::uint32_t thread) const;
  std::size_t workers_lines() const { return stranded_since_.size(); }
  template <class T>
  using Field = Posted<T> Line::*;
  std::uint64_t total(Field<std::uint64_t> field) const;
  std::int64_t largest(Field<std::int64_t> field) const;
  template <std::size_t size>
  void add_up(Posted<std::uint64_t> (Line::*fields)[size], std::array<std::uint64_t, size>& sums) const;

  static constexpr Nanoseconds never = std::numeric_limits<Nanoseconds>::max();

  const Options options_;
  Display display_;
  sigset_t signals_{};
  heirlock::Shared<Scoreboard> board_;
  const std::unique_ptr<Banks> banks_;
  std::vector<Worker> workers_;
  FaultPlan plan_;
  std::mt19937_64 worker_random_;

  Nanoseconds started_ = 0;
  bool is_stopping_ = false;
  Nanoseconds hopeless_since_ =
      never;  // when somebody was first found stranded behind an owner that will not come
  Nanoseconds roll_call_since_ = 0;
  Nanoseconds next_roll_call_ = 0;
  Nanoseconds next_progress_ = 0;
  std::uint64_t operations_shown_ = 0;
  std::vector<FreeLockWatch> watches_;       // of each bank's lock
  std::vector<Nanoseconds> stranded_since_;  // of each line: the beginning of the wait that was counted
  Result result_;
};

}  // namespace stress
#endif
