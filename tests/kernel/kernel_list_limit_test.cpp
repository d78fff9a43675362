// Where the kernel's walk over a dying thread's locks ends early.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "mortal.hpp"
#include "robust_futex.hpp"
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
    EXPECT_TRUE(word == owner_died || word == *tid) << "found the word " << word;
    return word == owner_died;
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
TEST_P(AWalk, treats_the_first_2048_entries_and_no_more) {
  constexpr std::size_t limit = 2048;
  InSharedMemory<std::array<Node, limit + 2>> many;
  over([&] {
    for (std::size_t i = many->size(); i-- > 0;) {
      (*many)[i].word = *tid;
      list->put_first((*many)[i]);
    }
  });
  for (std::size_t i = 0; i < many->size(); ++i) ASSERT_EQ(treated((*many)[i]), i < limit) << "entry " << i;
}

// Spec: kernel.list-limit
TEST_P(AWalk, treats_the_pending_lock_besides_a_list_that_is_too_long) {
  InSharedMemory<std::array<Node, 2050>> many;
  over([&] {
    for (Node& lock : *many) {
      lock.word = *tid;
      list->put_first(lock);
    }
    list->set_pending(pending);
  });
  EXPECT_FALSE(treated((*many)[0]));
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
TEST_P(AWalk, round_a_list_that_never_ends_goes_on_to_the_pending_lock) {
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
TEST_P(AWalk, ends_at_a_link_that_leads_to_memory_that_is_not_there) {
  const Pages pages(1);
  Node& lost = pages.within(0);
  over([&] {
    list->link({&first, &lost, &third});
    pages.forbid(0, PROT_NONE);
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_FALSE(treated(third));
  EXPECT_FALSE(treated(pending));
}

// Spec: kernel.list-torn
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

// Spec: kernel.list-torn
TEST_P(AWalk, treats_an_entry_whose_own_link_cannot_be_read_and_then_ends) {
  const Pages pages(2);
  Node& torn = pages.straddling(0);
  over([&] {
    torn.word = *tid;
    list->link({&first, &torn, &third});
    pages.forbid(1, PROT_NONE);
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_TRUE(treated(torn));
  EXPECT_FALSE(treated(third));
  EXPECT_FALSE(treated(pending));
}

// Spec: kernel.list-torn
TEST_P(AWalk, ends_at_a_word_that_cannot_be_read) {
  const Pages pages(2);
  Node& torn = pages.straddling(0);
  over([&] {
    list->link({&first, &torn, &third});
    pages.forbid(0, PROT_NONE);
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_FALSE(treated(third));
  EXPECT_FALSE(treated(pending));
}

// Spec: kernel.list-torn
TEST_P(AWalk, ends_at_an_own_word_that_cannot_be_written) {
  const Pages pages(2);
  Node& sealed = pages.straddling(0);
  over([&] {
    sealed.word = *tid;
    list->link({&first, &sealed, &third});
    pages.forbid(0, PROT_READ);
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_FALSE(treated(sealed));
  EXPECT_FALSE(treated(third));
  EXPECT_FALSE(treated(pending));
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
  over([&] {
    list->link({&first, &third});
    std::memcpy(crooked, &after, sizeof after);
    first.link.next = reinterpret_cast<robust_list*>(crooked);
    list->set_pending(pending);
  });
  EXPECT_TRUE(treated(first));
  EXPECT_FALSE(treated(third));
  EXPECT_FALSE(treated(pending));
}

// Spec: kernel.list-torn
TEST_P(AWalk, treats_the_list_when_the_pending_lock_cannot_be_read) {
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
