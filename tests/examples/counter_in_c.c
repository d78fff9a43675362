#include <heirlock/heirlock.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct counter {
  heirlock_lock lock;
  long value;
};

static void increment(struct counter* counter) {
  const heirlock_outcome outcome = heirlock_acquire(&counter->lock);
  if (outcome < 0) {
    fprintf(stderr, "%s\n", heirlock_last_message());
    _exit(1);
  }
  if (outcome == heirlock_inherited) heirlock_repaired(&counter->lock);  // one store is never half-done
  ++counter->value;
  heirlock_release(&counter->lock);
}

int main(void) {
  struct counter* const counter =
      mmap(NULL, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (counter == MAP_FAILED) return 1;
  for (int worker = 0; worker < 4; ++worker) {
    if (fork() != 0) continue;
    for (int i = 0; i < 250000; ++i) increment(counter);
    return 0;
  }
  while (wait(NULL) > 0) continue;
  printf("counted to %ld\n", counter->value);
  return counter->value == 1000000 ? 0 : 1;
}
