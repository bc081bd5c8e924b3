"""What a model calls for, of every attack: by its declarations, and by what it hides."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import torch

from holdfast.attacks import Attack, On, Worst
from holdfast.attacks.adaptive import Variant, chosen, combined, variants_of
from holdfast.attacks.engine.attack import follows_gradients
from holdfast.attacks.eot import against_randomness
from holdfast.batch_size import first_batch
from holdfast.checks import check_images, check_model
from holdfast.data import Data
from holdfast.declarations import is_stochastic, non_differentiable, purifiers
from holdfast.evaluation.config import EvaluationConfig
from holdfast.evaluation.hidden import Findings, find
from holdfast.evaluation.hidden.twin import Twin, distilled, longer
from holdfast.execution import Execution
from holdfast.tensors import device_of
from holdfast.types import Images, Model

__all__ = ["Adapted", "adapt"]

#: Attacks with the names that they are reported by.
Named: TypeAlias = Sequence[tuple[str, Attack]]


class Adapted(NamedTuple):
    """An attack as it must be run, and what it is to be run on.

    Attributes:
        attack: with all that the model declares and hides taken into account.
        model: the model itself, or the same without a memory, or asked about one image at a time.
        found: what hides, and how it is met; of `holdfast.evaluation.hidden`.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation import adapt
        >>> adapt(PGD(Linf(0.3)), model, x).found.found  # an ordinary network hides nothing
        ()
    """

    attack: Attack
    model: Model
    found: Findings


def adapt(
    attack: Attack,
    model: Model,
    x: Images,
    *,
    config: EvaluationConfig = EvaluationConfig(),
    twin: Model | None = None,
) -> Adapted:
    """Look for what a model hides, and make of an attack one that goes round it.

    What `holdfast.evaluate` does before it attacks, for whoever calls an attack by hand:

        attack, target, found = adapt(WorstCase(Linf(0.3)), model, x)
        x_adv = attack(target, x, y)

    Args:
        attack: any, also a cascade.
        model: in evaluation mode; left as it is.
        x: (N, C, H, W) images in [0, 1], a batch of them.
        config: seed, and how to treat a stochastic model.
        twin: a model like this one that shows its gradients; see `holdfast.evaluate`.

    Raises:
        InputError, InputTypeError: if the images are not what they must be.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.evaluation import adapt
        >>> class Round(nn.Module):
        ...     def forward(self, x):
        ...         return (8 * x).round() / 8
        >>> attack, target, found = adapt(PGD(Linf(0.3)), nn.Sequential(Round(), model).eval(), x)
        >>> print(found.found[0].sentence)
        the layer 0 (Round) sends back a gradient of exactly 0 though its output changes: attacks...
        >>> x_adv = attack(target, x, y)
    """
    check_model(model)
    check_images(x)
    data = Data.of(x, torch.zeros(len(x), dtype=torch.long))
    hidden = hidden_in(model, data, config)
    stochastic = hidden.stochastic or is_stochastic(model)
    like = twin_of(hidden, data, config, twin, "twin")
    ((_, whole),), _ = adapted_to(
        [("", attack)], model, stochastic, replace(config, each=False), hidden, like
    )
    return Adapted(whole, hidden.model, hidden)


def named(attacks: Mapping[str, Attack] | Sequence[Attack]) -> Named:
    """Attacks by the names that they were given, or by their repr."""
    if isinstance(attacks, Mapping):
        return list(attacks.items())
    return [(repr(attack), attack) for attack in attacks]


def hidden_in(model: Model, data: Data, config: EvaluationConfig) -> Findings:
    """What the model hides, as it shows on the first batch; nothing where it is not looked for."""
    if not config.hidden:
        return Findings(model=model)
    index = next(data.batches(first_batch(config.batch_size)))
    return find(model, data.x(index), seed=config.seed)


def execution_of(
    config: EvaluationConfig, hidden: Findings, stochastic: bool
) -> tuple[Execution, list[str]]:
    """How attacks ask the model, and what must be said where that is not as was asked for.

    What is compiled is what the layers were then: no way round one of them leads through it.
    """
    how, model = config.execution, hidden.model
    goes_round = hidden or non_differentiable(model) or purifiers(model)
    if not how.compile or not (stochastic or goes_round):
        return how, []
    why = "draws random numbers" if stochastic else "has layers that attacks must go round"
    return replace(how, compile=False), [f"the model {why}, and is attacked without compiling it."]


def twin_of(
    hidden: Findings, data: Data, config: EvaluationConfig, given: Model | None, name: str
) -> Twin | None:
    """What attacks are crafted on too: what was given, or one distilled where gradients fail."""
    if given is not None:
        return Twin(given, name)
    if not hidden.blind:
        return None
    x = data.x(next(data.batches(first_batch(config.batch_size)))).to(device_of(hidden.model))
    return distilled(hidden.model, x, seed=config.seed)


def adapted_to(
    attacks: Named,
    model: Model,
    stochastic: bool,
    config: EvaluationConfig,
    hidden: Findings | None = None,
    twin: Twin | None = None,
) -> tuple[Named, list[str]]:
    """The attacks with all that the model calls for, also where it does not declare its draws.

    Returns:
        The attacks, and the variants of any of them that the model calls for and ``config`` leaves
        out.
    """
    hidden = hidden or Findings(model=model)
    made: list[tuple[str, Attack]] = []
    left_out: dict[str, None] = {}
    for name, attack in attacks:
        called = _called(attack, model, stochastic, hidden, twin, config)
        kept = chosen(called, config.variants)
        left_out |= dict.fromkeys(one.title for one in called if one not in kept)
        # Without a limit there is no worst case within it, so every variant has a line of its own,
        # and the report compares their distances.
        if config.each or math.isinf(attack.threat.eps):
            made += _lines(name, kept, several=len(called) > 1)
        else:
            whole = combined(attack, kept, votes=config.votes, stochastic=stochastic)
            made.append((name, whole))
    return made, list(left_out)


def _called(
    attack: Attack,
    model: Model,
    stochastic: bool,
    hidden: Findings,
    twin: Twin | None,
    config: EvaluationConfig,
) -> list[Variant]:
    """All that a model calls for of one attack: by its declarations, and by what it hides.

    What a twin shows comes after the model's own gradients and before the attacks without any, so
    that what it breaks tells of theirs.
    """
    called = hidden.with_variants(
        variants_of(
            attack,
            model,
            samples=config.samples,
            votes=config.votes,
            weights=config.penalties,
            stochastic=stochastic,
            around=hidden.bridges,
        ),
        config.samples,
        config.votes,
    )
    if twin is not None:
        following = [one for one in called if follows_gradients(one.attack)]
        others = [one for one in called if not follows_gradients(one.attack)]
        called = [*following, *twin.variants(attack), *others]
    if hidden.blind:
        for one in longer(attack):
            spent = against_randomness(one.attack, config.samples, config.votes)
            called.append(one._replace(attack=spent) if stochastic else one)
    return called


def _lines(name: str, variants: Sequence[Variant], several: bool) -> Iterator[tuple[str, Attack]]:
    for variant in variants:
        yield f"{name}, {variant.title}" if several else name, variant.attack


def early_parts(attack: Worst) -> int:
    """How many parts come before the last ones, which follow no gradients of the model.

    0 if none follows any.
    """
    follow = [follows_gradients(part) and not isinstance(part, On) for part in attack.attacks]
    return len(follow) - follow[::-1].index(True) if any(follow) else 0


def late_parts(attacks: Named) -> set[str]:
    """The parts of cascades that follow no gradients of the model, and run after all that do."""
    late: set[str] = set()
    for _, attack in attacks:
        if isinstance(attack, Worst) and (early := early_parts(attack)):
            late |= set(attack.names[early:])
    return late
