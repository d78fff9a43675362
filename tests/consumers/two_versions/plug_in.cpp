#include "plug_in.h"

#include <heirlock/heirlock.h>

#include <cstdio>
#include <exception>
#include <heirlock/reentrant_lock.hpp>
#include <heirlock/shared.hpp>
#include <optional>

using heirlock::ReentrantLock;

namespace {

const void* code() {
  return reinterpret_cast<const void*>(&heirlock::make_error_code);
}

void* open_lock(const char* name) {
  static std::optional<heirlock::Shared<ReentrantLock>> lock;
  try {
    lock.emplace(heirlock::Shared<ReentrantLock>::open_or_create(name));
  } catch (const std::exception& refusal) {
    std::fprintf(stderr, "%s\n", refusal.what());
    return nullptr;
  }
  return &**lock;
}

int try_acquire(void* lock) {
  return static_cast<int>(static_cast<ReentrantLock*>(lock)->try_acquire());
}

int release(void* lock) {
  try {
    static_cast<ReentrantLock*>(lock)->release();
    return heirlock_done;
  } catch (const heirlock::AssertionError&) {
    return heirlock_not_owner;
  }
}

}  // namespace

extern "C" const plug_in plug_in{heirlock_version, code, open_lock, try_acquire, release};
