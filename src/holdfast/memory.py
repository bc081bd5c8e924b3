"""As many images at once as memory holds: half of them, where a pass ends for want of it."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from holdfast.errors import OutOfMemoryError

__all__ = ["AtOnce", "out_of_memory"]

T = TypeVar("T")

#: What accelerators without an error of their own say, and PyTorch's allocator on a CPU.
_WORDS = ("out of memory", "allocate memory")


class AtOnce:
    """How many images are worked on at once: as many as were asked for, or as memory holds.

    Args:
        most: asked for, at least 1; or what chooses it, once it is needed and, of a copy in another
            process, there again.

    Example:
        >>> import warnings
        >>> from holdfast.memory import AtOnce
        >>> def passes(size):
        ...     if size > 40:
        ...         raise torch.OutOfMemoryError("CUDA out of memory.")
        ...     return f"{size} images"
        >>> at_once = AtOnce(128)
        >>> with warnings.catch_warnings(record=True) as heard:
        ...     warnings.simplefilter("always")
        ...     at_once.fit(passes)
        '32 images'
        >>> print(heard[0].message)
        memory does not hold 128 images at once, and they are taken 32 at a time: ...
    """

    def __init__(self, most: int | Callable[[], int]) -> None:
        self._most = most
        self._size = self._told = None if callable(most) else most

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which chooses for itself."""
        size = None if callable(self._most) else self._size
        return {"_most": self._most, "_size": size, "_told": size}

    @property
    def size(self) -> int:
        """So many from here on."""
        if self._size is None:
            assert callable(self._most)
            self._size = self._told = self._most()
        return self._size

    def fit(self, work: Callable[[int], T]) -> T:
        """What is worked out with as many at once as can be.

        Raises:
            OutOfMemoryError: if not even one can be.
        """
        while True:
            try:
                found = work(self.size)
            except Exception as error:  # which holds what was in memory until it is forgotten
                self.halve(error)
            else:
                self.held()
                return found

    def halve(self, error: Exception) -> None:
        """Take half as many from here on; an error that is about anything else is raised.

        Raises:
            OutOfMemoryError: if it was only one.
        """
        if not out_of_memory(error):
            raise error
        if self.size == 1:
            raise OutOfMemoryError(
                f"memory does not hold one image at a time ({' '.join(str(error).split())}): see "
                "what else is in it, or choose another device or a smaller model."
            ) from error
        self._size = self.size // 2

    def held(self) -> None:
        """So many could be: if they are fewer than before, say so."""
        if self._told is not None and self.size < self._told:
            warnings.warn(
                f"memory does not hold {self._told} images at once, and they are taken "
                f"{self.size} at a time: rows are the same; begin the next run with --batch-size "
                f"{self.size} (batch_size={self.size}).",
                stacklevel=2,
            )
            self._told = self.size


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, is about memory that was wanting.

    Example:
        >>> from holdfast.memory import out_of_memory
        >>> out_of_memory(RuntimeError("MPS backend out of memory (9.0 GB)"))
        True
        >>> out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
        False
    """
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS):
            return True
        error = error.__cause__
    return False
