"""One process per contestant: opened, asked for its outputs, asked for rounds, closed.

So each has its own memory, threads and libraries, and one that crashes costs the others nothing.
Processes wait while they are not asked.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.contestants import load
from benchmarks.contestants.contract import Found, Setup
from detkit.benchmark import Instruments, Round
from detkit.errors import describe

# Loading torch, a model and an export takes up to half a minute on two busy cores.
_PATIENCE_S = 240.0
# Ray takes some seconds to end its processes.
_GRACE_S = 15.0


class ContestantError(RuntimeError):
    """A contestant could not be opened, or died."""


class RemoteContestant:
    """A contestant in a process of its own. A context manager.

    Args:
        name: Of its file.
        scenario: What it takes part in.
        setup: Given to all.

    Raises:
        ContestantError: If it does not open.
    """

    def __init__(self, name: str, scenario: str, setup: Setup) -> None:
        self.name = name
        # "spawn": a forked child would inherit threads and libraries of this process.
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, name, scenario, setup), daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            self._answer()
        except ContestantError:
            self.close()
            raise

    def outputs(self) -> list[Found]:
        """What it finds in the images."""
        found: list[Found] = self._ask("outputs")
        return found

    def play(self, seed: int) -> Round:
        """One round; the seed is not used, as nothing here is random."""
        played: Round = self._ask("round")
        return played

    def close(self) -> None:
        """End the process: told that nobody asks any more, it ends its helpers and itself."""
        self._mine.close()
        self._process.join(_GRACE_S)
        if self._process.is_alive():
            self._process.terminate()
        self._process.join()

    def __enter__(self) -> RemoteContestant:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: str) -> Any:
        try:
            self._mine.send(question)
        except OSError as error:
            raise ContestantError(f"{self.name} is gone") from error
        return self._answer()

    def _answer(self) -> Any:
        try:
            if not self._mine.poll(_PATIENCE_S):
                raise ContestantError(f"{self.name} did not answer in {_PATIENCE_S:g} s")
            is_good, answer = self._mine.recv()
        except (EOFError, OSError) as error:
            raise ContestantError(f"the process of {self.name} died") from error
        if not is_good:
            raise ContestantError(answer)
        return answer


def _serve(connection: Connection, name: str, scenario: str, setup: Setup) -> None:
    # What libraries print and deprecate belongs to nobody.
    warnings.simplefilter("ignore")
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        tools = _instruments(has_helpers=getattr(load(name), "HELPERS", False))
        work = load(name).WAYS[scenario](setup)
        connection.send((True, None))
        while True:
            question = connection.recv()
            answer = work() if question == "outputs" else _timed(work, tools)
            connection.send((True, answer))
    except EOFError:
        return
    except BaseException as error:  # noqa: BLE001  told to the parent, whatever it is
        connection.send((False, describe(error)))


def _instruments(*, has_helpers: bool) -> Instruments:
    """The usual ones; those of a contestant with helpers count all its processes."""
    return (
        Instruments(cpu_clock=_cpu_of_all, memory=_MemoryOfAll()) if has_helpers else Instruments()
    )


def _cpu_of_all() -> float:
    import psutil

    times = [process.cpu_times() for process in _family(psutil.Process())]
    return sum(t.user + t.system for t in times)


class _MemoryOfAll:
    """What all processes hold now: their peaks need not fall together."""

    def reset(self) -> None:
        return

    def peak_bytes(self) -> int:
        import psutil

        return sum(process.memory_info().rss for process in _family(psutil.Process()))


def _family(process: Any) -> list[Any]:
    return [process, *(p for p in process.children(recursive=True) if p.is_running())]


def _timed(work: Any, tools: Instruments) -> Round:
    tools.collect()
    tools.memory.reset()
    cpu_before, started = tools.cpu_clock(), tools.clock()
    found = work()
    elapsed_s = tools.clock() - started
    return Round(
        elapsed_s=elapsed_s,
        num_ok=len(found),
        cpu_s=tools.cpu_clock() - cpu_before,
        peak_bytes=tools.memory.peak_bytes(),
    )
