"""The connection to Ray: begun on this machine for this process alone, or a cluster's."""

import os
import re
import secrets
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from holdfast.errors import InputError, MissingPackageError, WorkersError
from holdfast.parameters import at_least_one
from holdfast.threads import warn_if_crowded
from holdfast.workers.versions import check_versions

#: Workers of one machine: each is a process, so a slip must not fill it.
_MOST = 1024

_SECONDS_TO_ANSWER = 10.0  # until a cluster is taken for none

_ADDRESS = re.compile(r"ray://(?P<host>[^/:]+|\[[^]]+\]):(?P<port>\d{1,5})")

#: Letters of a folder for temporary files in which the system still takes the path of a socket.
_SHORT = 20

#: Before Ray is imported. It asks nobody's leave to count its users, warns on a machine without
#: GPUs of what it will do about them, and logs what chunks have raised that nobody asks for any
#: more, since another one's error has ended the run.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
}


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
    imported_ray()
    return workers


def _neither(workers: object) -> str:
    return (
        f"workers is {workers!r}, but must be a number of at least 1, or the address of a Ray "
        "cluster, such as ray://host:10001."
    )


def imported_ray() -> Any:
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
def connected(workers: int | str | None) -> Iterator[Any]:
    """Ray, connected for the block; None if there are no workers.

    A connection that exists already is used, and stays.

    Args:
        workers: how many processes of this machine, or the address of a Ray cluster; None for none.

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
    ray = imported_ray()
    if ray.is_initialized():
        yield ray
        return
    with _folder() as folder, _silenced(), _terminated_in_order() as settle:
        try:
            if isinstance(workers, int):
                _begin(ray, workers, folder)
            else:
                _join(ray, workers)
            settle()
            check_versions(ray)
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


@contextmanager
def _terminated_in_order() -> Iterator[Callable[[], None]]:
    """Let SIGTERM, by which clusters end a job, end the block as Ctrl-C does.

    Ray would answer it with a list of addresses and an abort. Who has another use for the signal,
    or ignores it, keeps it.

    Yields:
        What is called once Ray has taken the signal for itself.
    """
    before, interrupt = signal.getsignal(signal.SIGTERM), signal.default_int_handler
    if before is None or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    try:
        yield lambda: _answered(interrupt if before is signal.SIG_DFL else before)
    finally:
        _answered(before)


def _answered(by: Any) -> None:
    signal.signal(signal.SIGTERM, by)


def _begin(ray: Any, workers: int, folder: str) -> None:
    """Start Ray on this machine, for this process alone; it ends with it."""
    # Ray's ports are open to the network, and whoever shows the token may run what they like. Its
    # own would be left behind in the user's home.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    warn_if_crowded(workers)
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
