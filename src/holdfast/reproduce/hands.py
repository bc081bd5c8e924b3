"""Hands: who does the steps of a reproduction, one at a time or several at once.

A step of a small network leaves most of a machine idle: a GPU waits for Python, and cores for each
other. Several processes that each do one step fill it. Every step is keyed by its own seed and has
a folder of its own, so its numbers are the same whoever does it, and whatever is done beside it;
but for how sums of a large network are rounded, since each process has one thread.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Protocol, runtime_checkable

import torch

from holdfast.errors import HoldfastError, InputError
from holdfast.threads import threads_of_a_worker

#: Does what would be typed after ``holdfast``.
Runner = Callable[[Sequence[str]], None]

#: A process takes gigabytes, so a slip must not fill a machine.
_MOST = 256


@runtime_checkable
class Hands(Protocol):
    """They take steps up, by the names of their folders, and tell what has become of each."""

    @property
    def free(self) -> bool:
        """Whether they can take up another."""
        ...

    def take(self, folder: str, arguments: Sequence[str]) -> None:
        """Take up what would be typed after ``holdfast``."""
        ...

    def ended(self) -> tuple[str, str | None]:
        """Wait for one to end: its folder, and one sentence if it failed."""
        ...


class OneAtATime:
    """This process.

    Args:
        run: does what would be typed after ``holdfast``.
    """

    def __init__(self, run: Runner) -> None:
        self._run = run
        self._taken: tuple[str, Sequence[str]] | None = None

    @property
    def free(self) -> bool:
        """Whether nothing is taken up."""
        return self._taken is None

    def take(self, folder: str, arguments: Sequence[str]) -> None:
        """Take it up; it is done once its end is waited for."""
        self._taken = folder, arguments

    def ended(self) -> tuple[str, str | None]:
        """Do it."""
        assert self._taken is not None
        (folder, arguments), self._taken = self._taken, None
        return folder, reason(self._run, arguments)


class AtOnce:
    """Processes of this machine, each with one step at a time, and its turn of the GPUs.

    A process that ends on a step, by a kill or for want of memory, fails that step alone; another
    takes its place. They end with the block that they are made for, whatever they are at, and with
    the process that made them, however that ends.

    Args:
        run: does what would be typed after ``holdfast``; importable, since they import it.
        processes: how many.
    """

    def __init__(self, run: Runner, processes: int) -> None:
        self._run = run
        self._places: list[_Process | None] = [None] * processes
        self._work: dict[str, _Process] = {}

    def __enter__(self) -> "AtOnce":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for one in filter(None, self._places):
            one.process.terminate()
            one.process.join()

    @property
    def free(self) -> bool:
        """Whether a process has nothing to do."""
        return len(self._work) < len(self._places)

    def take(self, folder: str, arguments: Sequence[str]) -> None:
        """Give it to a process that has nothing to do."""
        idle = (place for place, one in enumerate(self._places) if one not in self._work.values())
        place = next(idle)
        one = self._places[place]
        if one is None or not one.process.is_alive():  # somebody may have ended an idle one
            one = self._places[place] = self._begun(place)
        self._work[folder] = one
        one.connection.send(list(arguments))

    def ended(self) -> tuple[str, str | None]:
        """Wait for the process that is done first."""
        ready = wait([one.connection for one in self._work.values()])
        folder, one = next(
            (folder, one) for folder, one in self._work.items() if one.connection in ready
        )
        del self._work[folder]
        try:
            return folder, one.connection.recv()
        except EOFError:
            one.process.join()
            self._places[self._places.index(one)] = None
            return folder, (
                f"the process that did it ended with exit code {one.process.exitcode}; if memory "
                "ran out, do fewer steps at once, and run it again."
            )

    def _begun(self, place: int) -> "_Process":
        here, there = multiprocessing.Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(there, self._run, place), daemon=True
        )
        process.start()
        there.close()  # so that its end is the connection's
        return _Process(process, here)


@dataclass(frozen=True, eq=False)
class _Process:
    process: BaseProcess
    connection: Connection


def check_at_once(number: int) -> None:
    """Raises InputError unless so many steps can be done at once."""
    if not 1 <= number <= _MOST:
        raise InputError(f"--at-once is {number}, but must be from 1 to {_MOST}.")


def reason(run: Runner, arguments: Sequence[str]) -> str | None:
    """Do it, and say in one sentence why it failed, if it did."""
    try:
        run(arguments)
    except HoldfastError as error:
        return sentence(error)
    return None


def sentence(error: HoldfastError) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split())


def _serve(connection: Connection, run: Runner, place: int) -> None:
    """What a process does: steps, until the connection ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _take_turn(place)
    torch.set_num_threads(threads_of_a_worker())
    try:
        while True:
            connection.send(reason(run, connection.recv()))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    """Wait for the process that made this one, which a kill lets tell nobody, and end too.

    Otherwise the step would go on behind the back of whoever began it, and hold its folder's lock.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _take_turn(place: int) -> None:
    """Of the GPUs that are seen, see one; before CUDA begins, which looks once."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    seen = named.split(",") if named else [str(one) for one in range(torch.cuda.device_count())]
    if seen:
        os.environ["CUDA_VISIBLE_DEVICES"] = seen[place % len(seen)]
