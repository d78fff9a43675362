// Says by one byte that it runs, and ends when its input does.
#include <unistd.h>

int main() {
  char byte = '!';
  if (write(STDOUT_FILENO, &byte, 1) != 1) return 1;
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
}
