#include "model/kernel.hpp"

#include <cstdarg>
#include <cstdlib>

#include "model/platform.hpp"

namespace heirlock::verify {

Kernel* Kernel::running_ = nullptr;

void ModelThread::become(const char* new_name, int number) {
  *this = {};
  if (telling) std::snprintf(name, sizeof name, "%s", new_name);
  tid = static_cast<std::uint32_t>(number);
  id = 100U + static_cast<std::uint64_t>(number);
  first = ModelPlatform::head(*this);
}

Kernel::Kernel() {
  for (auto& flag : gone) flag.store(0, rl::mo_relaxed, nowhere);
  running_ = this;
}

Kernel::~Kernel() {
  running_ = nullptr;
}

void Kernel::add(Lock& lock, const char* name, Watcher& watcher) {
  if (lock_count_ == max_locks)
    rl::ctx().fail_test("more locks than max_locks", rl::test_result_inconsistent_test_suite, nowhere);
  locks_[lock_count_++] = {&lock, name, &watcher};
}

void Kernel::die(const char* how) {
  --deaths_left;
  tell("%s", how);
  _longjmp(me().end_of_role, 1);
}

void Kernel::leave() {
  me().sleeps_on = nullptr;  // so that nobody wakes it
  _longjmp(me().end_of_role, 1);
}

void Kernel::forget(const Lock& lock) {
  for (KnownLock& known : locks_)
    if (known.lock == &lock) known = {};
}

void Kernel::vanish() {
  me().missed_by_the_kernel = true;
  tell("vanishes, and the kernel does not look at its locks");
  _longjmp(me().end_of_role, 1);
}

void Kernel::await_end_of(int thread) {
  while (!has_gone(thread)) sleep(&gone[thread], false);
}

// exit_robust_list() of kernel/futex/core.c. Each access to a word is a step of its own.
void Kernel::exit_walk() {
  if (choices().is_redundant()) return;
  me().dead = me().immortal = true;
  if (!me().missed_by_the_kernel) treat_locks();
  const int index = rl::ctx().current_thread();
  announce(&gone[index], Access::writes | Access::queues);
  gone[index].store(1, rl::mo_release, nowhere);
  while (wake_sleeper_on(&gone[index], max_threads)) continue;
  const bool leaves_out_wake_ups = me().missed_by_the_kernel || walk == ExitWalk::before_2022;
  if (backstop && leaves_out_wake_ups) end_slices();
}

// In time each slice ends; here as soon as it is of use.
void Kernel::end_slices() {
  for (int i = 0; i < max_threads; ++i) {
    if (threads[i].sleeps_on == nullptr) continue;
    threads[i].sleeps_on = nullptr;
    threads[i].slice_has_ended = true;
    rl::ctx().unpark_thread(i, false, nowhere);
    tell("the slice of %s ends", threads[i].name);
  }
}

bool Kernel::slice_ends(std::uint32_t seen) {
  for (int i = 0; i < max_threads; ++i)
    if (threads[i].tid == detail::owner_of(seen) && threads[i].missed_by_the_kernel &&
        gone[i].debug_value() == 1)
      return true;
  if (me().slices_left == 0 || choices().choose(2) == 0) return false;
  --me().slices_left;
  return true;
}

void Kernel::treat_locks() {
  ModelThread& dying = me();
  Link entry = dying.first;
  const Link pending = dying.pending;
  while (entry != ModelPlatform::head(dying)) {
    const KnownLock* const known = find(entry);
    if (known == nullptr) return tell("[kernel] cannot read its list further, and stops");
    const Link next = known->lock->next.load();  // before an heir may change it
    if (entry != pending && !treat(entry, Entry::listed)) return;
    entry = next;
  }
  if (pending != 0) treat(pending, Entry::pending);
}

// handle_futex_death() of the same file.
bool Kernel::treat(Link entry, Entry kind) {
  if (find(entry) == nullptr) return false;
  auto& word = reinterpret_cast<Lock*>(entry)->word;
  for (;;) {
    announce(&word, Access::reads);
    rl::ctx().sched();
    const KnownLock* const known = find(entry);
    if (known == nullptr) return false;  // its memory has been given back meanwhile: the read fails
    rl::ctx().disable_preemption();
    const std::uint32_t found = word.newest();
    rl::ctx().enable_preemption();
    if (detail::owner_of(found) != me().tid) {
      if (kind == Entry::listed) return true;
      if (telling) tell("[kernel] finds %s pending: %s", known->name, describe(found));
      if (wakes_for_pending(found)) wake_one(&word);
      return true;
    }
    const std::uint32_t died = (found & detail::waiters_bit) | detail::owner_died_bit;
    if (!word.compare_exchange(found, died, Order::release)) continue;  // a waiter set its bit
    known->watcher->owner_died();
    if ((found & detail::waiters_bit) != 0) wake_one(&word);
    return true;
  }
}

bool Kernel::wakes_for_pending(std::uint32_t found) {
  if (walk == ExitWalk::before_2022) return found == 0;
  if (detail::owner_of(found) == 0) return true;
  if ((found & detail::waiters_bit) != 0) return false;
  if (!walk) walk = choices().choose(2) == 1 ? ExitWalk::since_2026 : ExitWalk::since_2022;
  tell("[kernel] %s", walk == ExitWalk::since_2026 ? "wakes somebody all the same" : "leaves it alone");
  return walk == ExitWalk::since_2026;
}

void Kernel::sleep(const void* word, bool timed) {
  ModelThread& sleeper = me();
  sleeper.sleeps_on = word;
  ++sleeper.sleeps;
  tell("sleeps");
  announce(word, Access::queues);
  // To Relacy a thread that has slept must see what it had not seen before; the kernel promises no such
  // thing.
  rl::thread_info_base& in_relacy = *rl::ctx().threadx_;
  const rl::timestamp_t last_yield = in_relacy.last_yield_;
  const bool may_die = deaths_left > 0 && (death_comes == nullptr || death_comes(Moment::asleep));
  const rl::unpark_reason reason = rl::ctx().park_current_thread(timed, may_die, false, nowhere);
  in_relacy.last_yield_ = last_yield;
  if (choices().is_redundant()) leave();
  if (reason == rl::unpark_reason_normal) {  // wake() took it off the queue
    sleeper.has_been_woken = sleeper.has_ever_been_woken = true;
    return tell("was woken");
  }
  sleeper.sleeps_on = nullptr;
  if (reason == rl::unpark_reason_spurious) die("dies asleep");
  sleeper.time_is_over = true;
  tell("wakes up: its time is over");
  // To Relacy no thread is stuck whose wait is timed.
  for (const KnownLock& known : locks_)
    if (known.lock != nullptr && word == &known.lock->word && all_others_sleep())
      expect(detail::owner_of(known.lock->word.value_now()) != 0,
             "a thread slept beside a free lock until its time was over");
}

bool Kernel::all_others_sleep() const {
  for (int i = 0; i < max_threads; ++i) {
    const bool is_there = threads[i].tid != 0 && gone[i].debug_value() == 0;
    if (is_there && &threads[i] != &me() && threads[i].sleeps_on == nullptr) return false;
  }
  return true;
}

int Kernel::wake_one(const void* word) {
  announce(word, Access::queues);
  rl::ctx().sched();
  return wake(word, 1);
}

int Kernel::wake(const void* word, int count) {
  int woken = 0;
  while (woken < count && wake_sleeper_on(word, count)) ++woken;
  if (woken == 0) tell("%swakes nobody", me().dead ? "[kernel] " : "");
  return woken;
}

bool Kernel::wake_sleeper_on(const void* word, int wanted) {
  unsigned asleep[max_threads];
  int sleepers = 0;
  for (unsigned i = 0; i < max_threads; ++i)
    if (threads[i].sleeps_on == word) asleep[sleepers++] = i;
  if (sleepers == 0) return false;
  const unsigned chosen = asleep[wanted < sleepers ? choices().choose(static_cast<unsigned>(sleepers)) : 0];
  threads[chosen].sleeps_on = nullptr;
  threads[chosen].next_access = {};
  rl::ctx().unpark_thread(static_cast<rl::thread_id_t>(chosen), false, nowhere);
  tell("%swakes %s", me().dead ? "[kernel] " : "", threads[chosen].name);
  return true;
}

const void*& Kernel::quiet_note(ModelThread& thread, const Lock& lock) {
  const void*& note = thread.quiet[find(ModelPlatform::link_to(lock)) - locks_];
  if (quiet_is_random) note = choices().choose(2) == 1 ? &lock : nullptr;
  return note;
}

bool Kernel::has_gone(int thread) {
  announce(&gone[thread], Access::reads | Access::queues);
  int found = -1;  // which it never is: the newest value is read
  gone[thread].compare_exchange(rl::bool_t<false>(), found, -1, rl::mo_acquire, rl::mo_acquire, nowhere);
  return found == 1;
}

bool Kernel::is_gone(std::uint32_t tid) {
  if (!backstop) return false;
  for (int i = 0; i < max_threads; ++i)
    if (threads[i].tid == tid && !has_gone(i)) {
      tell("asks after %s: it lives", threads[i].name);
      return false;
    }
  tell("asks after thread %u: it is gone", tid);
  if (after_the_answer) after_the_answer();
  return true;
}

const Kernel::KnownLock* Kernel::find(Link link) const {
  for (const KnownLock& known : locks_)
    if (known.lock != nullptr && ModelPlatform::link_to(*known.lock) == link) return &known;
  return nullptr;
}

void Kernel::tell_sleepers() {
  for (const ModelThread& thread : threads)
    for (const KnownLock& known : locks_)
      if (known.lock != nullptr && thread.sleeps_on == &known.lock->word)
        std::printf("  %-12s sleeps for ever, and the word of %s is %s\n", thread.name, known.name,
                    describe(known.lock->word.value_now()));
}

void Kernel::tell(const char* format, ...) {
  if (!telling) return;
  va_list arguments;
  va_start(arguments, format);
  std::printf("  %-12s ", me().name);
  std::vprintf(format, arguments);
  std::printf("\n");
  va_end(arguments);
}

namespace {

// A text that lasts until the fourth call after.
template <class... Arguments>
const char* text(const char* format, Arguments... arguments) {
  static char texts[4][96];
  static unsigned next = 0;
  char* const here = texts[next++ % 4];
  if (std::snprintf(here, sizeof texts[0], format, arguments...) >= static_cast<int>(sizeof texts[0]))
    std::abort();  // a cut text would mislead: make room for it
  return here;
}

}  // namespace

const char* Kernel::describe(std::uint32_t word) {
  const char* const flag = (word & detail::owner_died_bit) != 0 ? ", OWNER_DIED" : "";
  const char* const waiters = (word & detail::waiters_bit) != 0 ? ", WAITERS" : "";
  const std::uint32_t owner = detail::owner_of(word);
  if (owner == 0) return text("'free%s%s'", flag, waiters);
  // More than one, if one has got the other's thread id. No string: Relacy owns the heap here.
  const char* names = nullptr;
  for (const ModelThread& thread : threads)
    if (thread.tid == owner) names = names == nullptr ? thread.name : text("%s or %s", names, thread.name);
  if (names == nullptr) names = text("thread %u", owner);
  return text("'held by %s%s%s'", names, flag, waiters);
}

const char* Kernel::describe_id(std::uint64_t id) {
  for (const ModelThread& thread : threads)
    if (thread.id == id && id != 0) return &thread == &me() ? "its own" : text("that of %s", thread.name);
  for (const ModelThread& thread : threads)
    if (thread.id == ~id && thread.id != 0) return text("'released by %s'", thread.name);
  return describe_number(id);
}

const char* Kernel::describe_number(std::uint64_t number) {
  return text("%llu", static_cast<unsigned long long>(number));
}

const char* Kernel::field_of(const void* at) {
  for (const KnownLock& known : locks_)
    if (known.lock != nullptr && at == &known.lock->next)
      return "next";
    else if (known.lock != nullptr && at == &known.lock->prev)
      return "prev";
  return "depth";
}

const char* Kernel::describe_link(Link link) {
  if (link == 0) return "nothing";
  if (const KnownLock* const known = find(link)) return text("%s", known->name);
  for (const ModelThread& thread : threads)
    if (ModelPlatform::head(thread) == link) return "the head of the list";
  return describe_number(link);
}

const char* Kernel::name_of(const void* at) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  for (const KnownLock& known : locks_) {
    const auto begin = reinterpret_cast<std::uintptr_t>(known.lock);
    if (address >= begin && address < begin + sizeof(Lock)) return known.name;
  }
  return "a lock";
}

void expect(bool condition, const char* words) {
  if (condition || choices().is_redundant()) return;
  Kernel::running().tell("*** %s", words);
  rl::ctx().fail_test(words, rl::test_result_user_assert_failed, nowhere);
}

}  // namespace heirlock::verify
