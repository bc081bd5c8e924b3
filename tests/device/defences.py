"""Every defence: what it makes of an image, and the gradient through it."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, agree, expect
from tests.device.parts import Part
from tests.device.subjects import (
    ROUNDING,
    EvaluationConfig,
    Linf,
    Stream,
    attacks,
    cases,
    defenses,
    denoiser,
    drawing_from,
    evaluate,
    toy,
)

SHAPE = (1, 6, 6)


def _chain() -> nn.Module:
    return defenses.MALADE(denoiser(), steps=6, alpha=0.01, delta=0.02, sigma=0.3)


def parts(pair: Pair) -> Iterator[Part]:
    for name, around in cases.DEFENCES.items():
        yield Part(f"defences/{name}", lambda a=around: _pass(pair, a), quick=True)
        yield Part(f"defences/{name}, attacked", lambda a=around: _attacked(pair, a))
    yield Part("defences/the chain of MALADE, step by step", lambda: _traced(pair), quick=True)
    yield Part("defences/Lipschitz bound of a layer", lambda: _lipschitz(pair), quick=True)


def _pass(pair: Pair, around: Callable[[nn.Module], nn.Module]) -> str:
    network, x, _ = toy()

    def run(model: nn.Module, where: torch.device) -> tuple[Tensor, Tensor]:
        leaf = x.to(where, copy=True).requires_grad_()
        with drawing_from(Stream.of(2, torch.arange(len(x), device=where))):
            logits = model(leaf)
        logits.square().sum().backward()
        # None behind a step, which no gradient passes.
        slope = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        return logits.detach().cpu(), slope.cpu()

    (logits, slope), (logits_there, slope_there) = pair.both(run, around(network))
    return ", ".join(
        [
            agree(logits, logits_there, ROUNDING, "logits"),
            agree(slope, slope_there, ROUNDING, "gradient"),
        ]
    )


def _attacked(pair: Pair, around: Callable[[nn.Module], nn.Module]) -> str:
    """Votes, averages and surrogates, as the defence calls for them, through the evaluator."""
    network, x, y = toy()
    config = EvaluationConfig(votes=20, samples=3, each=True, batch_size=4)
    named = {
        "pgd": attacks.PGD(Linf(0.1), steps=4),
        "square": attacks.Square(Linf(0.1), queries=6),
    }

    def run(model: nn.Module, _: torch.device) -> list[tuple[str, float, float]]:
        # The evaluator's images are float32, and its models are as wide as their images.
        cells = evaluate(model.float(), x.float(), y, named, config=config).cells
        return [(cell["attack"], cell["clean_accuracy"], cell["robust_accuracy"]) for cell in cells]

    here, there = pair.both(run, around(network))
    expect([name for name, *_ in here] == [name for name, *_ in there], f"{here} and {there}")
    worst = max(
        abs(one[place] - other[place])
        for one, other in zip(here, there, strict=True)
        for place in (1, 2)
    )
    saw = f"{len(here)} variants, accuracies {worst:.3f} apart"
    expect(worst <= 1 / len(x) + 1e-9, saw)  # an image may be a near tie in float32
    return saw


def _traced(pair: Pair) -> str:
    network, x, _ = toy()

    def run(model: nn.Sequential, where: torch.device) -> Tensor:
        rng = Stream.of(2, torch.arange(len(x), device=where))
        return torch.cat(
            [
                part.flatten().cpu()
                for part in defenses.trace_chain(model[0], model[1], x.to(where), rng)
            ]
        )

    return agree(*pair.both(run, nn.Sequential(_chain(), network)), ROUNDING)


def _lipschitz(pair: Pair) -> str:
    network, _, _ = toy()

    def run(model: nn.Module, _: torch.device) -> Tensor:
        return torch.tensor(defenses.NOISES["first-layer"].around(model, 0.2, SHAPE).lipschitz)

    return agree(*pair.both(run, network), ROUNDING)
