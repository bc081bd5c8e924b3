"""Workers: processes of this machine or of a Ray cluster that compute the chunks of a run.

The driver, which is the process that the user has started, is the only one that writes. It puts the
work, with model and data in it, into Ray's object store once, submits a task for each chunk that is
missing, and hands over what comes back in the order in which it comes. A chunk whose worker ends is
given to another one; if it ends three of them, the others are finished and the chunk is told of. A
driver that is killed goes on as any run does, with another number of workers if wanted: since every
draw is keyed, the rows are the same whoever computes them.
"""

import os
import re
import secrets
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module, metadata
from itertools import islice
from typing import Any, NamedTuple

import torch

from holdfast.errors import InputError, MissingPackageError, WorkersError
from holdfast.packed import brief, packed, unpacked
from holdfast.parameters import at_least_one
from holdfast.progress import Progress, silent
from holdfast.results import Done, Engine, Missing, Part, Work, done, here
from holdfast.threads import threads_of_a_worker

__all__ = ["check_workers", "connected", "workers_at"]

#: Workers of one machine: each is a process, so a slip must not fill it.
_MOST = 1024

#: How often a chunk may end its worker before it is given up.
_TRIES = 3

#: Chunks that are submitted and not back yet; so many keep any cluster busy.
_AHEAD = 4096

_SECONDS_TO_ANSWER = 10.0  # until a cluster is taken for none
_SECONDS_TO_BEGIN = 300.0  # until the first worker of a machine must have begun

_ADDRESS = re.compile(r"ray://(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d{1,5})")

#: Letters of a folder for temporary files in which the system still takes the path of a socket.
_SHORT = 20

#: What a worker must have in the driver's version: what computes the rows.
_SAME = ("holdfast", "torch")

#: Before Ray is imported. It asks nobody's leave to count its users, and on a machine without GPUs
#: warns of what it will do about them.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def check_workers(workers: int | str | None) -> int | str | None:
    """See that workers can be meant, and that Ray is installed if any are.

    Args:
        workers: how many, or the address of a Ray cluster; None for none.

    Returns:
        The same; a number in a text becomes one.

    Raises:
        InputError: if it is neither a number of at least 1 nor an address.
        MissingPackageError: if Ray is not installed.

    Example:
        >>> from holdfast.workers import check_workers
        >>> check_workers(0)
        Traceback (most recent call last):
        holdfast.errors.InputError: workers is 0, but must be at least 1.
    """
    if workers is None:
        return None
    if isinstance(workers, str) and re.fullmatch(r"[+-]?\d{1,9}", workers):
        workers = int(workers)
    if isinstance(workers, bool) or not isinstance(workers, int | str):
        raise InputError(_neither(workers))
    if isinstance(workers, int):
        at_least_one(workers=workers)
        if workers > _MOST:
            raise InputError(f"workers is {workers}, but must be at most {_MOST}.")
    elif _ADDRESS.fullmatch(workers) is None:
        raise InputError(_neither(workers))
    _ray()
    return workers


def _neither(workers: object) -> str:
    return (
        f"workers is {workers!r}, but must be a number of at least 1, or the address of a Ray "
        "cluster, such as ray://host:10001."
    )


def _ray() -> Any:
    """Ray, which is imported only where it is used.

    Raises:
        MissingPackageError: if it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("ray")
    except ImportError as error:
        raise MissingPackageError(
            f"workers need Ray, which cannot be imported ({error}): pip install 'holdfast[ray]', "
            "or leave --workers out."
        ) from error


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


@contextmanager
def connected(workers: int | str | None) -> Iterator[Any]:
    """Ray, connected for the block; None if there are no workers.

    A connection that exists already is used, and stays.

    Args:
        workers: see `workers_at`.

    Example:
        >>> from holdfast.workers import connected
        >>> with connected(None) as ray:
        ...     ray is None
        True
    """
    workers = check_workers(workers)
    if workers is None:
        yield None
        return
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    with _folder() as folder, _silenced():
        try:
            if isinstance(workers, int):
                _begin(ray, workers, folder)
            else:
                _join(ray, workers)
            _check_versions(ray)
            yield ray
        finally:
            ray.shutdown()


def _folder() -> tempfile.TemporaryDirectory[str]:
    """For Ray's logs and sockets; the path of a socket is short, and a user's folder may not be."""
    usual = tempfile.gettempdir()
    place = "/tmp" if len(usual) > _SHORT and os.path.isdir("/tmp") else usual
    return tempfile.TemporaryDirectory(prefix="holdfast-", dir=place, ignore_cleanup_errors=True)


@contextmanager
def _silenced() -> Iterator[None]:
    """Without what Ray prints of a worker that died, on standard output and at any level of logs.

    It is told here, and --json promises one object and nothing else.
    """
    worker, name = import_module("ray._private.worker"), "print_to_stdstream"
    before = getattr(worker, name, None)
    setattr(worker, name, lambda *_, **__: None)
    try:
        yield
    finally:
        setattr(worker, name, before)


def _begin(ray: Any, workers: int, folder: str) -> None:
    """Start Ray on this machine, for this process alone; it ends with it."""
    # Ray's ports are open to the network, and whoever shows the token may run what they like. Its
    # own would be left behind in the user's home.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        ray.init(
            "local",
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=folder,
        )
    except Exception as error:  # Ray raises what it likes
        raise WorkersError(
            f"Ray does not begin on this machine ({' '.join(str(error).split())}): leave --workers "
            "out."
        ) from error


def _join(ray: Any, address: str) -> None:
    """Connect to a cluster.

    Raises:
        WorkersError: if there is none.
    """
    found = _ADDRESS.fullmatch(address)
    assert found is not None  # it was checked
    try:
        # Ray itself would try for half a minute, and tell of each attempt.
        host, port = found["host"].strip("[]"), int(found["port"])
        socket.create_connection((host, port), timeout=_SECONDS_TO_ANSWER).close()
        os.environ.setdefault("RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S", f"{_SECONDS_TO_ANSWER:g}")
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # Ray raises what it likes
        raise WorkersError(
            f"no Ray cluster answers at {address} ({' '.join(str(error).split())[:200]}): see that "
            "ray start --head runs there, with the same versions of Ray and Python, and that the "
            "port is the one of Ray's clients, 10001 unless it was chosen otherwise."
        ) from error


def _versions() -> dict[str, str]:
    """Of what computes the rows, without torch's +cpu or +cu128, which tells its device."""
    return {name: metadata.version(name).partition("+")[0] for name in _SAME}


def _check_versions(ray: Any) -> None:
    """Ask a process of every machine which versions it has.

    What is asked of it is Python's own, so that it can answer whatever it has.

    Raises:
        WorkersError: if they are others than here, or it does not answer.
    """
    alone = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        where = f"the worker on {node['NodeManagerHostname']}"
        ask = ray.remote(num_cpus=0, scheduling_strategy=alone(node["NodeID"], soft=False))
        for name, own in _versions().items():
            try:
                answer = ask(metadata.version).remote(name)
                its = ray.get(answer, timeout=_SECONDS_TO_BEGIN).partition("+")[0]
            except metadata.PackageNotFoundError as error:
                raise WorkersError(
                    f"{where} has no {name}, and this process has {name} {own}: install "
                    "holdfast[ray] in the Python that Ray was started by."
                ) from error
            except ray.exceptions.RayError as error:
                raise WorkersError(f"{where} does not answer: {brief(error)}.") from error
            if its != own:
                raise WorkersError(_other(where, name, its, own))


def _path() -> list[str]:
    """The driver's, whole: on a worker its own places come first, and what is not there is not."""
    return [os.path.abspath(place) for place in sys.path]


def _other(where: str, name: str, its: str, own: str) -> str:
    return (
        f"{where} has {name} {its}, and this process has {name} {own}, so that rows could differ: "
        "install the same version on both."
    )


class _Sent(NamedTuple):
    """What workers are given once: the work, and on which terms it is done."""

    versions: Mapping[str, str]
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
        sent = ray.put(_Sent(_versions(), threads, _path(), packed(ray, work)))
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
    if isinstance(cause, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(cause):
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
    sent = _ray().get(reference)
    for name, its in _versions().items():
        if its != sent.versions[name]:
            where = f"the worker on {socket.gethostname()}"
            raise WorkersError(_other(where, name, its, sent.versions[name]))
    torch.set_num_threads(sent.threads)
    sys.path.extend(place for place in sent.path if place not in sys.path)
    return unpacked(sent.work)
