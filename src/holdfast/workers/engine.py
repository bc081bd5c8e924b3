"""The engine that is Ray's: chunks become tasks, and what comes back is handed over."""

import os
import socket
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import torch

from holdfast.errors import WorkersError
from holdfast.memory import out_of_memory
from holdfast.progress import Progress, silent
from holdfast.results import Done, Engine, Missing, Part, Work, done, here
from holdfast.threads import threads_of_a_worker
from holdfast.workers.cluster import connected, imported_ray
from holdfast.workers.packed import brief, packed, unpacked
from holdfast.workers.versions import check_same, versions

#: How often a chunk may end its worker before it is given up.
_TRIES = 3

#: Chunks that are submitted and not back yet; so many keep any cluster busy.
_AHEAD = 4096


@contextmanager
def workers_at(
    workers: int | str | None, device: torch.device, progress: Progress = silent
) -> Iterator[Engine]:
    """Who computes a run within the block.

    Args:
        workers: how many processes of this machine, or the address of a Ray cluster; None for this
            process itself.
        device: where the model is; workers have one of its kind.
        progress: told about workers that were lost.

    Raises:
        InputError, MissingPackageError: see `check_workers`.
        WorkersError: if there are none, or they are of another version.

    Example:
        >>> from holdfast.results import here
        >>> from holdfast.workers import workers_at
        >>> with workers_at(None, torch.device("cpu")) as engine:
        ...     engine is here
        True
    """
    with connected(workers) as ray:
        if ray is None:
            yield here
            return
        gpus = 0.0
        if device.type == "cuda":
            there = float(ray.cluster_resources().get("GPU", 0))
            if not there:
                raise WorkersError(
                    f"the model is on {device}, and none of the workers' machines has a GPU that "
                    "Ray knows of: give --accelerator cpu."
                )
            gpus = min(1.0, there / workers) if isinstance(workers, int) else 1.0
        cpus = 1 if isinstance(workers, int) else threads_of_a_worker()
        yield _Workers(ray, cpus, gpus, progress)


def _places() -> list[str]:
    """The driver's, whole: on a worker its own places come first, and what is not there is not."""
    return [os.path.abspath(place) for place in sys.path]


class _Sent(NamedTuple):
    """What workers are given once: the work, and on which terms it is done."""

    versions: dict[str, str]
    threads: int
    path: Sequence[str]  # where the driver finds modules, the user's own among them
    work: bytes


@dataclass(frozen=True)
class _Workers:
    """The engine that is Ray's.

    Attributes:
        ray: connected.
        cpus: of each worker.
        gpus: of each worker.
        progress: told about workers that were lost.
    """

    ray: Any
    cpus: int
    gpus: float
    progress: Progress

    def __call__(self, work: Work, missing: Iterable[Missing]) -> Iterator[Done]:
        """Have every chunk computed; see `holdfast.results.Engine`."""
        ray, threads = self.ray, threads_of_a_worker()
        if threads != torch.get_num_threads():
            self.progress.say(
                f"workers compute on {threads} thread, where one process alone would on "
                f"{torch.get_num_threads()}: rows can differ from its by rounding, unless "
                f"OMP_NUM_THREADS={threads} is set for both"
            )
        # Of the chunks that are tried again here, Ray would try some without end.
        task = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0)(_computed)
        sent = ray.put(_Sent(versions(), threads, _places(), packed(ray, work)))
        left, waiting, lost = iter(missing), dict[Any, tuple[Missing, int]](), list[str]()
        try:
            while True:
                for chunk in islice(left, _AHEAD - len(waiting)):
                    waiting[task.remote([sent], chunk)] = chunk, 1
                if not waiting:
                    break
                (ready,), _ = ray.wait([*waiting], num_returns=1)
                chunk, tries = waiting.pop(ready)
                try:
                    found, told = ray.get(ready)
                except ray.exceptions.RayError as error:
                    reason = _why_lost(ray, error)
                    if tries < _TRIES:
                        self.progress.say(f"{_named(chunk)} goes to another worker: {reason}")
                        waiting[task.remote([sent], chunk)] = chunk, tries + 1
                    else:
                        lost.append(f"{_named(chunk)} ({reason})")
                    continue
                for text in told:
                    warnings.warn(text, stacklevel=2)
                yield from found
        finally:
            for ready in waiting:
                ray.cancel(ready, force=True)
        if lost:
            raise WorkersError(
                f"{_TRIES} workers each ended on {', '.join(lost)}: the rest is finished and, with "
                "--out, kept; run the same command again with more memory for each worker, such as "
                "by fewer --workers."
            )


def _named(chunk: Missing) -> str:
    return f"chunk {chunk.chunk} (images {int(chunk.index[0])} to {int(chunk.index[-1])})"


def _why_lost(ray: Any, error: Exception) -> str:
    """How a worker came to an end; what the work itself raised is raised here.

    But for want of memory: of that a worker dies in one way or the other.
    """
    if not isinstance(error, ray.exceptions.RayTaskError):
        return brief(error)
    cause = error.cause
    if out_of_memory(cause):
        return f"out of memory: {brief(cause)}"
    raise cause from error


def _computed(sent: Sequence[Any], missing: Missing) -> tuple[list[Done], list[str]]:
    """The task, in a worker: what a chunk lacks, and what was warned of."""
    work = _loaded(sent[0])
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        found = [
            one._replace(part=_on_the_cpu(one.part))  # the driver may have no such device
            for one in done(work, missing)
        ]
    return found, [str(one.message) for one in heard]


def _on_the_cpu(part: Part) -> Part:
    return part._replace(images={name: image.cpu() for name, image in part.images.items()})


@lru_cache(maxsize=1)
def _loaded(reference: Any) -> Work:
    """The work, unpacked once in each worker.

    Raises:
        WorkersError: if this worker, which may have come later, is of another version.
    """
    sent = imported_ray().get(reference)
    check_same(f"the worker on {socket.gethostname()}", versions(), sent.versions)
    torch.set_num_threads(sent.threads)
    sys.path.extend(place for place in sent.path if place not in sys.path)
    return unpacked(sent.work)
