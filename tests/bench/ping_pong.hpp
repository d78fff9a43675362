// Two parties that take turns: how long from the moment one gives up a lock until the other has it.
#ifndef HEIRLOCK_TESTS_BENCH_PING_PONG_HPP
#define HEIRLOCK_TESTS_BENCH_PING_PONG_HPP

#include <atomic>

#include "bench/json.hpp"
#include "bench/locks.hpp"
#include "bench/options.hpp"
#include "bench/party.hpp"
#include "bench/work.hpp"
#include "support/histogram.hpp"

namespace bench {

struct Exchange {
  alignas(128) Nanoseconds given_up_at = 0;  // written by who gives up, read by who takes over
  Nanoseconds begun_at = 0, ended_at = 0;
  alignas(128) Signal ready;
  alignas(128) Histogram latencies;
};

/// Hand-over number n is by party n % 2. The other one gets what it waits for.
class Rally {
 public:
  Rally(Exchange& exchange, const Work& section, int times)
      : exchange_(exchange), section_(section), first_(times / 10), end_(first_ + times) {}

  int end() const { return end_; }
  void give_up(int number) {
    section_();
    exchange_.given_up_at = now();
    if (number == first_) exchange_.begun_at = exchange_.given_up_at;
  }
  void take_over(int number) {
    const Nanoseconds moment = now();
    if (number >= first_) exchange_.latencies.add(moment - exchange_.given_up_at);
    if (number == end_ - 1) exchange_.ended_at = moment;
  }

 private:
  Exchange& exchange_;
  const Work section_;
  const int first_;  // those before are to warm up
  const int end_;
};

// With three locks, who is given a lock holds two and waits for the third: it is always strictly the other's
// turn. Hand-over n gives up lock n % 3, and its giver then waits for lock (n + 1) % 3, which the other one
// holds.
template <class Lock>
void take_turns(Locks<Lock>& locks, Exchange& exchange, Rally rally, int index) {
  const auto lock = [&](int number) -> Lock& { return locks[static_cast<std::size_t>(number % 3)]; };
  if (index == 0) {
    lock(0).acquire();
    lock(2).acquire();
  } else {
    lock(1).acquire();
  }
  exchange.ready.increment();
  exchange.ready.wait_for(2);
  for (int number = 0; number < rally.end(); ++number) {
    if (number % 2 == index) {
      rally.give_up(number);
      lock(number).release();
    } else {
      lock(number).acquire();
      rally.take_over(number);
    }
  }
  const int next = rally.end();  // whose turn it would be holds two
  if (next % 2 == index) {
    lock(next).release();
    lock(next + 2).release();
  } else {
    lock(next + 1).release();
  }
}

inline Json report_of_turns(const char* name, const Options& options, const Exchange& exchange, int times) {
  const Histogram& latencies = exchange.latencies;
  Json values;
  values.number("handover_p50_ns", latencies.quantile(0.5))
      .number("handover_p99_ns", latencies.quantile(0.99))
      .number("handover_max_ns", latencies.longest())
      .number("ns_per_handover", static_cast<double>(exchange.ended_at - exchange.begun_at) / times);
  Json json;
  return json.text("case", options.measured)
      .text("lock", name)
      .text("kind", in_words(options.kind))
      .whole("parties", 2)
      .whole("section", options.section)
      .text("pinned", in_words(options.pinned))
      .whole("times", times)
      .object("values", values);
}

template <class Lock>
Json ping_pong(const Options& options) {
  const int times = options.times > 0 ? options.times : 20'000;
  const Work section(options.section, options.steps_per_microsecond);
  Locks<Lock> locks(3);
  const Shared<Exchange> exchange;
  Parties(options.kind, 2, [&](int index) {
    place(options.pinned, index);
    take_turns(locks, *exchange, Rally(*exchange, section, times), index);
  }).join();
  return report_of_turns(Lock::name, options, *exchange, times);
}

/// The same without a lock: a word that says whose turn it is, one wake-up and one wait, and no look at
/// whether anybody waits. With both parties on one processor, what is left is one context switch.
Json floor_switch(const Options& options);

}  // namespace bench
#endif
