// heirlock-bench-operations: what one operation of a lock costs when nobody else wants it, with Google
// Benchmark. Benchmarks are named CASE/LOCK[/ARGUMENT].
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <future>
#include <string>
#include <thread>
#include <type_traits>

#include "bench/locks.hpp"
#include "heirlock/shared.hpp"
#ifdef HEIRLOCK_BENCH_BOOST
#include <boost/interprocess/managed_shared_memory.hpp>
#endif

namespace bench {
namespace {

using benchmark::State;

// Stands for any critical section: the compiler must have all of memory ready for it.
constexpr auto section = [] { benchmark::ClobberMemory(); };

// Hides from the compiler what it knows of the lock's memory.
template <class Lock>
Lock& only(const Locks<Lock>& locks) {
  Lock* lock = &locks[0];
  benchmark::DoNotOptimize(lock);
  return *lock;
}

// --- pair, nested, held ----------------------------------------------------------------------------------

template <class Lock>
void pair(State& state) {
  const Locks<Lock> locks;
  Lock& lock = only(locks);
  for (auto _ : state) under(lock, section);
}

template <class Lock>
void nested(State& state) {
  const Locks<Lock> locks;
  Lock& lock = only(locks);
  lock.acquire();
  for (auto _ : state) under(lock, section);
  lock.release();
}

template <class Lock>
void pair_with_others_held(State& state) {
  const Locks<Lock> others(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < others.size(); ++i) others[i].acquire();
  pair<Lock>(state);
  for (std::size_t i = 0; i < others.size(); ++i) others[i].release();
}

// --- try-held, timed -------------------------------------------------------------------------------------

// Another thread that holds the lock, asleep.
template <class Lock>
class Holder {
 public:
  explicit Holder(Lock& lock)
      : thread_([this, &lock] {
          lock.acquire();
          has_it_.set_value();
          may_end_.get_future().wait();
          lock.release();
        }) {
    has_it_.get_future().wait();
  }
  ~Holder() {
    may_end_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> has_it_, may_end_;
  std::thread thread_;
};

template <class Lock>
void try_held(State& state) {
  const Locks<Lock> locks;
  Lock& lock = only(locks);
  const Holder<Lock> holder(lock);
  bool got_it = false;
  for (auto _ : state) got_it |= lock.try_acquire();
  if (got_it) state.SkipWithError("the lock is free, although another thread took it");
}

template <class Lock>
void timed(State& state) {
  const Locks<Lock> locks;
  Lock& lock = only(locks);
  bool got_it = true;
  for (auto _ : state) {
    got_it &= lock.acquire_for(second);
    section();
    lock.release();
  }
  if (!got_it) state.SkipWithError("the lock is busy, although nobody took it");
}

// --- create ----------------------------------------------------------------------------------------------

// A lock in a fresh mapping that children would share is made and unmade. Lockable's constructor does that.
template <class Lock>
void create(State& state) {
  for (auto _ : state) {
    if constexpr (std::is_same_v<Lock, Lockable>) {
      Lockable made;
      benchmark::DoNotOptimize(&made);
    } else {
      const Locks<Lock> made;
      benchmark::DoNotOptimize(&made[0]);
    }
  }
}

// --- open ------------------------------------------------------------------------------------------------

// A name that no other run uses.
std::string own_name() {
  return "bench." + std::to_string(getpid());
}

void open_heirlock(State& state) {
  const std::string name = own_name();
  using Segment = heirlock::Shared<heirlock::ReentrantLock>;
  const Segment made = Segment::create(name);
  for (auto _ : state) {
    const Segment opened = Segment::open(name);
    benchmark::DoNotOptimize(opened.get());
  }
  Segment::remove(name);
}

void open_lockable(State& state) {
  struct Named : heirlock::Lockable {
    using heirlock::Lockable::Lockable;
    explicit Named(const std::string& name) : heirlock::Lockable(name) {}
  };
  const std::string name = own_name();
  const Named made(name);
  for (auto _ : state) {
    Named opened(name);
    benchmark::DoNotOptimize(&opened);
  }
  heirlock::Shared<heirlock::ReentrantLock>::remove(name);
}

// What a program does that keeps glibc's mutex in a file of its own.
void open_glibc_robust(State& state) {
  const std::string name = "/" + own_name();
  const auto open = [&](int flags) {
    const int file = shm_open(name.c_str(), O_RDWR | flags, 0600);
    if (file < 0) return MAP_FAILED;
    void* memory = MAP_FAILED;
    if (flags == 0 || ftruncate(file, sizeof(Glibc<true>)) == 0)
      memory = mmap(nullptr, sizeof(Glibc<true>), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return memory;
  };
  void* const made = open(O_CREAT | O_EXCL);
  if (made == MAP_FAILED) return state.SkipWithError("a file in /dev/shm cannot be made");
  ::new (made) Glibc<true>;
  for (auto _ : state) {
    void* opened = open(0);
    benchmark::DoNotOptimize(opened);
    munmap(opened, sizeof(Glibc<true>));
  }
  munmap(made, sizeof(Glibc<true>));
  shm_unlink(name.c_str());
}

void open_semaphore(State& state) {
  const std::string name = "/" + own_name();
  sem_t* const made = sem_open(name.c_str(), O_CREAT | O_EXCL, 0600, 1);
  if (made == SEM_FAILED) return state.SkipWithError("a semaphore in /dev/shm cannot be made");
  sem_close(made);  // or libc would hand out this one again
  for (auto _ : state) {
    sem_t* opened = sem_open(name.c_str(), 0);
    benchmark::DoNotOptimize(opened);
    sem_close(opened);
  }
  sem_unlink(name.c_str());
}

#ifdef HEIRLOCK_BENCH_BOOST
void open_boost(State& state) {
  using boost::interprocess::interprocess_recursive_mutex;
  using Segment = boost::interprocess::managed_shared_memory;
  const std::string name = own_name();
  {
    Segment made(boost::interprocess::create_only, name.c_str(), 4096);
    made.construct<interprocess_recursive_mutex>("lock")();
  }
  for (auto _ : state) {
    Segment opened(boost::interprocess::open_only, name.c_str());
    auto* lock = opened.find<interprocess_recursive_mutex>("lock").first;
    benchmark::DoNotOptimize(lock);
  }
  boost::interprocess::shared_memory_object::remove(name.c_str());
}
#endif

// --- floors ----------------------------------------------------------------------------------------------

void floor_syscall(State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(syscall(SYS_getppid));
}

template <class Lock>
void add_benchmarks_of() {
  const auto name = [](const char* which) { return std::string(which) + "/" + Lock::name; };
  constexpr Abilities can = Lock::can;
  if constexpr (!std::is_same_v<Lock, StdRecursiveTimed>) {  // there for the timed acquire alone
    benchmark::RegisterBenchmark(name("pair").c_str(), pair<Lock>);
    if constexpr (can.reentrant) benchmark::RegisterBenchmark(name("nested").c_str(), nested<Lock>);
    benchmark::RegisterBenchmark(name("try-held").c_str(), try_held<Lock>);
  }
  if constexpr (can.robust) {  // the others keep no list of what is held
    auto* const held = benchmark::RegisterBenchmark(name("held").c_str(), pair_with_others_held<Lock>);
    for (const int others : {1, 10, 100, 1000, 2000}) held->Arg(others);
  }
  if constexpr (can.timed) benchmark::RegisterBenchmark(name("timed").c_str(), timed<Lock>);
  if constexpr (can.between_processes) benchmark::RegisterBenchmark(name("create").c_str(), create<Lock>);
}

void add_benchmarks() {
  for_each_lock([](auto type) { add_benchmarks_of<typename decltype(type)::type>(); });
  benchmark::RegisterBenchmark("open/heirlock", open_heirlock);
  benchmark::RegisterBenchmark("open/lockable", open_lockable);
  benchmark::RegisterBenchmark("open/glibc-robust", open_glibc_robust);
  benchmark::RegisterBenchmark("open/sem", open_semaphore);
#ifdef HEIRLOCK_BENCH_BOOST
  benchmark::RegisterBenchmark("open/boost", open_boost);
#endif
  benchmark::RegisterBenchmark("pair/floor-cas-exchange", pair<FloorCasExchange>);
  benchmark::RegisterBenchmark("pair/floor-reentrant", pair<FloorReentrant>);
  benchmark::RegisterBenchmark("floor/floor-syscall", floor_syscall);
}

}  // namespace
}  // namespace bench

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  bench::add_benchmarks();
  // Of a program without threads, glibc leaves out the atomic instructions of its private mutexes. Programs
  // that need a lock are not like that, so there is a second thread, which sleeps.
  std::thread(pause).detach();
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
