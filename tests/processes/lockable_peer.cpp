// A program that uses the lock with the name it is given, as it is told on its standard input: a letter a
// command, answered by a letter. It ends when the input does.
#include "processes/lockable_peer.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <string>
#include <string_view>

namespace {

char answer(NamedCounter& object, char command) {
  switch (command) {
    case peer::acquire: {
      const int before = object.recoveries;
      object.acquire();
      return object.recoveries == before ? peer::acquired : peer::recovered;
    }
    case peer::try_acquire:
      return object.acquire(false) ? peer::acquired : peer::busy;
    case peer::increment:
      for (int i = 0; i < peer::increments; ++i) object.increment();
      return peer::done;
    case peer::release:
      try {
        object.release();
        return peer::done;
      } catch (const heirlock::AssertionError&) {
        return peer::refused;
      }
    default:
      return '?';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  NamedCounter object(argv[1]);
  char letter = 0;
  while (read(STDIN_FILENO, &letter, 1) == 1) {
    letter = answer(object, letter);
    if (write(STDOUT_FILENO, &letter, 1) != 1) return 1;
  }
}
