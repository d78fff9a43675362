// heirlock-driver-cpp: the port is heirlock's C++ interface.
#include <chrono>
#include <new>
#include <stdexcept>
#include <system_error>

#include "driver.h"
#include "heirlock/reentrant_lock.hpp"
#include "heirlock/shared.hpp"
#include "support/acquire_result.hpp"

using heirlock::AcquireResult;
using heirlock::errc;
using heirlock::ReentrantLock;
using SharedLock = heirlock::Shared<ReentrantLock>;

namespace {

const char* word_of(const std::system_error& error) {
  const std::error_code code = error.code();
  if (code == errc::recursion_too_deep) return "recursion_too_deep";
  if (code == errc::foreign_pid_namespace) return "foreign_pid_namespace";
  if (code == errc::layout_mismatch) return "layout_mismatch";
  if (code == errc::not_trusted) return "not_trusted";
  if (code == std::errc::owner_dead) return "owner_dead";
  if (code == std::errc::file_exists) return "file_exists";
  if (code == std::errc::no_such_file_or_directory) return "file_missing";
  return result("error %s", error.what());
}

/// What the call returns, or the word for what it throws.
template <class Call>
const char* word_of(Call call) noexcept {
  try {
    return call();
  } catch (const heirlock::AssertionError&) {
    return "not_owner";
  } catch (const std::invalid_argument&) {
    return "invalid_name";
  } catch (const std::system_error& error) {
    return word_of(error);
  } catch (const std::exception& error) {
    return result("error %s", error.what());
  }
}

/// `done`, or the word for what the call throws.
template <class Call>
const char* done(Call call) noexcept {
  return word_of([&] {
    call();
    return "done";
  });
}

// --- The lock -------------------------------------------------------------------------------------------

const char* word_of(AcquireResult outcome, const char* not_acquired) {
  return outcome == AcquireResult::not_acquired ? not_acquired : name_of(outcome);
}

/// All-zero memory is a free lock.
ReentrantLock& at(void* lock) {
  return *std::launder(static_cast<ReentrantLock*>(lock));
}

const char* acquire(void* lock) {
  return word_of([&] { return word_of(at(lock).acquire(), "error not_acquired"); });
}

const char* acquire_for(void* lock, std::int64_t milliseconds) {
  return word_of(
      [&] { return word_of(at(lock).acquire_for(std::chrono::milliseconds(milliseconds)), "timeout"); });
}

const char* try_acquire(void* lock) {
  return word_of([&] { return word_of(at(lock).try_acquire(), "busy"); });
}

const char* lock_it(void* lock) {
  return done([&] { at(lock).lock(); });
}

const char* try_lock(void* lock) {
  return word_of([&] { return at(lock).try_lock() ? "done" : "busy"; });
}

const char* release(void* lock) {
  return done([&] { at(lock).release(); });
}

const char* repaired(void* lock) {
  return done([&] { at(lock).repaired(); });
}

const char* depth(void* lock) {
  return result("%u", at(lock).depth());
}

const char* owner(void* lock) {
  return result("%d", at(lock).owner());
}

const char* flag(void* lock) {
  return at(lock).needs_repair() ? "yes" : "no";
}

// --- Named segments -------------------------------------------------------------------------------------

void keep(SharedLock opened, segment& made) {
  auto* const handle = new SharedLock(std::move(opened));
  made = {handle->get(), handle};
}

const char* create(const char* name, segment* made) {
  return done([&] { keep(SharedLock::create(name), *made); });
}

const char* open_present(const char* name, segment* made) {
  return done([&] { keep(SharedLock::open(name), *made); });
}

const char* open_or_create(const char* name, segment* made) {
  return done([&] { keep(SharedLock::open_or_create(name), *made); });
}

const char* close_segment(segment* open) {
  delete static_cast<SharedLock*>(open->handle);
  return "done";
}

const char* remove_name(const char* name) {
  return word_of([&] { return SharedLock::remove(name) ? "done" : "file_missing"; });
}

}  // namespace

int main(int argument_count, char** arguments) {
  port cpp = {};
  cpp.capabilities = "threads fork exec death poison query names layout";
  cpp.acquire = acquire;
  cpp.acquire_for = acquire_for;
  cpp.try_acquire = try_acquire;
  cpp.lock = lock_it;
  cpp.try_lock = try_lock;
  cpp.release = release;
  cpp.repaired = repaired;
  cpp.depth = depth;
  cpp.owner = owner;
  cpp.flag = flag;
  cpp.create = create;
  cpp.open = open_present;
  cpp.open_or_create = open_or_create;
  cpp.close = close_segment;
  cpp.remove = remove_name;
  return drive(&cpp, argument_count, arguments);
}
