// What many locks take up.
#ifndef HEIRLOCK_TESTS_BENCH_MEMORY_HPP
#define HEIRLOCK_TESTS_BENCH_MEMORY_HPP

#include <cstddef>
#include <fstream>
#include <memory>
#include <new>
#include <string>
#include <type_traits>

#include "bench/json.hpp"
#include "bench/locks.hpp"
#include "bench/options.hpp"
#include "bench/party.hpp"

namespace bench {

/// The memory that the program has in use, in bytes; what the kernel itself needs is not in it. Not from
/// /proc/self/statm, which is off by some pages for each processor.
inline std::size_t resident_memory() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string word; file >> word;) {
    std::size_t kilobytes = 0;
    if (word == "Rss:" && file >> kilobytes) return kilobytes * 1024;
  }
  fail("found no /proc/self/smaps_rollup (Linux 4.14), expected it to say what is resident; mount /proc");
}

// One beside the other, as in an array of them.
template <class Lock>
class Row {
 public:
  explicit Row(std::size_t count)
      : count_(count), locks_(static_cast<Lock*>(shared_memory(count * sizeof(Lock)))) {
    for (std::size_t i = 0; i < count; ++i) ::new (static_cast<void*>(locks_ + i)) Lock;
  }
  Row(const Row&) = delete;
  Row& operator=(const Row&) = delete;
  ~Row() {
    std::destroy_n(locks_, count_);
    unmap(locks_, count_ * sizeof(Lock));
  }
  Lock& operator[](std::size_t i) { return locks_[i]; }

 private:
  const std::size_t count_;
  Lock* const locks_;
};

// All of them are used once, so that what is put off until then is there too.
template <class Lock>
Json memory(const Options& options) {
  constexpr int most_mappings = 30'000;  // of the 65,530 that Linux lets a process have
  if (std::is_same_v<Lock, Lockable> && options.locks > most_mappings)
    refuse("--locks: found more than 30000 for lockable, expected no more: each has a mapping of its own");
  const auto count = static_cast<std::size_t>(options.locks);
  const std::size_t before = resident_memory();
  Row<Lock> locks(count);
  for (std::size_t i = 0; i < count; ++i) under(locks[i], [] {});
  const std::size_t used = resident_memory() - before;

  Json values;
  values.whole("sizeof_bytes", static_cast<std::int64_t>(sizeof(Lock)))
      .number("resident_bytes_per_lock", static_cast<double>(used) / static_cast<double>(count));
  Json json;
  return json.text("case", "memory")
      .text("lock", Lock::name)
      .whole("locks", options.locks)
      .object("values", values);
}

}  // namespace bench
#endif
