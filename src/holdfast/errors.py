"""What Holdfast raises: one sentence saying what was given, what was expected, how to mend it.

Every error is a `HoldfastError` and also the built-in error that a Python user expects, so both
``except HoldfastError`` and ``except ValueError`` work. The command line turns a `HoldfastError`
into its sentence and exit code 2; a full disk, which is the system's, is 1.
"""

import errno
from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AttackError",
    "ContradictionError",
    "DamagedFileError",
    "DiskFullError",
    "GradientError",
    "HoldfastError",
    "InputError",
    "InputTypeError",
    "LaterVersionError",
    "MissingFileError",
    "MissingPackageError",
    "ModelError",
    "OutOfMemoryError",
    "OutputError",
    "RoleError",
    "UnknownNameError",
    "WorkersError",
    "WorseError",
    "kind_of",
    "nearest",
    "no_room",
    "unknown",
]


class HoldfastError(Exception):
    """Root of all errors that are the user's to mend.

    Example:
        >>> from holdfast import HoldfastError, Linf
        >>> try:
        ...     Linf(-0.1)
        ... except HoldfastError as error:  # or ValueError
        ...     print(error)
        eps is -0.1, but the size of a ball is a number of at least 0.
    """


class InputError(HoldfastError, ValueError):
    """Images, labels or a parameter lie outside what a method is defined on."""


class LaterVersionError(InputError):
    """A run of a later version, in a format that this one does not know."""


class InputTypeError(HoldfastError, TypeError):
    """Images, labels or a parameter have the wrong type."""


class RoleError(HoldfastError, TypeError):
    """A class of attack hides a goal, a gradient or an attack where adaptivity cannot reach it."""


class ModelError(HoldfastError, ValueError):
    """The model does not map images (N, ...) to finite logits (N, K)."""


class AttackError(HoldfastError, RuntimeError):
    """An attack that is none of Holdfast's fails, or returns what no attack may."""


class GradientError(HoldfastError, RuntimeError):
    """No gradient reaches the images."""


class UnknownNameError(HoldfastError, LookupError):
    """A name that nothing is registered under."""


class MissingFileError(HoldfastError, FileNotFoundError):
    """A checkpoint, data file or run folder that is not there."""


class MissingPackageError(HoldfastError, ImportError):
    """An optional dependency that is not installed."""


class DamagedFileError(HoldfastError, ValueError):
    """A file that is there but cannot be what it should be."""


class ContradictionError(HoldfastError, RuntimeError):
    """An attack has disproved what was certified."""


class WorseError(HoldfastError, RuntimeError):
    """A model is worse than another by more than is allowed."""


class WorkersError(HoldfastError, RuntimeError):
    """Workers that cannot be had, are of another version, or end before their work does."""


class AuditError(HoldfastError, RuntimeError):
    """With --strict: the audit says that robust accuracies cannot be believed."""


class OutOfMemoryError(HoldfastError, MemoryError):
    """Memory, most often a GPU's, that does not hold one image and what an attack needs with it."""


class OutputError(HoldfastError, OSError):
    """An output folder that cannot be written or that holds something else."""


class DiskFullError(OutputError):
    """No room left to write; the command line ends as for any failure of the system."""


def no_room(error: BaseException) -> bool:
    """Whether an error says that the disk, or the user's share of it, is full.

    Example:
        >>> import errno
        >>> from holdfast.errors import no_room
        >>> no_room(OSError(errno.ENOSPC, "No space left on device"))
        True
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    # safetensors and copytree have the number in their text alone.
    return any(sign in str(error) for sign in ("os error 28", "os error 122", "Errno 28"))


def kind_of(value: object) -> str:
    """What a value is, as a sentence names it.

    Example:
        >>> from holdfast.errors import kind_of
        >>> kind_of(3), kind_of("three")
        ('an int', 'a str')
    """
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeio" or name.startswith("nd") else "a"
    return f"{article} {name}"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most resembles, of the same letters first; None if none does.

    Example:
        >>> from holdfast.errors import nearest
        >>> nearest("pdg", ["fgsm", "pdpgd", "pgd"]), nearest("salt", ["fgsm", "pgd"])
        ('pgd', None)
    """
    folded = {candidate.lower(): candidate for candidate in sorted(known)}
    same = [candidate for candidate in folded if sorted(candidate) == sorted(name.lower())]
    near = same or get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    return folded[near[0]] if near else None


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for an unknown ``name`` of some ``kind``, with the nearest known one.

    Example:
        >>> from holdfast.errors import unknown
        >>> print(unknown("attack", "pdg", ["fgsm", "pgd"]))
        unknown attack 'pdg': did you mean 'pgd'?
    """
    names = sorted(known)
    near = nearest(name, names)
    some = ", ".join(names[:100]) + (", ..." if len(names) > 100 else "")
    hint = f"did you mean {near!r}?" if near else f"choose from {some}"
    return UnknownNameError(f"unknown {kind} {name!r}: {hint}")
