"""What a model hides, found by asking it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from holdfast.attacks.bpda import Bridge, Forward, other_forwards
from holdfast.auditing.fresh import fresh
from holdfast.declarations import is_stochastic, non_differentiable, purifiers
from holdfast.defenses.straight_through import StraightThrough
from holdfast.evaluation.hidden.asking import Alone, Forgetful
from holdfast.evaluation.hidden.bridges import Way, bears, given, instead, ways_round
from holdfast.evaluation.hidden.calls import Call
from holdfast.evaluation.hidden.draws import Drawn, draws_of
from holdfast.evaluation.hidden.findings import Finding, Findings, Kind
from holdfast.evaluation.hidden.grid import grid_of
from holdfast.evaluation.hidden.layers import first_lie
from holdfast.evaluation.hidden.memory import memory_of
from holdfast.evaluation.hidden.neighbors import neighbors_of
from holdfast.evaluation.hidden.scale import Rescaled, power_of
from holdfast.evaluation.hidden.slopes import Lie
from holdfast.evaluation.hidden.tally import asks
from holdfast.parameters import Seed
from holdfast.random import Stream, own_global_generator
from holdfast.tensors import device_of, eval_mode
from holdfast.types import Images, Model

__all__ = ["find"]

T = TypeVar("T")

#: Images that the model is asked about, and most layers that are gone round.
_IMAGES = 4
_LAYERS = 6


def find(model: Model, x: Images, *, seed: Seed = 0) -> Findings:
    """What a model hides from attacks without a declaration, and ways round it.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K); left as it is.
        x: (N, C, H, W) images in [0, 1]; a batch is enough.
        seed: of all draws.

    Returns:
        What was found; nothing of an ordinary network, however random its answers are as long as
        it declares that they are.

    Example:
        >>> from torch import nn
        >>> from holdfast.evaluation.hidden import find
        >>> class Round(nn.Module):
        ...     def forward(self, x):
        ...         return (8 * x).round() / 8
        >>> found = find(nn.Sequential(Round(), model), x)
        >>> found.found[0].layer, found.found[0].kind, found.bridges
        ('0', 'zero', (0: the identity,))
    """
    device = device_of(model)
    x = x.to(device)
    few = x[:_IMAGES]
    rng = Stream.of(seed, torch.arange(len(few), device=device)).fold("hidden")
    with eval_mode(model, images=x.dtype), own_global_generator(seed, device):
        of_answers = _of_answers(model, few, rng)
        power = _tried(power_of, model, few, rng, 0)
        kinds = {finding.kind for finding in of_answers}
        forgetful, alone = bool(kinds & {"memory", "calls"}), "neighbors" in kinds
        asked = fresh(model) if forgetful else model
        ways = _ways(asked, x, rng, forgetful=forgetful, alone=alone)
    bears_one = any(finding.kind == "neighbors" and finding.met for finding in of_answers)
    target = Forgetful(asked).eval() if forgetful else asked
    if bears_one:
        target = Alone(target).eval()
    return Findings(
        found=(*of_answers, *_of_scale(model, power), *(finding for finding, _ in ways)),
        bridges=tuple(way.bridge for _, way in ways if way is not None),
        model=Rescaled(target, power).eval() if power else target,
        stochastic="draws" in kinds,
        on_grid="grid" in kinds,
        beside="content" in kinds,
    )


def _of_answers(model: Model, x: Images, rng: Stream) -> list[Finding]:
    """What hides in the answers: each a probe of its own, on what the ones before have met."""
    kind = type(model).__name__
    found: list[Finding] = []

    def note(what: Kind, said: str, met: str) -> None:
        found.append(Finding(kind=what, layer="", type=kind, said=said, met=met))

    asked: Model = model
    if said := _tried(memory_of, asked, x, rng, ""):
        asked = Forgetful(fresh(model)).eval()
        helps = not _tried(memory_of, asked, x, rng, "")
        note("memory", said, "every pass asks a fresh copy" if helps else "")
    if not is_stochastic(model):
        drawn = _tried(draws_of, asked, x, rng, Drawn(""))
        if drawn.by_call:
            asked = Forgetful(fresh(model)).eval()
            note("calls", drawn.said, "every pass asks a fresh copy")
        elif drawn.said:
            note("draws", drawn.said, "gradients are averaged (EOT), and votes decide")
    said, bears_one = _tried(neighbors_of, asked, x, rng, ("", True))
    if said:
        note("neighbors", said, "every image is asked about by itself" if bears_one else "")
    # What a chain does with its draws may be chaotic, and then it hangs on the last digits too.
    draws = is_stochastic(model) or purifiers(model)
    where = "" if said or draws else _tried(grid_of, asked, x, rng, "")
    if where == "grid":
        note(
            "grid",
            "answers otherwise off the grid of 8-bit images than on it",
            "attacks run both on and off it",
        )
    elif where == "content":
        note(
            "content",
            "answers otherwise a hair beside an image, as if it drew noise from the image's digits",
            "attacks also average over what lies a hair beside",
        )
    return found


def _of_scale(model: Model, power: int) -> list[Finding]:
    """That logits are tiny, where they are."""
    if not power:
        return []
    said = "answers with logits that are so small as a whole that a softmax cannot tell them apart"
    met = f"they are multiplied by 2^{power}, which changes no prediction"
    return [Finding(kind="scale", layer="", type=type(model).__name__, said=said, met=met)]


def _tried(
    probe: Callable[[Model, Images, Stream], T], model: Model, x: Images, rng: Stream, nothing: T
) -> T:
    """What a probe finds; nothing of a model that fails, of which whoever uses it is to tell."""
    try:
        return probe(model, x, rng)
    except Exception:
        return nothing


def _ways(
    model: Model, x: Images, rng: Stream, *, forgetful: bool, alone: bool
) -> list[tuple[Finding, Way | None]]:
    """The layers that lie, one behind the other, each with the way round it."""
    few = x[: 1 if alone else _IMAGES]
    rng = rng.take(torch.arange(len(few), device=few.device)).fold("layers")
    copied = fresh(model, shared=False)
    call = _in_float64(Call("", Forgetful(copied) if forgetful else copied, (few,), {}, rng))
    found: list[tuple[Finding, Way | None]] = []
    met = set[str]()
    bridges: list[Bridge] = []
    with ExitStack() as smoothed:
        smoothed.enter_context(other_forwards(_declared(call.module)))
        while len(found) < _LAYERS:
            lying = first_lie(call)
            if lying is None or lying[0][-1].name in met:
                break
            chain, lie = lying
            inside = {_own_name(each, forgetful): each for each in chain}
            within = [replace(each, name=name) for name, each in inside.items()]
            inner = within[-1]
            way = _first(within, lie, model, x, bridges)
            how = "" if way is None else f"attacks also go round it, by {way.bridge.how}"
            kind = type(inner.module).__name__
            finding = Finding(kind=lie.kind, layer=inner.name, type=kind, said=lie.said, met=how)
            found.append((finding, way))
            if way is None:
                break
            met.add(chain[-1].name)
            bridges.append(way.bridge)
            layer = call.module.get_submodule(inside[way.bridge.name].name)
            smoothed.enter_context(other_forwards({layer: way.smooth(layer)}))
    return found


def _own_name(call: Call, forgetful: bool) -> str:
    """A module's name in the model itself, which a wrapper of it may hold."""
    return call.name.removeprefix("model").lstrip(".") if forgetful else call.name


def _first(
    within: Sequence[Call], lie: Lie, model: Model, x: Images, before: Sequence[Bridge]
) -> Way | None:
    """The first way that a gradient gets past, and that the model bears with those before it."""
    try:
        for way in ways_round(within, lie, model, x):
            if _holds(partial(bears, way, within)) and _holds(
                partial(_runs, model, x[:1], [*before, way.bridge])
            ):
                return way
    except Exception:  # a stranger's layer, which may well not bear what it was not written for
        return None
    return None


def _holds(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except Exception:  # as above, of one way: the next may do
        return False


def _runs(model: Model, x: Images, bridges: Sequence[Bridge]) -> bool:
    """Whether a model still answers with gradients led round some of its modules."""
    wraps = {bridge.layer: bridge.wrap for bridge in bridges}
    asks(len(x))
    with other_forwards(wraps), torch.enable_grad():
        return bool(model(x.clone().requires_grad_() + 0).isfinite().all())


def _declared(model: nn.Module) -> dict[nn.Module, Callable[[Forward], Forward]]:
    """Of the layers that declare their gradient's lack, what attacks take in its place."""
    smooth: dict[nn.Module, Callable[[Forward], Forward]] = {}
    smooth |= dict.fromkeys((*non_differentiable(model), *purifiers(model)), given)
    for layer in model.modules():
        if isinstance(layer, StraightThrough):
            smooth[layer] = partial(instead, layer.surrogate)
    return smooth


def _in_float64(call: Call) -> Call:
    """The same call of a model that computes with more digits, where it can be one."""
    twin = fresh(call.module, shared=False)
    if twin is call.module:
        return call
    try:
        exact = replace(
            call,
            module=twin.double(),
            args=tuple(tensor.double() for tensor in call.args),
        )
        with torch.no_grad():
            exact.at(exact.inputs)
    except Exception:  # a stranger's network, which may well know no type but its own
        return call
    return exact
