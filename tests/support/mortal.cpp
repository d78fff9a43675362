#include "support/mortal.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/robust_futex.hpp"

namespace kernel {

std::ostream& operator<<(std::ostream& out, Death death) {
  switch (death) {
    case Death::by_sigkill:
      return out << "by_sigkill";
    case Death::by_exit_group:
      return out << "by_exit_group";
    case Death::by_end_of_thread:
      return out << "by_end_of_thread";
  }
  return out << "no death at all";
}

Mortal::Mortal(Death death, const std::function<void(std::uint32_t tid)>& prepare) : death_(death), tid_(0) {
  if (death_ == Death::by_end_of_thread) {
    thread_ = std::thread([this, prepare] { live(prepare); });
  } else {
    process_ = fork();
    if (process_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      live(prepare);
      _exit(0);
    }
    if (process_ < 0) ADD_FAILURE() << "fork failed";
  }
  prepared_.wait();
}

void Mortal::live(const std::function<void(std::uint32_t tid)>& prepare) {
  *tid_ = this_tid();
  prepare(static_cast<std::uint32_t>(*tid_));
  prepared_.open();
  may_die_.wait();
}

Mortal::~Mortal() {
  die();
}

void Mortal::begin_to_die() {
  if (is_dying_) return;
  is_dying_ = true;
  if (death_ == Death::by_sigkill)
    EXPECT_EQ(kill(process_, SIGKILL), 0);
  else
    may_die_.open();
}

void Mortal::die() {
  begin_to_die();
  if (thread_.joinable()) thread_.join();
  if (process_ <= 0) return;
  int status = 0;
  EXPECT_EQ(waitpid(process_, &status, 0), process_);
  EXPECT_EQ(WIFSIGNALED(status), death_ == Death::by_sigkill) << "it died of something else";
  process_ = 0;
}

}  // namespace kernel
