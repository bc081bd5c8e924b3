"""The model that was evaluated, asked again: images at hand, fresh answers, attacks run anew."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property

from torch import Tensor, nn

from holdfast.attacks import BPDA, FGSM, Attack, On, Worst, adapted
from holdfast.attacks.bpda import Bridge, Forward, other_forwards, through_identity
from holdfast.attacks.engine.attack import follows_gradients
from holdfast.attacks.engine.roles import parts_of
from holdfast.attacks.skips import hearing_skips
from holdfast.auditing.asked import MOST, Asked, Some
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.purse import FEWEST
from holdfast.auditing.shares import at_least
from holdfast.data import Data
from holdfast.declarations import is_stochastic, non_differentiable, purifiers
from holdfast.errors import GradientError
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.rounding import to_8_bit
from holdfast.goals import logits_of
from holdfast.random import Stream, drawing_from, hash_seed
from holdfast.threat import BALLS, Linf
from holdfast.types import Callback, Images, Labels, Model, Threat
from holdfast.votes import take_votes_apart

#: Draws by which an audit decides what a stochastic model answers, at the most.
_VOTES = 30


class Subject(Asked):
    """A model with the ledger of its evaluation.

    Args:
        model: in evaluation mode.
        data: that it was evaluated on.
        ledger: what the evaluation wrote.
        attacks: as they were run, each with what the model called for, and its name; empty if they
            are not at hand.
        config: of the evaluation; the audit has a stream of its own.
        stochastic: whether the model draws, declared or not.
        bridges: ways round what hides its gradient, which the audit's own attacks take too.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        ledger: Ledger,
        attacks: Sequence[tuple[str, Attack]],
        *,
        config: EvaluationConfig,
        stochastic: bool,
        bridges: tuple[Bridge, ...] = (),
    ) -> None:
        limit = math.inf if math.isinf(config.audit) else config.audit * ledger.passes
        super().__init__(model, data, seed=config.seed, limit=limit)
        self.bridges, self.ledger, self.attacks = bridges, ledger, attacks
        self.stochastic, self.samples = stochastic, config.samples if stochastic else 1
        self.votes = min(config.votes, _VOTES) if stochastic else 1

    @property
    def surrogates(self) -> bool:
        """Whether a layer's own gradient is not to be used: it declares so, or was found out."""
        return bool(non_differentiable(self.bare) or purifiers(self.bare) or self.bridges)

    def going_round(self) -> AbstractContextManager[None]:
        """Within the block gradients go round these layers."""
        wraps: dict[nn.Module, Callable[[Forward], Forward]] = {}
        layers = (*non_differentiable(self.bare), *purifiers(self.bare))
        wraps |= dict.fromkeys(layers, through_identity)
        return other_forwards(wraps | {bridge.layer: bridge.wrap for bridge in self.bridges})

    @property
    def declares_draws(self) -> bool:
        """Whether a layer declares that it draws random numbers."""
        return is_stochastic(self.bare)

    @cached_property
    def threat(self) -> Threat:
        """The audited ball."""
        size = self.ledger.size
        if size is None:
            raise NotRun("no attack left anything robust.")
        return BALLS[size.norm](size.eps)

    @property
    def metric(self) -> Threat:
        """The audited ball, where steps in it have a length.

        Raises:
            NotRun: in ℓ0, which counts components.
        """
        if self.threat.p == 0:
            raise NotRun("steps have no length in l0.")
        return self.threat

    @cached_property
    def box(self) -> Threat:
        """A ball that holds every image; for ℓ1 in ℓ∞, since a step of ℓ1 moves one pixel alone."""
        kind = Linf if self.metric.p == 1 else type(self.metric)
        return kind(kind(0).diameter(self.any.x))  # type: ignore[call-arg]

    @cached_property
    def left(self) -> Some:
        """Images that were left robust in the audited ball, at most `MOST`.

        Raises:
            NotRun: if there are none.
        """
        chosen = self.ledger.evenly(MOST)
        if not len(chosen):
            raise NotRun("no attack left anything robust.")
        return self.read(chosen)

    def some_left(self, each: float, most: int = 16, fewest: int = FEWEST) -> Some:
        """As many of the images left as the check under way can pay for; see `Purse.images`."""
        left = self.left
        return left.first(self.purse.images(each, most, min(fewest, len(left))))

    def logits(self, x: Images, rng: Stream) -> Tensor:
        """Of images, one stream for each; with a graph where ``x`` asks for one."""
        with drawing_from(rng.fold("model")):
            return logits_of(self.model, x)

    def predictions(self, x: Images, rng: Stream) -> Labels:
        """By votes where the model draws, about no image in the company that it was attacked in."""
        return take_votes_apart(self.model, x, rng, n=self.votes).counts.argmax(dim=1)

    def cost(self, steps: float, backwards: bool = True) -> float:
        """Passes of an image under an attack of so many steps, and of being asked about after."""
        variants = 1 + 2 * self.surrogates if backwards else 1
        deciding = (2 if self.stochastic else 1) * 2.5 * self.votes
        return steps * (1 + backwards) * self.samples * variants + deciding

    def fallen(
        self, attack: Attack, some: Some, *purpose: str, callback: Callback | None = None
    ) -> Tensor:
        """Which of some images an attack fools, in float or on the 8-bit grid.

        Args:
            attack: as it is to be run on the model.
            some: images that are right.
            purpose: of its random numbers.
            callback: sees every step.

        Raises:
            NotRun: if it needs a gradient and none reaches the images.
        """
        seed = hash_seed(self.seed, *purpose)
        try:
            with hearing_skips():
                x_adv = attack(
                    self.model, some.x, some.y, seed=seed, index=some.index, callback=callback
                )
        except GradientError as error:
            raise NotRun(f"{error}") from error
        return self.fooled_by(x_adv, some, attack.threat, *purpose)

    def fooled_by(self, x_adv: Images, some: Some, threat: Threat, *purpose: str) -> Tensor:
        """Which images are fooled at points of the ball, in float or on the 8-bit grid."""
        rng = self.rng(some, "ask", *purpose)
        fooled = self.predictions(x_adv, rng) != some.y
        rounded, possible = to_8_bit(x_adv, some.x, threat)
        if self.stochastic:  # a second vote would be a second chance for luck
            return fooled
        again = ~fooled & possible & (rounded != x_adv).flatten(1).any(dim=1)
        if again.any():
            rest = rng.take(again).fold("8-bit")
            fooled[again] = self.predictions(rounded[again], rest) != some.y[again]
        return fooled

    def adapted(self, attack: Attack) -> Attack:
        """An attack with all that the model calls for."""
        return adapted(
            attack,
            self.bare,
            samples=self.samples,
            votes=self.votes,
            stochastic=self.stochastic,
            around=self.bridges,
        )

    def too_high(self, fallen: Tensor, what: str) -> Finding:
        """By how much the robust accuracy is too high at least, with 95 % confidence.

        Args:
            fallen: which of some images that were left robust fell after all.
            what: made them fall.
        """
        count, number = int(fallen.sum()), len(fallen)
        return Finding(
            at_least(count, number) * self.ledger.robust,
            f"{what} fooled {count} of {number} images that the evaluation left robust in "
            f"{self.ledger.size}",
        )

    @cached_property
    def leading(self) -> tuple[str, Attack]:
        """The attack that followed gradients and left fewest in the audited ball, with its name.

        Of a cascade it is the first part that follows gradients, and where a layer hides its own
        the first that goes round it.

        Raises:
            NotRun: if there is none, or the attacks are not at hand.
        """
        if not self.attacks:
            raise NotRun("the attacks of the run are not at hand, only their records.")
        here = self.ledger.here
        fooled = here.groupby("attack", sort=False)["fooled"].mean()
        mine = [
            (float(fooled.get(name, -1.0)), name, attack)
            for name, attack in self.attacks
            if follows_gradients(attack)
            and not isinstance(attack, On)
            and attack.threat == self.threat
        ]
        if not mine:
            raise NotRun(f"no attack of the run follows gradients within {self.ledger.size}.")
        _, name, attack = max(mine, key=lambda one: one[0])
        if isinstance(attack, Worst):
            parts = [part for part in attack.attacks if follows_gradients(part)]
            attack = next((part for part in parts if isinstance(part, BPDA)), parts[0])
        return name, attack

    def leading_cost(self) -> float:
        """Passes of the leading attack for an image that it leaves robust, at the most."""
        name, attack = self.leading
        steps = _steps(attack)
        return (self.ledger.cost_of(name) if steps is None else 0) + self.cost(steps or 0)


def _steps(attack: Attack) -> int | None:
    """Gradients that an attack takes for an image, if its fields say so."""
    while parts := parts_of(attack):
        attack = parts[0]
    steps = getattr(attack, "steps", None)
    if isinstance(attack, FGSM):
        return 1
    return None if steps is None else (steps + 1) * getattr(attack, "restarts", 1)
