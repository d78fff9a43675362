"""Eight processes share one object, four of them forked and four spawned. One is killed at work."""
import multiprocessing
import os
import signal

import heirlock


class Worker(heirlock.Lockable):
    def __init__(self):
        super().__init__()
        self.begun = multiprocessing.RawValue("q", 0)  # what the processes share lies in shared memory
        self.done = multiprocessing.RawValue("q", 0)

    @heirlock.Lockable.locked
    def do_work_one(self, is_doomed=False):
        self.begun.value += 1
        if is_doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        self.do_work_two()  # a locked method may call another

    @heirlock.Lockable.locked
    def do_work_two(self):
        self.done.value += 1

    def recover(self):  # the last owner was killed: whoever comes next undoes what was left half-done
        self.begun.value = self.done.value


def work(worker, is_doomed):
    for _ in range(1000):
        worker.do_work_one()
    if is_doomed:
        worker.do_work_one(is_doomed)


if __name__ == "__main__":
    worker = Worker()
    kinds = [multiprocessing.get_context(kind) for kind in ("fork", "spawn")] * 4
    processes = [kind.Process(target=work, args=(worker, i == 3)) for i, kind in enumerate(kinds)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with worker:
        print(f"begun {worker.begun.value}, done {worker.done.value}")
        assert worker.begun.value == worker.done.value == 8000
