"""OpenCV's threads, which belong to the whole process: borrowed for single calls on pictures.

The number that a user set holds at all other times. Knows OpenCV and a number.
"""

from __future__ import annotations

import os
import threading

import cv2


class OpenCvThreads:
    """While anybody is inside, OpenCV takes as many threads as it was told, if it was. Thread-safe.

    Two workers that both let OpenCV take every core wait for each other; the number itself is
    changed in 0.1 us. But going down to one also ends the threads that OpenCV has, and waits for
    that: 4 ms on two busy cores. So whoever hands OpenCV whole pictures beside a working detector
    comes in here as well. (Zero would end none, but a call that starts at that moment subtracts
    one from it to know how many to start: `ThreadPool::run` in its parallel_impl.cpp.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_inside = 0
        self._before = 0
        self.num_threads: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            self._num_inside += 1
            if self._num_inside == 1:
                self._before = cv2.getNumThreads()
                if self.num_threads is not None:
                    cv2.setNumThreads(self.num_threads)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._num_inside -= 1
            if self._num_inside == 0:
                cv2.setNumThreads(self._before)

    def forget(self) -> None:
        """In a forked child: whoever was inside stayed behind."""
        self._lock = threading.Lock()
        if self._num_inside:
            self._num_inside = 0
            cv2.setNumThreads(self._before)


opencv_threads = OpenCvThreads()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=opencv_threads.forget)
