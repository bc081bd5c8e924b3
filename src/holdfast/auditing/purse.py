"""The passes that an audit may take, and how they are shared among its checks."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from holdfast.auditing.check import NotRun
from holdfast.errors import HoldfastError, InputError

#: Images below which a check by attacks says too little.
FEWEST = 3

#: So that passes, of which there may be billions, are still counted one by one.
_LARGEST_SHARE = 1_000_000


class Spent(HoldfastError):  # noqa: N818, no error of anybody's
    """No passes are left; of Holdfast's own, so that nothing takes it for the model's failure."""


def check_share(audit: float) -> None:
    """See that an audit can take so many passes, over those that what it is of takes.

    Raises:
        InputError: if not.
    """
    if not (0 <= audit <= _LARGEST_SHARE or audit == math.inf):
        raise InputError(
            f"audit is {audit}, but a share of passes is from 0 to {_LARGEST_SHARE:,}, or inf "
            "without a limit."
        )


@dataclass
class Purse:
    """What is left to spend.

    Attributes:
        limit: forward and backward passes in all; infinite without a limit.
        counted: tells how many were taken so far.
        waiting: weights of the checks that are still to come, that of the one under way first.
    """

    limit: float
    counted: Callable[[], int]
    waiting: list[float] = field(default_factory=list)
    _until: float = math.inf

    @property
    def left(self) -> float:
        """Passes that nobody has taken."""
        return self.limit - self.counted()

    def allot(self) -> None:
        """Give the check under way its part of what is left, by its weight."""
        total = sum(self.waiting)
        self._until = self.counted() + (self.left * self.waiting[0] / total if total else 0)

    def images(self, each: float, most: int, fewest: int = FEWEST) -> int:
        """How many images the check under way may look at: its part's worth, or the fewest.

        Checks are made from the cheap to the dear, so that what there is goes to many questions
        about few images rather than to few about many.

        Args:
            each: passes that an image costs at the most.
            most: images that are enough.
            fewest: images that are needed.

        Raises:
            NotRun: if there are not passes for ``fewest``.
        """
        if math.isinf(self.limit):
            return most
        if each * fewest > self.left:
            raise NotRun(
                f"it needs {math.ceil(each * fewest)} passes and {max(0, int(self.left))} of the "
                "limit are left; --audit full has no limit."
            )
        mine = min(self._until - self.counted(), self.left)
        return int(min(most, max(fewest, mine / max(each, 1))))
