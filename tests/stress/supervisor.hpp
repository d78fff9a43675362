// The supervisor: starts the workers, brings about the faults, replaces the dead, and watches the waiters.
#ifndef HEIRLOCK_TESTS_STRESS_SUPERVISOR_HPP
#define HEIRLOCK_TESTS_STRESS_SUPERVISOR_HPP

#include <signal.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <random>
#include <vector>

#include "heirlock/shared.hpp"
#include "stress/bank.hpp"
#include "stress/faults.hpp"
#include "stress/report.hpp"
#include "stress/scoreboard.hpp"
#include "stress/watch.hpp"

namespace stress {

/// One run. It has a single thread, so that it may fork at any time. Throws std::system_error if the system
/// refuses what it needs. No worker outlives it, however it ends.
class Supervisor {
 public:
  explicit Supervisor(const Options& options);
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor();

  Result run();

 private:
  struct Worker {
    pid_t pid = 0;                  // 0 if there is none
    bool is_killed = false;         // and not yet reaped
    Nanoseconds stopped_until = 0;  // the end of its last stop, past or to come
    bool is_stopped = false;
    bool is_alive() const { return pid != 0 && !is_killed; }
  };
  struct Waiters {
    std::uint32_t count = 0;
    std::uint32_t stranded = 0;
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
  static bool is_waiting(const Line& line, Nanoseconds& since, std::uint32_t& bank);
  bool is_in_good_hands(std::uint32_t bank) const;
  const Line* line_of_owner(pid_t owner) const;
  Obstacle obstacle_of(std::uint32_t bank) const;
  bool is_stranded(std::uint32_t line, const Worker& worker, Nanoseconds waiting_since, std::uint32_t bank);
  bool is_at_work(std::uint32_t worker) const;
  void check_children();

  void show_progress();
  void wait_for_signal(Nanoseconds until);
  Nanoseconds next_event() const;
  bool is_any_left() const;
  bool is_any_alive() const;
  Line& line_of(std::uint32_t worker, std::uint32_t thread) const;
  std::uint32_t workers_lines() const { return options_.processes * options_.threads; }

  static constexpr Nanoseconds never = std::numeric_limits<Nanoseconds>::max();

  const Options options_;
  sigset_t signals_{};
  heirlock::Shared<Scoreboard> board_;
  std::deque<Bank> banks_;
  std::vector<Worker> workers_;
  FaultPlan plan_;
  std::mt19937_64 worker_random_;

  Nanoseconds started_ = 0;
  bool is_stopping_ = false;
  // When a waiter was first found stranded behind an owner that will never release the lock.
  Nanoseconds hopeless_since_ = never;
  Nanoseconds roll_call_since_ = 0;
  Nanoseconds next_roll_call_ = 0;
  Nanoseconds next_progress_ = 0;
  std::vector<FreeLockWatch> watches_;       // of each bank's lock
  std::vector<Nanoseconds> stranded_since_;  // of each line: the start of the wait that was counted
  Result result_;
};

}  // namespace stress
#endif
