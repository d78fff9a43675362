// The main function of every test program: a test that hangs is ended and named. HEIRLOCK_TEST_SECONDS is for
// machines that are emulated, and slow.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace {

const char* const given_seconds = getenv("HEIRLOCK_TEST_SECONDS");
const char* const seconds_a_test = given_seconds != nullptr ? given_seconds : "300";
const char* running = "";

void bark(int) {
  const char* const texts[] = {"\nwatchdog: the test ", running, " has not ended within ", seconds_a_test,
                               " s; it hangs\n"};
  for (const char* text : texts)
    if (write(STDERR_FILENO, text, strlen(text)) < 0) break;
  abort();
}

class Watchdog : public testing::EmptyTestEventListener {
  void OnTestStart(const testing::TestInfo& test) override {
    running = test.name();
    signal(SIGALRM, bark);
    alarm(static_cast<unsigned>(atoi(seconds_a_test)));
  }
  void OnTestEnd(const testing::TestInfo&) override { alarm(0); }
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  testing::UnitTest::GetInstance()->listeners().Append(new Watchdog);
  return RUN_ALL_TESTS();
}
