#include "model/platform.hpp"

#include <utility>

namespace heirlock::verify {
namespace {

constexpr rl::memory_order in_relacy(Order order) {
  return order == Order::acquire ? rl::mo_acquire : order == Order::release ? rl::mo_release : rl::mo_relaxed;
}

const char* in_words(Order order) {
  return order == Order::acquire ? "acquire" : order == Order::release ? "release" : "relaxed";
}

const char* in_words(std::uint32_t word) {
  return Kernel::running().describe(word);
}
const char* in_words(std::uint64_t id) {
  return Kernel::running().describe_id(id);
}

}  // namespace

// --- Memory

template <class T>
ModelAtomic<T>::ModelAtomic() : value_(T{}) {}
template <class T>
ModelAtomic<T>::~ModelAtomic() = default;

template <class T>
T ModelAtomic<T>::load(Order order) const {
  Kernel::running().announce(this, Access::reads);
  const T value = value_.load(in_relacy(order), nowhere);
  if (telling)
    Kernel::running().tell("reads %s: %s%s", name(), in_words(value),
                           value == value_.debug_value() ? "" : " (an older value)");
  return value;
}

template <class T>
void ModelAtomic<T>::store(T value, Order order) {
  Kernel::running().before_step(Moment::changing);
  Kernel::running().announce(this, Access::writes);
  value_.store(value, in_relacy(order), nowhere);
  if (telling) Kernel::running().tell("stores %s in %s (%s)", in_words(value), name(), in_words(order));
}

template <class T>
bool ModelAtomic<T>::compare_exchange(T expected, T desired, Order order) {
  Kernel::running().before_step(Moment::changing);
  Kernel::running().announce(this, Access::writes);
  T found = expected;
  const bool done =
      value_.compare_exchange(rl::bool_t<false>(), found, desired, in_relacy(order), rl::mo_relaxed, nowhere);
  if (telling && done)
    Kernel::running().tell("changes %s from %s to %s (%s)", name(), in_words(expected), in_words(desired),
                           in_words(order));
  if (telling && !done)
    Kernel::running().tell("does not change %s: expected %s, found %s", name(), in_words(expected),
                           in_words(found));
  return done;
}

// A compare-exchange that fails is the one read of Relacy's that never sees an older value.
template <class T>
T ModelAtomic<T>::newest(unsigned kind) {
  constexpr T never = static_cast<T>(~T{0} >> 2);  // no word and no owner_id has this value
  Kernel::running().announce(this, kind);
  T found = never;
  value_.compare_exchange(rl::bool_t<false>(), found, never, rl::mo_relaxed, nowhere);
  return found;
}

template <class T>
T ModelAtomic<T>::value_now() const {
  return value_.debug_value();
}

template <class T>
void ModelAtomic<T>::clear_in_kernel() {
  Kernel::running().before_step(Moment::waking);
  Kernel::running().announce(this, Access::writes | Access::queues);
  value_.store(0, rl::mo_relaxed, nowhere);
  if (telling) Kernel::running().tell("[kernel] stores 0 in %s", name());
}

template <class T>
const char* ModelAtomic<T>::name() const {
  static char text[64];
  std::snprintf(text, sizeof text, "%s of %s", sizeof(T) == 8 ? "owner_id" : "the word",
                Kernel::running().name_of(this));
  return text;
}

template class ModelAtomic<std::uint32_t>;
template class ModelAtomic<std::uint64_t>;

template <class T>
ModelPlain<T>::ModelPlain() : value_(T{}) {}
template <class T>
ModelPlain<T>::~ModelPlain() = default;

template <class T>
T ModelPlain<T>::load() const {
  return value_(nowhere).load();
}

template <class T>
void ModelPlain<T>::store(T value) {
  Kernel::running().before_step(sizeof(T) == 4 ? Moment::counting : Moment::linking);
  if (telling) {
    Kernel& kernel = Kernel::running();
    kernel.tell("stores %s in %s of %s",
                sizeof(T) == 4 ? kernel.describe_number(value) : kernel.describe_link(value),
                kernel.field_of(this), kernel.name_of(this));
  }
  value_(nowhere).store(value);  // last: a race ends the story here
}

template class ModelPlain<std::uint32_t>;
template class ModelPlain<std::uint64_t>;

// --- The Platform

void ModelPlatform::set_next(Link at, Link to) {
  Thread& me = Kernel::running().me();
  if (at != head(me)) return lock_at(at).next.store(to);
  Kernel::running().before_step(Moment::linking);
  me.first = to;
  me.has_listed_a_lock = true;
  if (telling && to == head(me)) Kernel::running().tell("has an empty list");
  if (telling && to != head(me))
    Kernel::running().tell("lets its list begin with %s", Kernel::running().describe_link(to));
}

bool ModelPlatform::lists_owner_id(const Thread& me, std::uint64_t owner_id) {
  Link at = me.first;
  while (at != head(me) && lock_at(at).owner_id.load(Order::relaxed) != owner_id)
    at = lock_at(at).next.load();
  return at != head(me);
}

bool ModelPlatform::has_passed(Deadline deadline) {
  if (deadline != Deadline::passes_at_some_time) return deadline == Deadline::passed;
  Thread& me = Kernel::running().me();
  if (!me.time_is_over && choices().choose(2) == 1) {
    me.time_is_over = true;
    Kernel::running().tell("finds its time over");
  }
  return me.time_is_over;
}

Wait ModelPlatform::wait(Atomic<std::uint32_t>& word, std::uint32_t seen, Deadline deadline, Patience&) {
  Kernel& kernel = Kernel::running();
  kernel.before_step(Moment::waiting);
  if (kernel.me().spurious_returns_left > 0 && choices().choose(2) == 1) {
    --kernel.me().spurious_returns_left;
    kernel.tell("returns from its wait for no reason");
    return Wait::look_again;
  }
  const std::uint32_t now =
      word.newest(Access::reads | Access::queues);  // from here to sleep() no other thread runs
  if (now != seen) {
    if (telling) kernel.tell("does not sleep: the word is %s by now", kernel.describe(now));
    return Wait::look_again;
  }
  if (kernel.backstop && kernel.slice_ends(seen)) return Wait::slice_ended;
  kernel.sleep(&word, deadline == Deadline::passes_at_some_time);
  return std::exchange(kernel.me().slice_has_ended, false) ? Wait::slice_ended : Wait::look_again;
}

void ModelPlatform::mark_pending(Thread& me, Link link) {
  Kernel::running().before_step(Moment::marking);
  me.pending = link;
  if (telling && link != 0)
    Kernel::running().tell("sets its pending mark to %s", Kernel::running().describe_link(link));
  if (telling && link == 0) Kernel::running().tell("clears its pending mark");
}

}  // namespace heirlock::verify
