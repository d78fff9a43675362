// A scheduler for Relacy that takes each decision from choices().
//
// Relacy's own ones are not used: its full and its bounded search let a thread that was woken run only after
// every other thread has made a step since it last slept, which leaves out just the executions in which one
// is held up between freeing the lock and waking a sleeper; and its random one repeats itself (see
// search.cpp).
#ifndef HEIRLOCK_VERIFY_MODEL_SCHEDULER_HPP
#define HEIRLOCK_VERIFY_MODEL_SCHEDULER_HPP

#include "model/kernel.hpp"
#include "model/search.hpp"

namespace heirlock::verify {

template <rl::thread_id_t thread_count>
class Scheduler : public rl::scheduler<Scheduler<thread_count>, rl::scheduler_thread_info, thread_count> {
  using Base = rl::scheduler<Scheduler<thread_count>, rl::scheduler_thread_info, thread_count>;

 public:
  struct task_t {};
  using Base::Base;

  rl::thread_id_t iteration_begin_impl() {
    choices().begin_execution();
    Step steps[thread_count];
    for (int i = 0; i < thread_count; ++i)
      steps[i] = {this->running_threads[static_cast<std::size_t>(i)], rl::unpark_reason_normal, {}};
    return steps[choices().choose_step(steps, thread_count, false)].thread;
  }
  bool iteration_end_impl() { return !choices().next_execution(); }

  // A thread that can run, one whose wait ends because its time is over, or one that dies asleep.
  rl::thread_id_t schedule_impl(rl::unpark_reason& reason, unsigned /*yield: promises no fairness here*/) {
    const rl::thread_id_t running = this->thread_->index_;
    const bool can_go_on = this->thread_->state_ == rl::thread_state_running;
    Kernel& kernel = Kernel::running();
    Step steps[3 * thread_count];
    unsigned count = 0;
    const auto add = [&](rl::thread_id_t thread, rl::unpark_reason why) {
      steps[count++] = {thread, why, kernel.threads[thread].next_access};
    };
    if (can_go_on) add(running, rl::unpark_reason_normal);
    for (const rl::thread_id_t other : this->running_threads)
      if (other != running) add(other, rl::unpark_reason_normal);
    for (rl::thread_id_t i = 0; i != this->timed_thread_count_; ++i)
      add(this->timed_threads_[i]->index_, rl::unpark_reason_timeout);
    for (rl::thread_id_t i = 0; i != this->spurious_thread_count_ && kernel.deaths_left > 0; ++i)
      add(this->spurious_threads_[i]->index_, rl::unpark_reason_spurious);
    const Step& chosen = steps[choices().choose_step(steps, count, can_go_on)];
    reason = static_cast<rl::unpark_reason>(chosen.reason);
    if (reason != rl::unpark_reason_normal) this->unpark_thread(chosen.thread);
    return chosen.thread;
  }

  unsigned rand_impl(unsigned limit, rl::sched_type) { return choices().choose(limit); }
  rl::iteration_t iteration_count_impl() { return ~rl::iteration_t{0}; }
  void get_state_impl(std::ostream&) {}
  void set_state_impl(std::istream&) {}
  void on_thread_block(rl::thread_id_t, bool) {}
  // Called when all sleep: in a redundant execution each is to end.
  void purge_blocked_threads() {
    for (rl::thread_id_t i = 0; choices().is_redundant() && i < thread_count; ++i)
      if (this->threads_[i].state_ == rl::thread_state_blocked) this->unpark_thread(i);
  }
  void thread_finished_impl() {}
};

}  // namespace heirlock::verify
#endif
