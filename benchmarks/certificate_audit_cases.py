"""Certifications that can be believed and others that cannot, for `certificate_audit_rates.py`.

Networks are those of `audit_cases.py`. What is sound is a network under noise, by any bound and
interval that hold. What is broken takes its votes, limits or radii otherwise than it says, or asks
a network whose votes hang on each other.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import NormalDist
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from audit_cases import (
    ARCHITECTURES,
    Cache,
    Denoised,
    Rounded,
    batch_statistics,
    network,
)
from torch import Tensor, nn

from holdfast.certify import (
    Certificates,
    CertificationConfig,
    ClopperPearson,
    Sampling,
    certificates,
    cohen_radius,
    run,
)
from holdfast.certify.intervals.interval import Interval, Limits
from holdfast.certify.rows import rows_of
from holdfast.certify.sampling import sample
from holdfast.data import Data
from holdfast.defenses import Binarise, GaussianNoise
from holdfast.models import Ensemble
from holdfast.random import Stream
from holdfast.types import Images, Model

#: Functions of `holdfast.certify` by their modules and names, in whose place others stand.
Tampering = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Case:
    """A certification.

    Attributes:
        name: of it.
        model: makes the network, afresh.
        config: noise, votes, bounds and intervals.
        data: name of the images.
        count: how many of them.
        tampering: what is done otherwise than `certify` says.
    """

    name: str
    model: Callable[[], nn.Module]
    config: CertificationConfig
    data: str = "digits"
    count: int = 60
    tampering: Tampering = field(default_factory=dict)


PLAIN = CertificationConfig(sigma=0.2, votes=200)


def _made(architecture: str, training: str = "noisy", seed: int = 0) -> Callable[[], nn.Module]:
    return lambda: network(architecture, training, seed=seed)


# Sound


def sound() -> list[Case]:
    """More than 40 certifications that can be believed."""
    cases = []
    papers = replace(
        PLAIN, votes=500, bounds=("renyi", "cohen", "pixeldp"), intervals=("clopper-pearson",)
    )
    early = replace(PLAIN, votes=2000, intervals=("sequential",), within=0.8)
    for architecture in ARCHITECTURES:
        make = _made(architecture)
        cases += [
            Case(f"{architecture}, σ = {sigma}", make, replace(PLAIN, sigma=sigma))
            for sigma in (0.1, 0.3)
        ]
        cases.append(Case(f"{architecture}, three bounds, Clopper–Pearson", make, papers))
        cases.append(Case(f"{architecture}, sequential", make, early))
        untrained = _made(architecture, "standard")
        cases.append(Case(f"{architecture}, not trained on noise", untrained, PLAIN))
    scores = replace(PLAIN, votes=500, bounds=("pixeldp", "cohen"), intervals=("hoeffding",))
    laplace = replace(PLAIN, noise="laplace", bounds=("laplace",))
    sure = replace(PLAIN, votes=1000, confidence=0.999)
    both = replace(PLAIN, intervals=("two-sample", "clopper-pearson"), selection_votes=20)
    asked = replace(early, within=None, radii=(0.1, 0.2, 0.3))
    for architecture in ("conv", "mlp"):
        make = _made(architecture)
        for title, config in (
            ("mean scores", scores),
            ("Laplace", laplace),
            ("at 99.9 %", sure),
            ("two intervals", both),
            ("sequential, three radii", asked),
        ):
            cases.append(Case(f"{architecture}, {title}", make, config))
        for seed in (1, 2, 3):
            again = replace(PLAIN, sigma=0.25, seed=seed)
            title = f"{architecture}, weights {seed}"
            cases.append(Case(title, _made(architecture, seed=seed), again))
    first = replace(PLAIN, noise="first-layer", sigma=0.3)
    return [
        *cases,
        Case("behind the first layer", _made("conv"), first),
        Case(
            "MNIST, conv",
            lambda: network("conv", "standard", "mnist"),
            replace(PLAIN, sigma=0.3),
            "mnist",
        ),
        Case(
            "behind fewer levels, declared",
            lambda: nn.Sequential(Rounded(), network("conv", "noisy")),
            PLAIN,
        ),
        Case(
            "behind a binary layer, declared",
            lambda: nn.Sequential(Binarise(), network("conv", "noisy")),
            PLAIN,
        ),
        Case(
            "behind a denoiser, declared",
            lambda: nn.Sequential(Denoised(), network("conv", "noisy")),
            PLAIN,
        ),
        Case(
            "with noise of its own, declared",
            lambda: nn.Sequential(GaussianNoise(0.1), network("mlp", "noisy")),
            PLAIN,
        ),
        Case(
            "an ensemble",
            lambda: Ensemble(network("conv", "noisy"), network("mlp", "noisy")),
            PLAIN,
        ),
        Case("many images", _made("mlp"), PLAIN, count=300),
        Case("few votes", _made("conv"), replace(PLAIN, votes=60, selection_votes=20)),
    ]


# Votes that are taken otherwise than said


def _drawn(other: Callable[..., Sampling]) -> Tampering:
    """Votes that another function takes."""
    return {"chunks.sample": other}


def _asking(change: Callable[[nn.Sequential], nn.Module]) -> Tampering:
    """Votes of another smoothed classifier than the one that is certified."""

    def other(smoothed: nn.Sequential, *given: Any, **named: Any) -> Sampling:
        return sample(change(smoothed).eval(), *given, **named)

    return _drawn(other)


def _counting(change: Callable[[np.ndarray], np.ndarray]) -> Tampering:
    """Votes that are changed after they were counted."""

    def changed(*given: Any, **named: Any) -> Sampling:
        found = sample(*given, **named)
        return replace(found, counts=change(found.counts))

    return _drawn(changed)


def _with_noise(noise: Callable[[Tensor], Tensor]) -> Tampering:
    """Votes of the network behind other noise than it should be."""

    class Other(nn.Module):
        stochastic = True

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x + noise(x))

    return _asking(lambda smoothed: Other(smoothed[1]))


def _of_one_draw(
    smoothed: Model, x: Images, rng: Stream, *, n: int, n0: int, **named: Any
) -> Sampling:
    """One draw, which is said to be n."""
    one = sample(smoothed, x, rng, n=1, n0=1, **named)
    assert one.choice is not None
    return Sampling(n * one.counts, one.scores, n0 * one.choice)


def _of_content(x: Tensor) -> Tensor:
    """Noise that is a function of the image, the same at each draw."""
    drawn = []
    for one in x:
        key = int((one.double().sum() * 1e6).round()) % 2**31
        drawn.append(torch.randn(one.shape, generator=torch.Generator().manual_seed(key)))
    return 0.2 * torch.stack(drawn)


def _twice(smoothed: Model, x: Images, rng: Stream, *, n: int, **named: Any) -> Sampling:
    """Half of the draws, each counted twice."""
    found = sample(smoothed, x, rng, n=n // 2, **named)
    return replace(found, counts=2 * found.counts)


def _best_of(tries: int, smoothed: Model, x: Images, rng: Stream, **named: Any) -> Sampling:
    """Of several samplings the one with the most votes for the leader, for each image."""
    found = [sample(smoothed, x, rng.fold("try", str(k)), **named) for k in range(tries)]
    best = np.stack([one.counts.max(axis=1) for one in found]).argmax(axis=0)
    counts, scores, choice = (
        np.stack([getattr(one, name) for one in found])[best, range(len(best))]
        for name in ("counts", "scores", "choice")
    )
    return Sampling(counts, scores, choice)


def _until_it_suits(smoothed: Model, x: Images, rng: Stream, *, n: int, **named: Any) -> Sampling:
    """The first draws where they agree better than all; how many there were is not said."""
    whole = sample(smoothed, x, rng, n=n, **named)
    first = sample(smoothed, x, rng, n=n // 2, **named)
    better = first.counts.max(axis=1) / (n // 2) > whole.counts.max(axis=1) / n
    return replace(whole, counts=np.where(better[:, None], first.counts, whole.counts))


def _reused(smoothed: Model, x: Images, rng: Stream, *, n: int, n0: int, **named: Any) -> Sampling:
    """The class is chosen by the first of the draws that count."""
    found = sample(smoothed, x, rng, n=n, n0=0, **named)
    first = sample(smoothed, x, rng, n=n0, n0=0, **named)
    return replace(found, choice=first.counts)


def _all_reused(
    smoothed: Model, x: Images, rng: Stream, *, n: int, n0: int, **named: Any
) -> Sampling:
    """The class is chosen by all draws that count."""
    found = sample(smoothed, x, rng, n=n, n0=0, **named)
    return replace(found, choice=found.counts * n0 // n)


def _leading_alone(counts: np.ndarray) -> np.ndarray:
    leading = np.eye(counts.shape[1], dtype=counts.dtype)[counts.argmax(axis=1)]
    return counts.sum(axis=1, keepdims=True) * leading


def _clipped(counts: np.ndarray) -> np.ndarray:
    """No other class may have more than three votes; the leader has the rest."""
    least = np.minimum(counts, 3)
    places = np.arange(len(counts)), counts.argmax(axis=1)
    least[places] = 0
    least[places] = counts.sum(axis=1) - least.sum(axis=1)
    return least


def _halved(counts: np.ndarray) -> np.ndarray:
    """Half of the votes for others are the leader's."""
    half = counts // 2
    places = np.arange(len(counts)), counts.argmax(axis=1)
    half[places] = 0
    half[places] = counts.sum(axis=1) - half.sum(axis=1)
    return half


# Limits and radii that are made otherwise than said

Making = Callable[[Sampling, Interval, Callable[..., Any], float], Certificates]


def _proving(change: Making) -> Tampering:
    return {"rows.certificates": change}


def _at(confidence: float) -> Tampering:
    """Limits of less confidence than is said."""

    def unsure(sampling: Sampling, interval: Any, *given: Any) -> Certificates:
        return certificates(sampling, replace(interval, confidence=confidence), *given)

    return _proving(unsure)


def _with_limits(limits: Callable[..., Limits]) -> Tampering:
    def others(sampling: Sampling, interval: Interval, *about: Any) -> Certificates:
        wrong = cast(Interval, partial(limits, interval=interval))  # it is called, no more
        return certificates(sampling, wrong, *about)

    return _proving(others)


def _observed(sampling: Sampling, interval: Interval) -> Limits:
    """What was observed, for a limit."""
    share = sampling.counts / sampling.n[:, None]
    first, second = np.sort(share, axis=1)[:, :-3:-1].T
    return Limits(share.argmax(axis=1), np.minimum(first, 0.9999), np.maximum(second, 1e-4))


def _normal(sampling: Sampling, interval: Interval) -> Limits:
    """Wald's limits, of the normal distribution: of equal votes they are certain."""
    share = sampling.counts.max(axis=1) / sampling.n
    apart = NormalDist().inv_cdf(interval.confidence) * np.sqrt(share * (1 - share) / sampling.n)
    p1 = np.minimum(share - apart, 0.9999)
    return Limits(sampling.counts.argmax(axis=1), p1, 1 - p1)


def _no_second(sampling: Sampling, interval: Interval) -> Limits:
    """The second class is what was observed of it, beside a limit that holds."""
    top, p1, _ = interval(sampling)
    share = sampling.counts / sampling.n[:, None]
    return Limits(top, p1, np.maximum(np.sort(share, axis=1)[:, -2], 1e-4))


def _of_fixed_n(sampling: Sampling, interval: Interval) -> Limits:
    """Limits for a fixed number of draws, of draws that stopped when it suited."""
    return ClopperPearson(interval.confidence)(sampling)


def _radius(change: Callable[[np.ndarray], np.ndarray]) -> Tampering:
    def changed(*given: Any) -> Certificates:
        found = certificates(*given)
        return replace(found, radius=np.where(found.abstained, 0, change(found.radius)))

    return _proving(changed)


def _with_bound(bound: Callable[..., Any]) -> Tampering:
    return _proving(lambda s, i, _, sigma: certificates(s, i, bound, sigma))


def _one_sided(p1: Any, p2: Any, sigma: Any) -> Any:
    """σ Φ⁻¹(p1), twice: as if p2 were as far on the other side of zero, whatever it is."""
    return cohen_radius(p1, np.minimum(p2, 1e-4), sigma)


# Rows and cells that say something else than the certificates


def _in_rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Tampering:
    return {"chunks.rows_of": lambda *given: change(rows_of(*given))}


def _answering(rows: pd.DataFrame) -> pd.DataFrame:
    """Whoever abstains answers all the same."""
    top = [int(text.partition(":")[0]) for text in rows["votes"]]
    answer = rows["prediction"].where(~rows["abstained"], top)
    return rows.assign(prediction=answer, abstained=False)


def _abstentions_certified(rows: pd.DataFrame) -> pd.DataFrame:
    """An abstention is right, and certified a little."""
    none = rows["abstained"]
    radius = rows["radius"].where(~none, 0.05)
    return rows.assign(prediction=rows["prediction"].where(~none, rows["label"]), radius=radius)


def _unlike(rows: pd.DataFrame) -> pd.DataFrame:
    """Another number of draws than votes."""
    return rows.assign(draws=10 * rows["draws"])


def _in_cells(change: Callable[[pd.DataFrame], pd.DataFrame], **told: Any) -> Tampering:
    """Cells of other rows than are written, or that say something else."""
    made = run._cells

    def cells(rows: pd.DataFrame, *given: Any) -> list[dict[str, Any]]:
        return [{**cell, **told} for cell in made(change(rows), *given)]

    return {"run._cells": cells}


def _larger(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(radius=1.2 * rows["radius"])


def _of_answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Abstentions count for nothing."""
    return rows[~rows["abstained"]]


def _half_the_constant(
    data: Data,
    index: Tensor,
    sampling: Sampling,
    config: CertificationConfig,
    lipschitz: float,
    *given: str,
) -> pd.DataFrame:
    """Radii by a Lipschitz constant from below."""
    return rows_of(data, index, sampling, config, lipschitz / 2, *given)


# Networks whose votes hang on each other


class Leaking(nn.Module):
    """A denoiser that averages over what is nearest in the batch: other copies of the image."""

    def __init__(self, model: nn.Module, near: int) -> None:
        super().__init__()
        self.model, self.near = model, near

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        apart = torch.cdist(flat, flat)
        nearest = apart.topk(min(self.near, len(x)), largest=False).indices
        return self.model(flat[nearest].mean(dim=1).view_as(x))


class Drifting(nn.Module):
    """Standardises by running statistics that every pass moves."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.zeros(()), persistent=False)
        self.mean: Tensor

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.5 * self.mean + 0.5 * x.detach().mean()
        return self.model(x - self.mean + 0.3)


class Sticking(nn.Module):
    """Answers for a whole batch what most of it says."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        return logits + 0.5 * logits.mean(dim=0, keepdim=True)


class Tiring(nn.Module):
    """Answers at random once it has been asked often."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.asked = model, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.model(x) if self.asked < 15_000 else self.model(x.flip(2, 3))


def broken() -> list[Case]:
    """At least 40 certifications that claim what is not proven."""
    make, mlp = _made("conv"), _made("mlp")
    louder = replace(PLAIN, sigma=0.4)
    papers = replace(PLAIN, bounds=("renyi",), intervals=("clopper-pearson",))
    early = replace(PLAIN, votes=2000, intervals=("sequential",), within=0.8)
    first = replace(PLAIN, noise="first-layer", sigma=0.3)
    laplace = replace(PLAIN, noise="laplace", bounds=("laplace",))
    sure = replace(PLAIN, confidence=0.999)

    def quieter(factor: float) -> Tampering:
        return _asking(lambda smoothed: nn.Sequential(GaussianNoise(0.4 * factor), smoothed[1]))

    def of_another(architecture: str) -> Tampering:
        return _asking(lambda smoothed: nn.Sequential(smoothed[0], network(architecture, "noisy")))

    def half_of_it(x: Tensor) -> Tensor:
        noise = 0.4 * torch.randn_like(x)
        noise[..., ::2] = 0
        return noise

    def truncated(x: Tensor) -> Tensor:
        return 0.4 * torch.randn_like(x).clamp(-1, 1)

    def uniform(x: Tensor) -> Tensor:
        return 0.4 * 3**0.5 * (2 * torch.rand_like(x) - 1)

    return [
        Case("noise not added", make, louder, tampering=_asking(lambda s: s[1])),
        Case("noise not added, mlp", mlp, louder, tampering=_asking(lambda s: s[1])),
        Case("noise of half the size", make, louder, tampering=quieter(0.5)),
        Case("noise of 3/4 of the size", mlp, louder, tampering=quieter(0.75)),
        Case("noise on half of the pixels", make, louder, tampering=_with_noise(half_of_it)),
        Case("noise cut off at σ", mlp, louder, tampering=_with_noise(truncated)),
        Case("uniform noise", make, louder, tampering=_with_noise(uniform)),
        Case("the same noise for all draws", mlp, louder, tampering=_drawn(_of_one_draw)),
        Case("noise by the image's content", make, PLAIN, tampering=_with_noise(_of_content)),
        Case("votes of another network", make, louder, tampering=of_another("resnet")),
        Case("the best of five samplings", mlp, louder, tampering=_drawn(partial(_best_of, 5))),
        Case("each draw counted twice", make, louder, tampering=_drawn(_twice)),
        Case("stopped when it suits", mlp, louder, tampering=_drawn(_until_it_suits)),
        Case("votes for others lost", make, louder, tampering=_counting(_leading_alone)),
        Case("clipped votes", mlp, louder, tampering=_counting(_clipped)),
        Case("votes for others halved", make, louder, tampering=_counting(_halved)),
        Case("selected by draws that count", mlp, louder, tampering=_drawn(_reused)),
        Case("selected by all draws that count", make, louder, tampering=_drawn(_all_reused)),
        Case("limits at 50 %", mlp, PLAIN, tampering=_at(0.5)),
        Case("limits at 90 % for 95 %", make, PLAIN, tampering=_at(0.9)),
        Case("limits at 99 % for 99.9 %", mlp, sure, tampering=_at(0.99)),
        Case("shares for limits", make, PLAIN, tampering=_with_limits(_observed)),
        Case("the normal distribution's limits", mlp, PLAIN, tampering=_with_limits(_normal)),
        Case("no limit for the second class", make, papers, tampering=_with_limits(_no_second)),
        Case("limits of fixed n, sequential", mlp, early, tampering=_with_limits(_of_fixed_n)),
        Case("stn-2019", make, replace(papers, intervals=("stn-2019",))),
        Case("Sison–Glaz", mlp, replace(papers, intervals=("sison-glaz",))),
        Case(
            "stn-2019, said to hold",
            make,
            replace(papers, intervals=("stn-2019",)),
            tampering=_in_cells(lambda rows: rows, guaranteed=True),
        ),
        Case("Cohen's radii for Rényi's", mlp, papers, tampering=_with_bound(cohen_radius)),
        Case("a radius without p2", make, papers, tampering=_with_bound(_one_sided)),
        Case("ℓ2 radii for Laplace noise", mlp, laplace, tampering=_with_bound(cohen_radius)),
        Case("radii ten per cent larger", make, PLAIN, tampering=_radius(lambda r: 1.1 * r)),
        Case(
            "radii rounded up",
            mlp,
            PLAIN,
            tampering=_radius(lambda r: np.ceil(100 * r) / 100),
        ),
        Case("radii by twice σ", make, PLAIN, tampering=_radius(lambda r: 2 * r)),
        Case(
            "a Lipschitz constant from below",
            make,
            first,
            tampering={"chunks.rows_of": _half_the_constant},
        ),
        Case("never abstains", mlp, louder, tampering=_in_rows(_answering)),
        Case("abstentions certified", make, louder, tampering=_in_rows(_abstentions_certified)),
        Case("abstentions left out", mlp, louder, tampering=_in_cells(_of_answers)),
        Case(
            "labels of the predictions",
            make,
            louder,
            tampering=_in_rows(lambda rows: rows.assign(label=rows["prediction"].clip(lower=0))),
        ),
        Case("ten times the draws", mlp, PLAIN, tampering=_in_rows(_unlike)),
        Case("cells of other rows", make, PLAIN, tampering=_in_cells(_larger)),
        Case("said to be in ℓ∞", mlp, PLAIN, tampering=_in_cells(lambda rows: rows, norm="linf")),
        Case(
            "said to be of less noise",
            make,
            louder,
            tampering=_in_cells(lambda rows: rows, sigma=0.1, confidence=0.999),
        ),
        Case("cached answers", lambda: Cache(network("conv", "noisy")), louder),
        Case("cached answers, fine", lambda: Cache(network("mlp", "noisy"), 0.2), louder),
        Case(
            "normalised by the batch",
            lambda: batch_statistics(deepcopy(network("resnet", "noisy"))),
            PLAIN,
        ),
        Case(
            "a denoiser that leaks",
            lambda: Leaking(network("conv", "noisy"), 8),
            replace(louder, votes=2600),  # eight images in a chunk, and sixteen copies in a batch
            count=24,
        ),
        Case("statistics that drift", lambda: Drifting(network("mlp", "noisy")), PLAIN),
        Case("carried by the batch", lambda: Sticking(network("conv", "noisy")), louder),
        Case("another answer in the end", lambda: Tiring(network("mlp", "noisy")), PLAIN),
    ]
