// Where the kernel's walk over a dying thread's locks ends early, and what it has treated by then: the list,
// and after that the pending lock.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "support/mortal.hpp"
#include "support/robust_futex.hpp"
#include "support/shared_memory.hpp"

using kernel::Death;
using kernel::Mortal;
using kernel::Node;
using kernel::owner_died;
using kernel::Pages;
using kernel::RobustList;
using support::InSharedMemory;

namespace {

class AWalk : public testing::TestWithParam<Death> {
 protected:
  /// A thread dies whose list is as `prepare` makes it. Its id is in `tid` before.
  template <class Prepare>
  void over(const Prepare& prepare) {
    Mortal mortal(GetParam(), [&](std::uint32_t own_tid) {
      *tid = own_tid;
      for (Node& lock : *held) lock.word = own_tid;
      prepare();
      list->register_for_this_thread();
    });
    mortal.die();
  }

  /// Whether the kernel put the owner's death into its word.
  bool treated(const Node& lock) const {
    const std::uint32_t word = lock.word;
    EXPECT_TRUE(word == owner_died || word == *tid) << "the word is " << word;
    return word == owner_died;
  }

  /// A thread dies whose list is `first`, `torn` and `third`, torn by `tear`: what follows is not treated.
  template <class Tear>
  void expect_to_end_at(Node& torn, const Tear& tear) {
    over([&] {
      list->link({&first, &torn, &third});
      list->set_pending(pending);
      tear();
    });
    EXPECT_TRUE(treated(first));
    EXPECT_FALSE(treated(third));
    EXPECT_FALSE(treated(pending));
  }

  InSharedMemory<std::uint32_t> tid;
  InSharedMemory<RobustList> list;
  InSharedMemory<std::array<Node, 4>> held;
  Node& first = (*held)[0];
  Node& second = (*held)[1];
  Node& third = (*held)[2];
  Node& pending = (*held)[3];
};
INSTANTIATE_TEST_SUITE_P(At, AWalk, testing::ValuesIn(kernel::each_death), testing::PrintToStringParamName());

// --- By the number of entries --------------------------------------------------------------------------

// Spec: kernel.list-limit
TEST_P(AWalk, treats_2048_entries_and_the_pending_lock) {
  constexpr std::size_t limit = 2048;
  InSharedMemory<std::array<Node, limit + 2>> many;
  over([&] {
    for (std::size_t i = many->size(); i-- > 0;) {
      (*many)[i].word = *tid;
      list->put_first((*many)[i]);
    }
    list->set_pending(pending);
  });
  for (std::size_t i = 0; i < many->size(); ++i) ASSERT_EQ(treated((*many)[i]), i < limit) << "entry " << i;
  EXPECT_TRUE(treated(pending));
}

// Spec: kernel.list-limit
TEST_P(AWalk, counts_an_entry_that_is_pending_too) {
  InSharedMemory<std::array<Node, 2049>> many;
  over([&] {
    for (Node& lock : *many) {
      lock.word = *tid;
      list->put_first(lock);
    }
    list->set_pending((*many)[2048]);  // the first
  });
  EXPECT_FALSE(treated((*many)[0]));
  EXPECT_TRUE(treated((*many)[1]));
  EXPECT_TRUE(treated((*many)[2048]));
}

// Spec: kernel.list-limit
TEST_P(AWalk, leaves_an_endless_list_for_the_pending_lock) {
  over([&] {
    list->link({&first, &second});
    second.link.next = &first.link;
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(second));
  EXPECT_TRUE(treated(pending));
}

// --- By memory that is not there -----------------------------------------------------------------------

// Spec: kernel.list-torn
TEST_P(AWalk, ends_at_a_link_to_missing_memory) {
  const Pages pages(1);
  expect_to_end_at(pages.within(0), [&] { pages.forbid(0, PROT_NONE); });
}

// Spec: kernel.list-torn, kernel.exit-walk
TEST_P(AWalk, ends_at_a_null_link) {
  over([&] {
    list->link({&first, &second});
    second.link.next = nullptr;
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_TRUE(treated(second));
  EXPECT_FALSE(treated(pending));
}

// At its place in the list, the first, it would have been treated before the walk ends.
// Spec: kernel.listed-and-pending
TEST_P(AWalk, treats_a_listed_and_pending_lock_last) {
  over([&] {
    list->link({&first, &second});
    second.link.next = nullptr;
    list->set_pending(first);
  });
  EXPECT_TRUE(treated(second));
  EXPECT_FALSE(treated(first));
}

// Spec: kernel.list-torn
TEST_P(AWalk, ends_behind_an_entry_with_unreadable_link) {
  const Pages pages(2);
  Node& torn = pages.straddling(0);
  expect_to_end_at(torn, [&] {
    torn.word = *tid;
    pages.forbid(1, PROT_NONE);
  });
  EXPECT_TRUE(treated(torn));
}

// Spec: kernel.list-torn
TEST_P(AWalk, ends_at_a_word_that_cannot_be_read) {
  const Pages pages(2);
  expect_to_end_at(pages.straddling(0), [&] { pages.forbid(0, PROT_NONE); });
}

// Spec: kernel.list-torn
TEST_P(AWalk, ends_at_an_own_word_it_cannot_write) {
  const Pages pages(2);
  Node& sealed = pages.straddling(0);
  expect_to_end_at(sealed, [&] {
    sealed.word = *tid;
    pages.forbid(0, PROT_READ);
  });
  EXPECT_FALSE(treated(sealed));
}

// Spec: kernel.list-torn
TEST_P(AWalk, passes_over_anothers_word_that_cannot_be_written) {
  const Pages pages(2);
  Node& sealed = pages.straddling(0);
  over([&] {
    sealed.word = *tid + 1;
    list->link({&first, &sealed, &third});
    pages.forbid(0, PROT_READ);
    list->set_pending(pending);
  });
  EXPECT_EQ(sealed.word, *tid + 1);
  EXPECT_TRUE(treated(third));
  EXPECT_TRUE(treated(pending));
}

// Spec: kernel.list-torn
TEST_P(AWalk, ends_at_a_word_that_is_not_aligned) {
  const Pages pages(1);
  auto* const crooked = reinterpret_cast<unsigned char*>(&pages.within(0).link) + 2;
  const robust_list after{&third.link};
  expect_to_end_at(third, [&] {
    std::memcpy(crooked, &after, sizeof after);
    first.link.next = reinterpret_cast<robust_list*>(crooked);
  });
}

// Spec: kernel.list-torn
TEST_P(AWalk, treats_the_list_with_an_unreadable_pending_lock) {
  const Pages pages(1);
  Node& lost = pages.within(0);
  over([&] {
    list->link({&first, &second});
    list->set_pending(lost);
    pages.forbid(0, PROT_NONE);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_TRUE(treated(second));
}

}  // namespace
