"""How many passes an attack takes, told before it is run, and how far an evaluation has got.

An attack is tried on one image of three linear networks: one that nothing fools, one that any
change fools, and one that gives way within the ball. The most that it takes on any of them is the
most that it takes: a search goes on where nothing falls, one from decisions alone only where a
start is found. Where all three take the same, the number does not hang on what falls, and is exact.
Of one that may ask thousands of queries, their number is told, and nothing is tried.
"""

from collections.abc import Sequence
from contextvars import Context
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast.attacks import Attack, On, OnMeanScore
from holdfast.attacks.engine.roles import dearest, parts_of
from holdfast.attacks.guarded import Guarded
from holdfast.counting import Counted
from holdfast.errors import HoldfastError
from holdfast.threat import dual
from holdfast.types import Images, Logits

__all__ = ["Forecast", "Passes", "passes_of"]

#: How far away the boundary lies in the three networks, of the way that an image can go: out of
#: reach, within it, and next to nothing.
_DISTANCES = (10.0, 0.1, 1e-3)

#: Lead of the true class at the image itself, small enough for a softmax to have a slope.
_LEAD = 5.0
_TINY = 1e-6  # a distance that no network tells from none


#: Queries from which on an attack by decisions or scores is not tried: its budget is what is told.
_DEAR = 1000

#: Passes after an attack: the model is asked about what was found, and mostly about 8-bit images.
_ASKED = 2


class Passes(NamedTuple):
    """Forward and backward passes of an attack for an image that the model gets right.

    Attributes:
        most: that it can take.
        exact: whether it takes as many on any network.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation.forecast import passes_of
        >>> passes_of(PGD(Linf(0.3), steps=5, early_stop=False), (1, 8, 8))
        Passes(most=10, exact=True)
        >>> passes_of(PGD(Linf(0.3), steps=5), (1, 8, 8))
        Passes(most=10, exact=False)
    """

    most: int
    exact: bool


def passes_of(attack: Attack, shape: tuple[int, ...], classes: int = 10) -> Passes:
    """The passes that an attack takes on a network of so many classes.

    Args:
        attack: any that can be run on a network that it was not made for.
        shape: of an image.
        classes: of the network.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.evaluation.forecast import passes_of
        >>> passes_of(FGSM(Linf(0.3)), (1, 8, 8)).most
        2
    """
    if isinstance(attack, OnMeanScore):  # asks as often, of several draws each time
        each = passes_of(attack.attack, shape, classes)
        return each._replace(most=attack.samples * each.most)
    allowed = getattr(attack, "queries", 0) * getattr(attack, "restarts", 1)
    if allowed >= _DEAR:
        return Passes(allowed, exact=False)
    whole = dearest(attack)
    # A search that may end early is dear, and takes the most on one of these two.
    distances = _DISTANCES if whole == attack else _DISTANCES[:2]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = 0.2 + 0.6 * torch.rand(1, *shape)
        ways = torch.randn(classes - 1, x.numel())
    length = torch.linalg.vector_norm(ways, ord=dual(attack.threat.p), dim=1, keepdim=True)
    reach = attack.threat.reach(x)
    found = [
        _spent(whole, _Boundary(x, ways / length, distance * reach), x) for distance in distances
    ]
    exact = whole == attack and len(set(found)) == 1
    # One that walks along a boundary spends its budget in portions, on some images all of it.
    return Passes(max(found) if exact else max(*found, allowed), exact)


class _Boundary(nn.Module):
    """A linear network that answers 0 at an image and as far around it as it is told.

    Args:
        x: the image.
        ways: (K - 1, d) normals of the other classes, each of dual norm 1.
        distance: of each of their boundaries.
    """

    x: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, x: Images, ways: Tensor, distance: float) -> None:
        super().__init__()
        steep = _LEAD / max(distance, _TINY)
        self.register_buffer("x", x)
        self.register_buffer("weight", torch.cat([torch.zeros_like(ways[:1]), steep * ways]))
        self.register_buffer("bias", -_LEAD * (torch.arange(len(ways) + 1) > 0))

    def forward(self, x: Images) -> Logits:
        """(N, K)."""
        return functional.linear((x - self.x).flatten(1), self.weight, self.bias)


def _spent(attack: Attack, network: nn.Module, x: Images) -> int:
    index = torch.arange(1)
    counted = Counted(network.eval(), index)
    attack(counted, x, torch.zeros(1, dtype=torch.long), seed=0, index=index)
    return int(counted.forwards.sum() + counted.backwards.sum())


def _can_be_tried(attack: Attack) -> bool:
    """Whether it leaves no trace and takes its passes on what it is given.

    What is another's may keep a state, and what is crafted elsewhere asks that model.
    """
    return not isinstance(attack, Guarded | On) and all(map(_can_be_tried, parts_of(attack)))


class Forecast:
    """How much of an evaluation is done, in passes that its attacks take at most.

    Within a batch, what is left is what the images that still take passes may take. So it is right
    where no more of them fall, and guesses too much where they do; later batches are thought to be
    like those before.

    Args:
        attacks: with their names.
        todo: images that each is still to be run on.
        shape: of an image.
        classes: of the data.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.evaluation.forecast import Forecast
        >>> forecast = Forecast([("fgsm", FGSM(Linf(0.3)))], [8], (1, 8, 8), 10)
        >>> forecast.begin(0, 4)
        >>> forecast.finish()
        >>> forecast.share()
        0.5
    """

    def __init__(
        self,
        attacks: Sequence[tuple[str, Attack]],
        todo: Sequence[int],
        shape: tuple[int, ...],
        classes: int,
    ) -> None:
        self._attacks, self._todo, self._about = attacks, todo, (shape, max(classes, 2))
        self._finished = [0] * len(todo)
        self._place, self._images = 0, 0
        self._counted: Counted | None = None
        self._most: list[int] | None = None

    def begin(self, place: int, images: int) -> None:
        """The attack at ``place`` is next, on a batch of so many images."""
        self._place, self._images, self._counted = place, images, None

    def count(self, counted: Counted) -> None:
        """What counts the passes of the attack that is under way."""
        self._counted = counted

    def finish(self) -> None:
        """The attack that was under way is done."""
        self._finished[self._place] += self._images
        self._images, self._counted = 0, None

    def share(self) -> float | None:
        """From 0 to 1; None if the passes of some attack cannot be told before it is run."""
        if self._most is None:
            self._most = Context().run(self._planned)
        if not (sum(self._todo) and all(self._most)):
            return None
        each = [most + _ASKED for most in self._most]
        total = sum(n * passes for n, passes in zip(self._todo, each, strict=True))
        done = sum(n * passes for n, passes in zip(self._finished, each, strict=True))
        most = self._most[self._place]
        return min((done + self._images * most * self._under_way(most)) / total, 1.0)

    def _planned(self) -> list[int]:
        """Passes of each attack at most, 0 if unknown; in a context of its own, amid an attack."""
        known: dict[tuple[str, str], int] = {}
        for name, attack in self._attacks:
            if (name, attack.threat.name) not in known:  # at other sizes it takes as many
                known[name, attack.threat.name] = self._most_of(attack)
        return [known[name, attack.threat.name] for name, attack in self._attacks]

    def _most_of(self, attack: Attack) -> int:
        if not _can_be_tried(attack):
            return 0
        try:
            with torch.enable_grad():
                return passes_of(attack, *self._about).most
        except (HoldfastError, RuntimeError):  # such as one that is made for one network alone
            return 0

    def _under_way(self, most: int) -> float:
        """How much of the attack that runs is done on its batch."""
        if self._counted is None:
            return 0.0
        spent = self._counted.forwards + self._counted.backwards
        furthest = int(spent.max())
        going = int((spent == furthest).sum()) if furthest else len(spent)
        done, left = int(spent.sum()), going * max(most - furthest, 0)
        return done / (done + left) if done else 0.0
