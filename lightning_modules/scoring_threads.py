"""Threads that score what was predicted, beside the one that predicts the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar, overload

import torch
from threadpoolctl import ThreadpoolController

from contract.batch import CaseRow

MOST_THREADS = 8
"""A film holds Python's lock for 9 % of its time at 1024², for 14 % at 512², a scan for 8 %; for
the rest numpy, OpenCV, SciPy and torch release it. Eight leave room in it for the thread that
predicts, twelve would leave none."""

_Result = TypeVar("_Result")


class ScoringThreads:
    """Does tasks on threads of its own, each on one core, and never falls far behind.

    One thread owns it: the one that predicts. An error of a task reaches that thread whenever it
    comes here next, and ends all others.

    Args:
        count: threads.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = ThreadPoolExecutor(
            count, "scoring", initializer=_keep_to_one_core, initargs=(ThreadpoolController(),)
        )
        self._unfinished: list[Future[Any]] = []

    def submit(self, task: Callable[..., _Result], *given: Any) -> Future[_Result]:
        """Have a task done after those before it; it may wait for those, never for later ones."""
        future = self._pool.submit(task, *given)
        self._unfinished.append(future)
        return future

    def wait_for_room(self) -> None:
        """Wait until no more tasks are unfinished than there are threads.

        All of them are busy until then, so nobody waits whom the owner could have given work.

        Raises:
            Exception: what a task raised.
        """
        self._wait_until(lambda: len(self._unfinished) <= self._count)

    def results(self, futures: Sequence[Future[_Result]]) -> list[_Result]:
        """Wait for some of the tasks; return what they returned.

        Raises:
            Exception: what a task raised, one of these or another.
        """
        wanted = set(futures)
        self._wait_until(lambda: wanted.isdisjoint(self._unfinished))
        return [future.result() for future in futures]

    def finish(self) -> None:
        """Wait for all tasks, and end the threads.

        Raises:
            Exception: what a task raised.
        """
        self._wait_until(lambda: not self._unfinished)
        self._pool.shutdown()

    def stop(self) -> None:
        """Drop what has not begun, and have the threads end after what has."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wait_until(self, enough: Callable[[], bool]) -> None:
        try:
            while True:
                unfinished = []
                for future in self._unfinished:
                    if future.done():
                        future.result()
                    else:
                        unfinished.append(future)
                self._unfinished = unfinished
                if enough():
                    return
                wait(unfinished, return_when=FIRST_COMPLETED)
        except BaseException:  # Ctrl-C too
            self.stop()
            raise


def _keep_to_one_core(libraries: ThreadpoolController) -> None:
    """Let torch start no threads of its own beside this one."""
    torch.get_num_threads()  # the first call in a thread sets the process's number, also this one
    libraries.limit(limits=1, user_api="openmp")


class LateRows(Sequence[CaseRow]):
    """Rows of a batch that may still be scored: whoever looks into them waits until they are.

    Args:
        threads: what scores them.
        parts: what becomes rows, in their order.
    """

    def __init__(self, threads: ScoringThreads, parts: Sequence[Future[list[CaseRow]]]) -> None:
        self._threads, self._parts = threads, list(parts)
        self._rows: list[CaseRow] = []

    @property
    def are_there(self) -> bool:
        """Whether nobody would have to wait."""
        return all(part.done() for part in self._parts)

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, place: int) -> CaseRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[CaseRow]: ...
    def __getitem__(self, place: int | slice) -> CaseRow | list[CaseRow]:
        return self._all()[place]

    def _all(self) -> list[CaseRow]:
        if self._parts:
            self._rows = [row for rows in self._threads.results(self._parts) for row in rows]
            self._parts = []
        return self._rows
