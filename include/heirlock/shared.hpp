// Shared<T>: a T in shared memory.
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
/// Whether a T may live in shared memory. It must be trivially destructible, as the last process may be
/// killed, and have standard layout, so that all processes see the same bytes. It must not contain pointers,
/// which no compiler can check. Specialise as std::true_type to vouch for your own type.
template <class T>
struct is_shareable
    : std::bool_constant<std::is_trivially_destructible_v<T> && std::is_standard_layout_v<T>> {};

/// A handle of one T in shared memory. The handle belongs to its process; the T is shared.
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
/// systemd-logind removes the names of an ordinary user when the user's last session ends (RemoveIPC=yes, the
/// default), even if processes use them. is_named() is then false, and opening the name shares a new T. To
/// prevent that, run as a system user, `loginctl enable-linger USER`, or set RemoveIPC=no in
/// /etc/systemd/logind.conf.
///
/// Errors: std::invalid_argument if the name is bad; std::system_error with errc::layout_mismatch if the
/// segment holds another type, errc::not_trusted if another user owns the segment or may write to it, or the
/// system's own code. A process that shrinks the file kills all others that use it (SIGBUS): every process
/// that may write to a segment is trusted.
template <class T>
class Shared {
  static_assert(is_shareable<T>::value,
                "T cannot be shared: it must be trivially destructible and have standard layout; specialise "
                "heirlock::is_shareable to vouch for it");
  static_assert(alignof(T) <= 4096, "T cannot be shared: it is aligned to more than a page");

  template <class... Args>
  static constexpr bool is_other_handle = std::conjunction_v<std::bool_constant<sizeof...(Args) == 1>,
                                                             std::is_same<std::decay_t<Args>, Shared>...>;

 public:
  /// Anonymous: makes a T(args...), shared with the children that are forked while the handle lives.
  template <class... Args, class = std::enable_if_t<!is_other_handle<Args...>>>
  explicit Shared(Args&&... args) {
    detail::require_done(detail::map_anonymous(sizeof(T), mapping_));
    object_ = construct(mapping_.at(0), std::forward<Args>(args)...);
  }

  /// Creates a named T(args...). No process can open it before it is complete.
  /// Error: std::errc::file_exists if there is a segment of this name.
  template <class... Args>
  static Shared create(std::string_view name, Args&&... args) {
    detail::Mapping mapping;
    const auto make = [&](void* at) { construct(at, std::forward<Args>(args)...); };
    return Shared(detail::create_segment(name, type(), mapping, make), mapping);
  }

  /// Opens a named T. Error: std::errc::no_such_file_or_directory if there is none.
  static Shared open(std::string_view name) {
    detail::Mapping mapping;
    return Shared(detail::open_segment(name, type(), mapping), mapping);
  }

  /// Opens a named T, or creates it as T(args...) if there is none. If several processes do so at once, one
  /// of them creates it and all share it.
  template <class... Args>
  static Shared open_or_create(std::string_view name, Args&&... args) {
    detail::Mapping mapping;
    const auto make = [&](void* at) { construct(at, args...); };  // not forwarded: may be needed again
    return Shared(detail::open_or_create_segment(name, type(), mapping, make), mapping);
  }

  /// Removes the name. Handles of this T stay valid; the next create() makes a new T.
  /// Returns false if there was no such name.
  static bool remove(std::string_view name) {
    const detail::Outcome outcome = detail::remove_segment(name);
    if (outcome != heirlock_file_missing) detail::require_done(outcome);
    return outcome == heirlock_done;
  }

  /// Whether the name still leads to this T. If not, remove() or the system removed the name, and opening it
  /// now gives another T. Always false for an anonymous T.
  bool is_named() const noexcept { return mapping_.is_named(); }

  T& operator*() const noexcept { return *object_; }
  T* operator->() const noexcept { return object_; }
  /// Null only if the handle was moved from.
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

  /// A handle of the mapped segment. Throws if mapping it was refused.
  Shared(detail::Outcome outcome, detail::Mapping& mapping) {
    detail::require_done(outcome);
    mapping_ = std::move(mapping);
    object_ = std::launder(static_cast<T*>(mapping_.at(detail::object_offset(type()))));
  }

  static detail::ObjectType type() noexcept {
#if defined(__GXX_RTTI)
    return {sizeof(T), alignof(T), typeid(T).name()};
#else
    static_assert(sizeof(T) == 0, "a named segment records the name of its type: compile without -fno-rtti");
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
