"""What a user names as ``package.module:thing``, imported; and where it was looked for if not."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, MissingPackageError

__all__ = ["imported", "needed"]


@contextmanager
def needed(extra: str, what: str) -> Iterator[None]:
    """Tell in a sentence what to install, where an optional package cannot be imported.

    Args:
        extra: of pyproject.toml, which brings the package.
        what: needs it.

    Raises:
        MissingPackageError: if an import within fails.

    Example:
        >>> from holdfast.imports import needed
        >>> with needed("ray", "--workers"):
        ...     import no_such_package
        Traceback (most recent call last):
        holdfast.errors.MissingPackageError: --workers needs the extra "ray" (No module named ...
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f'{what} needs the extra "{extra}" ({error}): install it with '
            f'pip install "holdfast[{extra}]".'
        ) from error


def imported(spec: str, option: str, error: type[HoldfastError]) -> Any:
    """What ``package.module:thing`` names, a file in the working folder among it.

    Args:
        spec: the module, a colon, and the name in it.
        option: where the user wrote it, for messages: "--model".
        error: what to raise.

    Raises:
        HoldfastError: of the given kind, if the module cannot be imported or has no such name.

    Example:
        >>> from holdfast.errors import ModelError
        >>> from holdfast.imports import imported
        >>> imported("math:floor", "--model", ModelError)(2.5)
        2
    """
    module, _, name = spec.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as `python -m` does, so that a file in this folder is found
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, ValueError) as missing:
        raise error(
            f"{module!r} of {option} {spec} cannot be imported: {missing}{_where(module, missing)}."
        ) from missing
    except AttributeError as missing:
        raise error(f"{module} has no {name!r}, which {option} {spec} names.") from missing


def _where(module: str, error: Exception) -> str:
    """Where a module was looked for, if it was not found: it is missing, or in another folder."""
    root = module.partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or error.name != root or not root:
        return ""
    here = Path.cwd()
    found = sorted({*here.glob(f"*/{root}.py"), *here.glob(f"*/{root}/__init__.py")})
    if found:
        folder = found[0].parents[len(found[0].relative_to(here).parts) - 2]
        return f"; it is in {folder}: put that on Python's path, PYTHONPATH={folder.name}"
    return (
        f"; modules are looked for in {here} and on Python's path: run the command in the folder "
        f"that holds {root}.py or {root}/, or name that folder by PYTHONPATH"
    )
