// Objects in static storage, used by detached threads when main() has returned.
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace {

class StaticObject : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Kind, StaticObject,
                         testing::Values("global_lockable", "global_shared", "local_lockable",
                                         "local_shared"),
                         [](const auto& kind) { return std::string(kind.param); });

// Spec: lockable.static
TEST_P(StaticObject, may_be_used_when_main_has_returned) {
  std::string program = STATIC_OBJECTS;
  std::string kind = GetParam();
  char* const arguments[] = {program.data(), kind.data(), nullptr};
  pid_t process = 0;
  ASSERT_EQ(posix_spawn(&process, program.c_str(), nullptr, nullptr, arguments, environ), 0);
  int status = -1;
  ASSERT_EQ(waitpid(process, &status, 0), process);
  EXPECT_EQ(status, 0);
}

}  // namespace
