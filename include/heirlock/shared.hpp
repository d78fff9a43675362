// Shared<T>: one T in memory that processes share.
#ifndef HEIRLOCK_SHARED_HPP
#define HEIRLOCK_SHARED_HPP

#include <new>
#include <string_view>
#include <type_traits>
#include <typeinfo>
#include <utility>

#include "heirlock/detail/segment.hpp"
#include "heirlock/error.hpp"

namespace heirlock {
inline namespace v0_1 {
/// Whether a T may live in shared memory: if it is trivially destructible (the last process may be killed)
/// and of standard layout (all see the same bytes). That it holds no pointers is for you to see to.
/// Specialise it as std::true_type to vouch for a type of your own.
template <class T>
struct is_shareable
    : std::bool_constant<std::is_trivially_destructible_v<T> && std::is_standard_layout_v<T>> {};

/// A handle of one T in shared memory. Handles are local to a process; what they point at is not.
///
///   // shared with children forked later:
///   heirlock::Shared<Counter> counter;
///   // shared with any process, by name:
///   auto ledger = heirlock::Shared<Ledger>::open_or_create("bank.ledger", 100);
///
/// Sharing does not make access safe: guard the T with a ReentrantLock or a Lockable, or make it atomic.
///
/// A name is 1 to 200 letters, digits, dots, hyphens and underscores. The segment is the file
/// /dev/shm/heirlock.<name>, readable and writable by its creator's user only. It lives until remove() and
/// until the last process that uses it is gone; the T is never destroyed. Lockable draws on the same names.
/// systemd's logind removes an ordinary user's names when the user's last session ends, in use or not
/// (RemoveIPC=yes, its default): then is_named() is false, and who opens the name shares a new T. The user's
/// guide, include/README.md, has remedies.
///
/// Errors: std::invalid_argument on a bad name; std::system_error with errc::layout_mismatch when the segment
/// holds something else, errc::not_trusted when another user owns or may write it, or the system's own code.
/// Who shrinks a segment that others have open makes them die of SIGBUS: whoever may write it is trusted.
template <class T>
class Shared {
  static_assert(
      is_shareable<T>::value,
      "found a T that cannot be shared, expected one that is trivially destructible and of standard "
      "layout; specialise heirlock::is_shareable to vouch for it");
  static_assert(alignof(T) <= 4096, "found a T aligned to more than a page");

  template <class... Args>
  static constexpr bool is_other_handle = std::conjunction_v<std::bool_constant<sizeof...(Args) == 1>,
                                                             std::is_same<std::decay_t<Args>, Shared>...>;

 public:
  /// Anonymous: makes a T(args...) that the caller shares with the children it forks while the handle lives.
  template <class... Args, class = std::enable_if_t<!is_other_handle<Args...>>>
  explicit Shared(Args&&... args) {
    detail::require_done(detail::map_anonymous(sizeof(T), mapping_));
    object_ = construct(mapping_.at(0), std::forward<Args>(args)...);
  }

  /// Named: makes a T(args...). Nobody can open it before it is complete.
  /// A name that is taken is an error: std::errc::file_exists.
  template <class... Args>
  static Shared create(std::string_view name, Args&&... args) {
    detail::Mapping mapping;
    const auto make = [&](void* at) { construct(at, std::forward<Args>(args)...); };
    return Shared(detail::create_segment(name, type(), mapping, make), mapping);
  }

  /// Opens what another process, or this one, has created. That there is none is an error:
  /// std::errc::no_such_file_or_directory.
  static Shared open(std::string_view name) {
    detail::Mapping mapping;
    return Shared(detail::open_segment(name, type(), mapping), mapping);
  }

  /// Opens the segment, or creates it as a T(args...) when there is none. Of several that do so at once, one
  /// creates and all share.
  template <class... Args>
  static Shared open_or_create(std::string_view name, Args&&... args) {
    detail::Mapping mapping;
    const auto make = [&](void* at) { construct(at, args...); };  // not forwarded: may be needed again
    return Shared(detail::open_or_create_segment(name, type(), mapping, make), mapping);
  }

  /// Takes the name away: the next create() makes a new T, while those who have this one keep it.
  /// Returns false when there was none.
  static bool remove(std::string_view name) {
    const detail::Outcome outcome = detail::remove_segment(name);
    if (outcome != heirlock_file_missing) detail::require_done(outcome);
    return outcome == heirlock_done;
  }

  /// Whether the name still leads to this segment. If not, remove() or the system took the name away, and
  /// who opens it now shares another T. Always false for an anonymous one.
  bool is_named() const noexcept { return mapping_.is_named(); }

  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  /// Null only in a handle that was moved from.
  T* get() const noexcept { return object_; }

  Shared(Shared&& other) noexcept
      : mapping_(std::move(other.mapping_)), object_(std::exchange(other.object_, nullptr)) {}
  Shared& operator=(Shared&& other) noexcept {
    Shared taken(std::move(other));
    std::swap(mapping_, taken.mapping_);
    std::swap(object_, taken.object_);
    return *this;
  }

 private:
  friend class Lockable;

  /// A handle of the segment that was mapped. Throws what mapping it was refused with.
  Shared(detail::Outcome outcome, detail::Mapping& mapping) {
    detail::require_done(outcome);
    mapping_ = std::move(mapping);
    object_ = std::launder(static_cast<T*>(mapping_.at(detail::object_offset(type()))));
  }

  static detail::ObjectType type() noexcept {
#if defined(__GXX_RTTI)
    return {sizeof(T), alignof(T), typeid(T).name()};
#else
    static_assert(sizeof(T) == 0,
                  "found -fno-rtti, expected RTTI: a named segment records the name of its type");
    return {};
#endif
  }

  template <class... Args>
  static T* construct(void* at, Args&&... args) {
    if constexpr (std::is_constructible_v<T, Args...>)
      return ::new (at) T(std::forward<Args>(args)...);
    else
      return ::new (at) T{std::forward<Args>(args)...};  // an aggregate
  }

  detail::Mapping mapping_;
  T* object_ = nullptr;
};

}  // namespace v0_1
}  // namespace heirlock
#endif
