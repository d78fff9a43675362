#include "scenarios.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <string>

#include "heirlock/shared.hpp"

namespace crash {
namespace {

using heirlock::AcquireResult;

// --- What victims do ---------------------------------------------------------------------------------------

void acquire(World& world) {
  static_cast<void>(world.sites[0].lock().acquire());
}

void work_and_release(World& world) {
  world.sites[0].record.write();
  world.sites[0].lock().release();
}

void use(World& world) {
  acquire(world);
  work_and_release(world);
}

template <Pause::Of of>
void use_with_a_pause(World& world) {
  world.pause.of = of;
  Lock::pause_here(world.pause);
  use(world);
}

void acquire_quiet(World& world) {
  acquire(world);
  world.sites[0].lock().set_quiet();
}

void mend_and_release(World& world) {
  world.sites[0].record.mend();
  world.sites[0].lock().repaired();
  work_and_release(world);
}

void use_and_mend(World& world) {
  if (world.sites[0].lock().acquire() == AcquireResult::inherited) {
    world.sites[0].record.mend();
    world.sites[0].lock().repaired();
  }
  work_and_release(world);
}

void nest(World& world) {
  for (int i = 0; i < 3; ++i) acquire(world);
  world.sites[0].record.write();
  for (int i = 0; i < 3; ++i) world.sites[0].lock().release();
}

void acquire_both(World& world) {
  for (Site& site : world.sites) static_cast<void>(site.lock().acquire());
}

void acquire_both_backwards(World& world) {
  static_cast<void>(world.sites[1].lock().acquire());
  static_cast<void>(world.sites[0].lock().acquire());
}

void work_and_release_both(World& world) {
  for (Site& site : world.sites) site.record.write();
  for (Site& site : world.sites) site.lock().release();
}

void give_up_in_time(World& world) {
  constexpr std::int64_t long_enough_to_be_seen_asleep = 10'000'000;
  static_cast<void>(world.sites[0].lock().acquire_for_one_sleep(long_enough_to_be_seen_asleep));
}

// Its time is over when it looks again, and it has used up a wake-up.
void be_woken_as_time_ends(World& world) {
  constexpr std::int64_t longer_than_it_takes_to_wake_it = 100'000'000'000;
  if (world.sites[0].lock().acquire_for_one_sleep(longer_than_it_takes_to_wake_it) !=
      AcquireResult::not_acquired)
    work_and_release(world);
}

// --- Who is around them ------------------------------------------------------------------------------------

using Step = std::function<void(Run&)>;

Step sleepers(int count) {
  return [=](Run& run) {
    for (int i = 0; i < count; ++i) run.sleeper();
  };
}

void an_owner_died(Run& run) {
  run.let_an_owner_die();
}

void the_next_inherits(Run& run) {
  run.promise_inheritance();
}

void one_owns(Run& run) {
  run.cast["owner"] = &run.owner();
}

void another_sleeps_behind(Run& run) {
  Party*& fellow = run.cast["fellow"];
  if (fellow == nullptr) fellow = &run.sleeper();
}

void the_owner_releases(Run& run) {
  Party*& owner = run.cast["owner"];
  if (owner != nullptr) run.release(*owner);
  owner = nullptr;
}

void another_sleeps_and_the_owner_releases(Run& run) {
  another_sleeps_behind(run);
  the_owner_releases(run);
}

// Wakes the one that has slept longest, who finds the lock taken: as after a release, when a third was
// faster.
void wake_one_in_vain(Run& run) {
  syscall(SYS_futex, run.site().lock().futex(), FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

// The lock is free, one sleeps, and the releaser that is to wake it stands before its call.
void a_releaser_stands_before_its_wake_up(Run& run) {
  Party& releaser = run.owner(Then::stop_to_hold);
  run.sleeper();
  releaser.stepped->run_to_system_call();
  run.cast["other"] = &releaser;
}

// The lock is free, one was woken and stands before its next instruction, another sleeps.
void a_woken_waiter_stands_still(Run& run) {
  Party& owner = run.owner();
  Party& woken = run.sleeper_that_stops();
  run.sleeper();
  run.release(owner);
  woken.stepped->wait();
  run.cast["other"] = &woken;
}

void kill_the_other(Run& run) {
  run.kill(*run.cast["other"]);
}

void kill_both(Run& run) {
  kill_the_other(run);
  run.kill(run.victim());
}

void the_other_goes_on(Run& run) {
  Party& other = *run.cast["other"];
  if (other.is_alive && other.is_traced()) run.let_go(other);
}

// Takes the lock if the victim's steps have freed it, else it sleeps behind the victim; and then stands
// still.
void a_barger_comes(Run& run) {
  run.cast["other"] = &run.barger();
}

Step then(const Step& first, const Step& second) {
  return [=](Run& run) {
    first(run);
    second(run);
  };
}

void the_barger_releases(Run& run) {
  if (run.cast["other"]->is_alive) run.release(*run.cast["other"]);
}

// --- An object ---------------------------------------------------------------------------------------------

// It and the survivors use the shipped platform, but nobody has to wait.
std::optional<Account> account;

void open_account(World& world) {
  [[maybe_unused]] const volatile int first_call_allocates = std::uncaught_exceptions();
  account.emplace(world.sites[0]);
}

void call_a_locked_method(World& world) {
  account->locked([&] { world.sites[0].record.write(); });
}

void an_owner_of_an_object_died(Run& run) {
  run.world.is_used_as_objects = true;
  run.let_an_owner_die();
}

// --- A segment ---------------------------------------------------------------------------------------------

struct Segment {
  heirlock::ReentrantLock lock;
  std::uint64_t numbers[4] = {1, 2, 3, 4};

  bool is_whole() const { return numbers[0] == 1 && numbers[1] == 2 && numbers[2] == 3 && numbers[3] == 4; }
};

const std::string& segment_name() {
  static const std::string name = "crash-sweep-" + std::to_string(getpid());
  return name;
}

void there_is_no_segment(Run&) {
  heirlock::Shared<Segment>::remove(segment_name());
}

void create_segment(World&) {
  heirlock::Shared<Segment>::create(segment_name());
}

// Whether there is a segment is the outcome; one that is not whole, and one that does not serve, are bad.
bool segment_is_left(Run& run) {
  using Shared = heirlock::Shared<Segment>;
  bool was_left = true;
  try {
    if (!Shared::open(segment_name())->is_whole()) run.complain("the segment is not whole");
  } catch (const std::system_error& error) {
    was_left = false;
    if (error.code() != std::errc::no_such_file_or_directory)
      run.complain("the segment cannot be opened: " + std::string(error.what()));
  }
  Shared next = Shared::open_or_create(segment_name());
  if (!next->is_whole()) run.complain("the next to open or create the segment got one that is not whole");
  Lock lock(next->lock);
  if (lock.try_acquire() != AcquireResult::acquired) run.complain("the segment's lock was not free");
  if (lock.is_owned()) lock.release();
  if (!Shared::remove(segment_name())) run.complain("the segment could not be removed");
  return was_left;
}

}  // namespace

std::vector<Scenario> all_scenarios() {
  std::vector<Scenario> all;
  const auto add = [&all](const char* name, void (*body)(World&)) -> Scenario& {
    all.emplace_back();
    all.back().name = name;
    all.back().body = body;
    return all.back();
  };

  // Spec: lock.inherit.death
  add("uncontended", use);
  // Spec: lock.inherit.depth
  add("nested", nest);

  const auto add_release = [&](const char* name, void (*prepared)(World&), int count) {
    Scenario& made = add(name, work_and_release);
    made.prepared = prepared;
    made.around = sleepers(count);
  };
  // Spec: lock.acquire.progress
  add_release("release_to_one", acquire, 1);
  // Spec: lock.acquire.progress
  add_release("release_to_three", acquire, 3);
  // Spec: lock.acquire.progress
  add_release("quiet_release_to_one", acquire_quiet, 1);
  // Spec: lock.acquire.progress
  add_release("quiet_release_to_three", acquire_quiet, 3);

  // Spec: lock.inherit.flag
  Scenario* made = &add("unrepaired_release", work_and_release);
  made->before = an_owner_died;
  made->prepared = acquire;
  made->around = the_next_inherits;
  // Spec: lock.inherit.flag, lock.acquire.progress
  made = &add("unrepaired_release_to_one", work_and_release);
  made->before = an_owner_died;
  made->prepared = acquire_quiet;
  made->around = then(sleepers(1), the_next_inherits);

  // Spec: lock.acquire.progress
  made = &add("waiter", use);
  made->before = one_owns;
  made->asleep = [](Run& run, int) { another_sleeps_and_the_owner_releases(run); };
  made->after = another_sleeps_and_the_owner_releases;

  // Spec: lock.inherit.sleeper
  made = &add("waiter_of_an_owner_that_dies", use_and_mend);
  made->before = one_owns;
  made->asleep = [](Run& run, int) {
    another_sleeps_behind(run);
    run.kill_unheard(*run.cast["owner"]);
  };
  made->after = [](Run& run) {
    another_sleeps_behind(run);
    run.kill(*run.cast["owner"]);
  };

  // Spec: lock.acquire.progress
  made = &add("waiter_that_sleeps_again", use);
  made->before = one_owns;
  made->asleep = [](Run& run, int sleep) {
    another_sleeps_behind(run);
    sleep == 0 ? wake_one_in_vain(run) : the_owner_releases(run);
  };
  made->after = another_sleeps_and_the_owner_releases;

  // Spec: lock.acquire.progress, protocol.pauses
  made = &add("waiter_that_naps", use_with_a_pause<Pause::Of::a_waiter>);
  made->before = one_owns;
  made->asleep = [](Run& run, int sleep) {
    another_sleeps_behind(run);
    if (sleep == 0) return wake_one_in_vain(run);
    the_owner_releases(run);
    run.release(*run.cast["fellow"]);  // or chance decides which of the two is first
    run.world.pause.end();
  };
  made->after = another_sleeps_and_the_owner_releases;

  // Spec: lock.acquire.progress
  made = &add("timed_acquire_that_times_out", give_up_in_time);
  made->before = one_owns;
  made->after = another_sleeps_and_the_owner_releases;

  // Spec: lock.acquire.progress
  made = &add("timed_acquire_woken_as_time_ends", be_woken_as_time_ends);
  made->before = one_owns;
  made->asleep = [](Run& run, int) { another_sleeps_and_the_owner_releases(run); };
  made->after = another_sleeps_and_the_owner_releases;

  // The victim takes the lock between another's release and the waiter's awakening.
  const auto add_barger = [&](const char* name, const Step& before, const Step& kill) {
    Scenario& barger = add(name, use);
    barger.before = before;
    barger.kill = kill;
    barger.after = the_other_goes_on;
  };
  // Spec: lock.acquire.progress
  add_barger("barger.before_a_wake_up", a_releaser_stands_before_its_wake_up, nullptr);
  // Spec: lock.acquire.progress
  add_barger("barger.whose_releaser_is_killed", a_releaser_stands_before_its_wake_up, kill_the_other);
  // Spec: lock.acquire.progress
  add_barger("barger.killed_with_the_releaser", a_releaser_stands_before_its_wake_up, kill_both);
  // Spec: lock.acquire.progress
  add_barger("barger.after_a_wake_up", a_woken_waiter_stands_still, nullptr);
  // Spec: lock.acquire.progress, protocol.pauses
  made = &add("barger.that_steps_aside", use_with_a_pause<Pause::Of::an_owner>);
  made->before = a_woken_waiter_stands_still;
  made->asleep = [](Run& run, int) { run.world.pause.end(); };
  made->after = the_other_goes_on;
  // Spec: lock.acquire.progress
  add_barger("barger.whose_woken_waiter_is_killed", a_woken_waiter_stands_still, kill_the_other);
  // Spec: lock.acquire.progress
  add_barger("barger.killed_with_the_woken_waiter", a_woken_waiter_stands_still, kill_both);

  // The same from the releaser's side: wherever it stands, another comes.
  const auto add_overtaken = [&](const char* name, void (*prepared)(World&), const Step& kill) {
    Scenario& overtaken = add(name, work_and_release);
    overtaken.prepared = prepared;
    overtaken.around = sleepers(1);
    overtaken.kill = then(a_barger_comes, kill);
    overtaken.after = the_barger_releases;
  };
  const Step kill_the_victim = [](Run& run) { run.kill(run.victim()); };
  // Spec: lock.acquire.progress
  add_overtaken("releaser.overtaken", acquire, kill_the_victim);
  // Spec: lock.acquire.progress
  add_overtaken("releaser.whose_barger_is_killed", acquire, kill_the_other);
  // Spec: lock.acquire.progress
  add_overtaken("releaser.killed_with_its_barger", acquire, kill_both);
  // Spec: lock.acquire.progress
  add_overtaken("quiet_releaser.overtaken", acquire_quiet, kill_the_victim);
  // Spec: lock.acquire.progress
  add_overtaken("quiet_releaser.whose_barger_is_killed", acquire_quiet, kill_the_other);
  // Spec: lock.acquire.progress
  add_overtaken("quiet_releaser.killed_with_its_barger", acquire_quiet, kill_both);

  // Spec: lock.inherit.flag, lock.inherit.repaired
  add("heir", use_and_mend).before = an_owner_died;
  // Spec: lock.inherit.repaired, lock.acquire.progress
  made = &add("heir_before_one", mend_and_release);
  made->before = an_owner_died;
  made->prepared = acquire;
  made->around = sleepers(1);

  // Spec: lockable.recover
  made = &add("object_that_recovers", call_a_locked_method);
  made->before = an_owner_of_an_object_died;
  made->prepared = open_account;

  // Spec: lock.inherit.many, protocol.linking
  made = &add("two_locks", [](World& world) {
    acquire_both(world);
    work_and_release_both(world);
  });
  made->after = [](Run& run) { run.party(Then::release, 1); };
  // Spec: lock.inherit.many, lock.inherit.sleeper, protocol.linking
  made = &add("two_locks_before_one_each", work_and_release_both);
  made->prepared = acquire_both;
  made->around = [](Run& run) {
    run.sleeper(0);
    run.sleeper(1);
  };
  made->after = [](Run& run) { run.party(Then::release, 1); };

  // Whoever takes the first of them puts it on a list of its own, while the second is behind it on the
  // victim's.
  // Spec: lock.inherit.many, protocol.linking
  made = &add("two_locks.overtaken", work_and_release_both);
  made->prepared = acquire_both_backwards;
  made->around = [](Run& run) { run.sleeper(1); };
  made->kill = then(a_barger_comes, kill_the_victim);
  made->after = [](Run& run) {
    the_barger_releases(run);
    run.party(Then::release, 1);
  };

  // Spec: shared.killed-creator, shared.atomic-creation
  made = &add("shared_creation", create_segment);
  made->before = there_is_no_segment;
  made->settle = segment_is_left;
  return all;
}

}  // namespace crash
