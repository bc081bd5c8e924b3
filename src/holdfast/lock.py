"""The lock of a run folder: one process writes to it, and a second is told which one.

The lock is a file that says who holds it. It is linked into place whole, which either succeeds or
finds another one there, also on a network's file system. A process that was killed leaves its lock
behind; on the same host that is seen, and the lock is taken over. A process is known by its number
and by when it started, since numbers are used again.
"""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.errors import DamagedFileError, MissingFileError, OutputError
from holdfast.files import create_json, read_as

LOCK = "lock.json"


@dataclass(frozen=True)
class Owner:
    """A process that holds a lock.

    Attributes:
        process: its number.
        host: the machine that it runs on.
        space: the numbers' own: equal numbers in two containers of a host are two processes.
        started: when it did, as the system counts; None where it does not tell.
        since: when it took the lock; also tells apart two locks of one process.
    """

    process: int
    host: str
    space: str
    started: str | None
    since: str

    @classmethod
    def me(cls) -> "Owner":
        """This process, now."""
        since = datetime.now(UTC).isoformat()
        return cls(os.getpid(), platform.node(), _space(), _started(os.getpid()), since)

    @property
    def dead(self) -> bool:
        """Whether it has surely ended: of another host that cannot be told."""
        if (self.host, self.space) != (platform.node(), _space()) or self.started is None:
            return False
        return _started(self.process) != self.started


@contextmanager
def held(folder: Path) -> Iterator[Owner]:
    """Hold the lock of a folder that exists; that of a dead process is taken over.

    Raises:
        OutputError: if a process holds it that lives, or lives elsewhere.
    """
    mine = _take(folder)
    try:
        yield mine
    finally:
        with suppress(OSError, DamagedFileError):
            if owner(folder) == mine:  # and not another's by now
                (folder / LOCK).unlink()


def is_passing(entry: Path) -> bool:
    """Whether a file is one that a killed process leaves: a lock, or one under a temporary name."""
    return entry.suffix == ".tmp" or entry.name == LOCK


def in_use(folder: Path, holder: Owner | None) -> OutputError:
    """The error that another process holds the lock of a folder."""
    who = f"process {holder.process} on host {holder.host}" if holder else "another process"
    return OutputError(
        f"{folder} is in use by {who}; wait until it ends or give another --out (if it has ended, "
        f"remove {folder / LOCK})."
    )


def _take(folder: Path) -> Owner:
    mine = Owner.me()
    with _alone(folder):
        holder = owner(folder)
        if holder is not None and holder.dead:
            (folder / LOCK).unlink()
        try:
            create_json(folder / LOCK, asdict(mine))
        except FileExistsError:
            raise in_use(folder, owner(folder)) from None
    return mine


def owner(folder: Path) -> Owner | None:
    """Who holds the lock of a folder; None if nobody does.

    Raises:
        DamagedFileError: if the lock does not say.
    """
    try:
        owner: Owner = read_as(folder / LOCK, Owner)
        return owner
    except MissingFileError:
        return None
    except DamagedFileError as error:
        raise DamagedFileError(
            f"{folder / LOCK} does not say which process holds the folder; if none does, remove it."
        ) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process of this host after the other look at a lock and replace it.

    Otherwise two that find the lock of a dead process could each remove what the other has put in
    its place. The kernel's own lock ends with the process that holds it.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without such locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(process: int) -> str | None:
    """When a process started; None if there is none, or the system does not tell."""
    if not Path("/proc/self/stat").exists():
        return _told_by_ps(process)
    try:
        # The name in parentheses may hold spaces; the start, in ticks since boot, is field 22.
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    dead = fields[0] in "ZX"  # ended, though its parent has not asked for it yet
    return None if dead else f"{boot} {fields[19]}"


def _told_by_ps(process: int) -> str | None:
    try:
        asked = ["ps", "-o", "lstart=", "-p", str(process)]
        return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return None
