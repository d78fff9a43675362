// Handles that come and go in many threads at once, and in children made meanwhile.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "heirlock/lockable.hpp"
#include "support/child.hpp"
#include "support/mapping.hpp"
#include "support/party.hpp"
#include "support/segment_name.hpp"

using heirlock::Shared;
using support::As;
using support::Birth;
using support::Child;
using support::Party;
using support::SegmentName;

namespace {

class Object : public heirlock::Lockable {
 public:
  explicit Object(std::string_view name) : Lockable(name) {}

 private:
  void recover() override {}
};

struct Account {
  std::uint64_t in = 0;
  std::uint64_t out = 0;
};

// Threads that share a lock, of which there is a handle at nearly all times, and have a segment each, whose
// one handle is now the first and now the last.
class Handles : public testing::Test {
 protected:
  static constexpr int threads = 3;

  void use(const SegmentName& name) {
    Object one(lock);
    const auto account = Shared<Account>::open_or_create(name);
    one.acquire();
    EXPECT_EQ(++account->in, account->out + 1);
    ++account->out;
    Object(lock).release();
  }

  // For a second. The threads go on until the last act has ended: a child that waits for one waits for ever.
  void meanwhile(const std::function<void()>& act) {
    const int before = support::segment_mappings();
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    {
      std::array<std::unique_ptr<Party>, threads> parties;
      for (std::size_t i = 0; i < threads; ++i)
        parties[i] = std::make_unique<Party>(As::thread, [this, i] {
          while (!over) use(accounts[i]);
        });
      while (std::chrono::steady_clock::now() < end) act();
      over = true;
    }
    EXPECT_EQ(support::segment_mappings(), before);
  }

  std::atomic<bool> over{false};
  const SegmentName lock;
  const std::array<SegmentName, threads> accounts{};
};

class HandlesInChildren : public Handles, public testing::WithParamInterface<Birth> {};
const auto births = testing::Values(Birth::fork, Birth::fork_without_handlers, Birth::clone);
INSTANTIATE_TEST_SUITE_P(Birth, HandlesInChildren, births, testing::PrintToStringParamName());

// A child has but the thread that made it, and finds every lock that another thread held, the loader's among
// them, held for ever.
// Spec: lockable.one-mapping, lock.owner.child
TEST_P(HandlesInChildren, come_and_go_whatever_other_threads_do) {
  if (!support::can_make_child(GetParam())) GTEST_SKIP() << "this system cannot make a child like that";
  std::optional<Object> inherited(std::in_place, lock);
  Party in_the_loader(As::thread, [&] {
    Dl_info found;
    while (!over) dladdr(&over, &found);
  });
  meanwhile([&] {
    Child(GetParam(), [&] {
      for (const SegmentName& account : accounts) use(account);
      inherited.reset();
    });
  });
}

}  // namespace
