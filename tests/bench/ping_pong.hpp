// Two processes that take turns: how long from the moment one gives up a lock until the other has it.
#ifndef HEIRLOCK_TESTS_BENCH_PING_PONG_HPP
#define HEIRLOCK_TESTS_BENCH_PING_PONG_HPP

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>

#include "bench/locks.hpp"
#include "bench/options.hpp"
#include "bench/party.hpp"
#include "support/histogram.hpp"
#include "support/shared_memory.hpp"

namespace bench {

struct Exchange {
  alignas(128) Nanoseconds given_up_at = 0;  // written by who gives up, read by who takes over
  Nanoseconds begun_at = 0, ended_at = 0;
  alignas(128) support::Gate is_ready[2];
  alignas(128) Histogram latencies;
};

/// Hand-over number n is by party n % 2. The other one gets what it waits for.
class Rally {
 public:
  Rally(Exchange& exchange, int times) : exchange_(exchange), first_(times / 10), end_(first_ + times) {}

  int end() const { return end_; }
  void give_up(int number) {
    exchange_.given_up_at = now();
    if (number == first_) exchange_.begun_at = exchange_.given_up_at;
  }
  void take_over(int number) {
    const Nanoseconds moment = now();
    if (number >= first_) exchange_.latencies.add(moment - exchange_.given_up_at);
    if (number == end_ - 1) exchange_.ended_at = moment;
  }
  void begin(int index) {
    exchange_.is_ready[1 - index].open();
    exchange_.is_ready[index].wait();
  }

 private:
  Exchange& exchange_;
  const int first_;  // those before are to warm up
  const int end_;
};

/// Keeps the calling process on one processor of those it may use; another index means another one, if any.
inline void pin(int index) {
  cpu_set_t allowed, chosen;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) fail("sched_getaffinity failed");
  std::size_t number = 0;
  for (int skip = index % CPU_COUNT(&allowed); !CPU_ISSET(number, &allowed) || skip-- > 0;) ++number;
  CPU_ZERO(&chosen);
  CPU_SET(number, &chosen);
  if (sched_setaffinity(0, sizeof chosen, &chosen) != 0)
    fail("sched_setaffinity failed: the party cannot be pinned to processor " + std::to_string(number));
}

/// Both processes run `body` with their part in it and their number.
inline Values rally(const Options& options, const std::function<void(Rally&, int)>& body) {
  const int times = options.times > 0 ? options.times : 20'000;
  const Shared<Exchange> exchange;
  Parties(Kind::processes, 2, [&](int index) {
    if (!options.pinned.empty()) pin(options.pinned == "same" ? 0 : index);
    Rally part(*exchange, times);
    body(part, index);
  }).join();
  const Histogram& latencies = exchange->latencies;
  return {{"handover_p50_ns", latencies.quantile(0.5)},
          {"handover_p99_ns", latencies.quantile(0.99)},
          {"handover_max_ns", latencies.longest()},
          {"ns_per_handover", static_cast<double>(exchange->ended_at - exchange->begun_at) / times}};
}

// With three locks, who is given a lock holds two and waits for the third: it is always strictly the other's
// turn. Hand-over n gives up lock n % 3, and its giver then waits for lock (n + 1) % 3, which the other one
// holds.
template <class Lock>
Values ping_pong(const Options& options) {
  const Locks<Lock> locks(3);
  const auto lock = [&](int number) -> Lock& { return locks[static_cast<std::size_t>(number % 3)]; };
  return rally(options, [&](Rally& part, int index) {
    if (index == 0) {
      lock(0).acquire();
      lock(2).acquire();
    } else {
      lock(1).acquire();
    }
    part.begin(index);
    for (int number = 0; number < part.end(); ++number) {
      if (number % 2 == index) {
        part.give_up(number);
        lock(number).release();
      } else {
        lock(number).acquire();
        part.take_over(number);
      }
    }
    const int next = part.end();  // whose turn it would be holds two
    if (next % 2 == index) {
      lock(next).release();
      lock(next + 2).release();
    } else {
      lock(next + 1).release();
    }
  });
}

/// The same without a lock: a word that says whose turn it is, one wake-up and one wait, and no look at
/// whether anybody waits. With both parties on one processor, what is left is one context switch.
inline Values floor_switch(const Options& options) {
  struct alignas(128) Turn {
    std::atomic<std::uint32_t> number{0};
  };
  const Shared<Turn> turn;
  const auto futex = [&](int operation, std::uint32_t value) {
    syscall(SYS_futex, &turn->number, operation, value, nullptr, nullptr, 0);
  };
  return rally(options, [&](Rally& part, int index) {
    for (int number = 0; number < part.end(); ++number) {
      const auto last = static_cast<std::uint32_t>(number);
      if (number % 2 == index) {
        part.give_up(number);
        turn->number.store(last + 1, std::memory_order_release);
        futex(FUTEX_WAKE, 1);
      } else {
        while (turn->number.load(std::memory_order_acquire) == last) futex(FUTEX_WAIT, last);
        part.take_over(number);
      }
    }
  });
}

}  // namespace bench
#endif
