"""What mypy --strict is to accept, and the one line that it is not to (install_test.py)."""
import fractions

import heirlock


class Counter(heirlock.Lockable):
    def __init__(self, start: int, name: str | None = None) -> None:
        super().__init__(name)
        self.value = start

    @heirlock.Lockable.locked
    def add(self, amount: int, *, often: int = 1) -> int:
        self.value += amount * often
        return self.value

    def recover(self) -> None:
        self.value = 0


def use(counter: Counter) -> int:
    if counter.acquire(timeout=fractions.Fraction(1, 3)) and not counter.acquire(block=False, timeout=1) and counter.acquire(False, 1):
        counter.release()
    with heirlock.Lock("name") as lock, Counter.create("other", 3) as other:
        if lock.acquire_result(False) is heirlock.AcquireResult.inherited:
            lock.repaired()
    total: int = other.add(lock.depth(), often=2)
    try:
        counter.release()
    except heirlock.OwnerDiedError as error:
        print(error.errno, heirlock.Lock.remove("name"))
    return total + counter.add("one")  # the error
