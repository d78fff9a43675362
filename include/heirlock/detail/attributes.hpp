// Compiler attributes: hints, and those of Clang's -Wthread-safety
// (clang.llvm.org/docs/ThreadSafetyAnalysis.html).
#ifndef HEIRLOCK_DETAIL_ATTRIBUTES_HPP
#define HEIRLOCK_DETAIL_ATTRIBUTES_HPP

// Each minor version has its own names, so that several versions can be linked into one process.
namespace heirlock {
inline namespace v0_1 {}
namespace detail_v0_1 {}
namespace detail = detail_v0_1;
}  // namespace heirlock

#define HEIRLOCK_NOINLINE __attribute__((noinline))
#define HEIRLOCK_COLD __attribute__((noinline, cold))
#ifndef HEIRLOCK_VISIBLE
#define HEIRLOCK_VISIBLE __attribute__((visibility("default")))
#endif
// Access to a thread_local variable then calls no function and allocates no memory, also after dlopen.
#define HEIRLOCK_STATIC_TLS __attribute__((tls_model("initial-exec")))
#define HEIRLOCK_UNLIKELY(condition) __builtin_expect(static_cast<bool>(condition), false)

#if defined(__clang__)
#define HEIRLOCK_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define HEIRLOCK_THREAD_SAFETY(attribute)
#endif

#if defined(__clang__) && __clang_major__ >= 20  // the first with reentrant_capability
#define HEIRLOCK_REENTRANT_CAPABILITY __attribute__((reentrant_capability))
#else
#define HEIRLOCK_REENTRANT_CAPABILITY
#endif

#define HEIRLOCK_CAPABILITY HEIRLOCK_THREAD_SAFETY(capability("mutex")) HEIRLOCK_REENTRANT_CAPABILITY
#define HEIRLOCK_ACQUIRES HEIRLOCK_THREAD_SAFETY(acquire_capability())
#define HEIRLOCK_TRY_ACQUIRES HEIRLOCK_THREAD_SAFETY(try_acquire_capability(true))
#define HEIRLOCK_RELEASES HEIRLOCK_THREAD_SAFETY(release_capability())
#define HEIRLOCK_NO_THREAD_SAFETY HEIRLOCK_THREAD_SAFETY(no_thread_safety_analysis)

#if defined(__SANITIZE_THREAD__)
#define HEIRLOCK_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HEIRLOCK_THREAD_SANITIZER 1
#endif
#endif
#if !defined(HEIRLOCK_THREAD_SANITIZER)
#define HEIRLOCK_THREAD_SANITIZER 0
#endif

#endif
