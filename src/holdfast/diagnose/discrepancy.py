"""How unlike two sets of adversaries are, as networks see them (EAT theorem 5, equation 10).

The theorem bounds the error under a future attack A* of a network trained on the attacks A_1 ...
A_k by its error on those, plus their discrepancy:

    disc = 1/k Σ_i sup_{h1, h2 ∈ H} | P_{A_i}(h1 = h2) - P_{A*}(h1 = h2) |

The supremum runs over a whole class of functions and cannot be computed. What is computed here is
its value over finitely many trained networks, and that is a lower bound: a large value tells that
the attacks differ, a small one tells nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from holdfast.errors import InputError
from holdfast.goals import logits_of
from holdfast.parameters import Seed
from holdfast.random import Stream, drawing_from
from holdfast.tensors import eval_mode
from holdfast.types import Images, Model

__all__ = ["discrepancy", "predictions"]


@dataclass(frozen=True, eq=False)
class Discrepancy:
    """Equation 10 over a finite set of networks.

    Attributes:
        value: with the fractions of the samples in place of the probabilities. The largest of many
            noisy differences is biased upwards; see ``low``.
        low: below the discrepancy of the whole class of functions with the confidence asked for.
        each: (k,) the largest difference for each A_i; ``value`` is their mean.
        pairs: (k, 2) the numbers of the two networks where it is reached.

    Example:
        >>> from holdfast.diagnose import discrepancy
        >>> agree, differ = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[0, 1], [1, 0]])
        >>> discrepancy([agree], differ).value
        1.0
    """

    value: float
    low: float
    each: Float[Tensor, " k"]
    pairs: Int[Tensor, "k 2"]


def discrepancy(
    sources: Sequence[Int[Tensor, "h n"]],
    target: Int[Tensor, "h m"],
    *,
    confidence: float = 0.95,
) -> Discrepancy:
    """The discrepancy between training-time adversaries and another, a lower bound.

    ``low`` takes off Hoeffding's margin √(ln(2/δ) / 2n) of both fractions, with δ divided among all
    pairs of networks, all sources and the two shares; it does not matter whether the sets of images
    are independent of each other, as long as each is drawn independently.

    When:
        To ask how unlike attacks are that a network was trained on and one that is to come.

    When not:
        To show that two attacks are alike: a small value tells nothing.

    Traps:
        The supremum runs over all hypotheses and only a few networks are at hand, so this is a
        lower bound; more networks can only raise ``value``. Networks that all err alike show none.

    Args:
        sources: for each A_i the predictions of all networks on its images, from `predictions`.
        target: the same for A*.
        confidence: of ``low``, in (0, 1).

    Raises:
        InputError: if there are fewer than two networks, no source, no image, or not the same
            networks everywhere.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, theorem 5 and equation 10.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM, PGD
        >>> from holdfast.diagnose import discrepancy, predictions
        >>> models = {"a": model, "b": nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()}
        >>> source = predictions(models, FGSM(Linf(0.3))(model, x, y))
        >>> target = predictions(models, PGD(Linf(0.3))(model, x, y))
        >>> 0 <= discrepancy([source], target).low <= discrepancy([source], target).value <= 1
        True
    """
    count = len(target)
    if not sources or count < 2 or any(len(source) != count for source in sources):
        raise InputError(
            f"there are predictions of {[len(source) for source in sources]} networks on the "
            f"sources and {count} on the target; give the same networks, at least two, on at least "
            "one source."
        )
    if not all(source.shape[1] for source in (*sources, target)):
        raise InputError("there is a set without images; an expectation needs at least one.")
    if not 0 < confidence < 1:
        raise InputError(f"the confidence is {confidence}, but lies strictly between 0 and 1.")
    first, second = torch.triu_indices(count, count, offset=1)
    on_target = _agreement(target, first, second)
    each, pairs, low = [], [], 0.0
    delta = (1 - confidence) / (2 * len(first) * len(sources))
    for source in sources:
        difference = (_agreement(source, first, second) - on_target).abs()
        best = int(difference.argmax())
        each.append(difference[best])
        pairs.append(torch.stack([first[best], second[best]]))
        margin = _hoeffding(source.shape[1], delta) + _hoeffding(target.shape[1], delta)
        low += max(0.0, float(difference[best]) - margin) / len(sources)
    stacked = torch.stack(each)
    return Discrepancy(float(stacked.mean()), low, stacked, torch.stack(pairs))


def predictions(
    models: Mapping[str, Model],
    x: Images,
    *,
    seed: Seed = 0,
    index: Int[Tensor, " n"] | None = None,
    batch_size: int = 500,
) -> Int[Tensor, "h n"]:
    """The class that each network gives each image, in the order of ``models``.

        argmax_k f_h(x_i)_k for each network h and image i

    When:
        For what `discrepancy` compares, once for all pairs of attacks.

    When not:
        For accuracies or votes: a stochastic model answers with one draw.

    Traps:
        The order of ``models`` is that of the rows: sources and target must have the same.

    Args:
        models: by name.
        x: (N, ...) images.
        seed: of a stochastic model's draws.
        index: (N,) identity of each image, which its draws hang on; 0 ... N - 1.
        batch_size: images at once.

    Reference:
        Tramèr et al., "Ensemble adversarial training", ICLR 2018, theorem 5.

    Example:
        >>> from holdfast.diagnose import predictions
        >>> bool((predictions({"model": model}, x) == y).all())  # (H, N)
        True
    """
    places = torch.arange(len(x), device=x.device) if index is None else index
    rows = []
    with torch.no_grad(), eval_mode(*models.values(), images=x.dtype):
        for model in models.values():
            parts = []
            for part, place in zip(x.split(batch_size), places.split(batch_size), strict=True):
                with drawing_from(Stream.of(seed, place).fold("look")):
                    parts.append(logits_of(model, part).argmax(dim=1))
            rows.append(torch.cat(parts))
    return torch.stack(rows)


def _agreement(
    answers: Int[Tensor, "h n"], first: Int[Tensor, " pairs"], second: Int[Tensor, " pairs"]
) -> Float[Tensor, " pairs"]:
    """The fraction of images on which the two networks of each pair agree."""
    return (answers[first] == answers[second]).cpu().double().mean(dim=1)


def _hoeffding(count: int, delta: float) -> float:
    """How far a fraction of ``count`` draws may be from its probability, but with probability δ."""
    return math.sqrt(math.log(2 / delta) / (2 * count))
