#!/usr/bin/env python3
"""What fork makes of a lock: a child owns nothing of its parent's, whenever either used the library first."""
import ctypes
import os
import threading
import unittest

from heirlock import AcquireResult, Lock
from party import LIMIT, in_a_child


class Fork(unittest.TestCase):
    # Spec: python.fork
    def test_a_childs_first_call_may_be_in_the_child(self):
        lock = Lock()
        self.assertEqual(in_a_child(lambda: (lock.acquire_result(), lock.depth(), lock.release())), repr((AcquireResult.acquired, 1, None)))
        self.assertIs(lock.acquire_result(), AcquireResult.acquired)

    # Spec: python.fork
    def test_new_locks_of_parent_and_child_are_not_the_same_after_a_fork_by_c(self):
        kept = Lock()
        reader, writer = os.pipe()
        child = ctypes.PyDLL(None).fork()
        lock = Lock()
        if child == 0:
            lock.acquire()
            os.write(writer, b"acquired")
            os._exit(0)
        os.waitpid(child, 0)
        self.assertEqual((os.read(reader, 8), lock.acquire_result(), kept.owner()), (b"acquired", AcquireResult.acquired, 0))

    # Spec: python.fork
    def test_a_child_made_by_another_thread_may_use_its_parents_locks(self):
        lock, answers = Lock(), []
        thread = threading.Thread(target=lambda: answers.append(in_a_child(lambda: (lock.acquire_result(timeout=LIMIT), lock.release()))))
        thread.start()
        thread.join()
        self.assertEqual(answers, [repr((AcquireResult.acquired, None))])

    # Spec: python.fork, python.collected
    def test_a_child_that_drops_a_lock_leaves_the_parents_as_it_is(self):
        locks = [Lock()]
        locks[0].acquire()
        in_a_child(locks.clear)
        self.assertEqual(locks[0].depth(), 1)
        locks[0].release()


if __name__ == "__main__":
    unittest.main()
