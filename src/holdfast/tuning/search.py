"""The search: every chain of a grid meets the attack, and the best few meet all of it."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn

from holdfast.attacks import Attack, On
from holdfast.attacks.engine.transfer import spending
from holdfast.batch_size import first_batch
from holdfast.data import Data
from holdfast.defenses import MALADE
from holdfast.errors import InputError
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.files import StrPath, write_table
from holdfast.models.identity import identify
from holdfast.models.purified import PURIFIED, Networks, read_purified, save_purified
from holdfast.parameters import at_least_one, check_arguments, each_once
from holdfast.progress import Progress, silent
from holdfast.results import Run, kept_or_temporary, read_about
from holdfast.tensors import fingerprint
from holdfast.threads import suited_threads
from holdfast.training.precomputed import precompute


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The numbers of one chain; see `holdfast.defenses.MALADE`.

    Example:
        >>> from holdfast.tuning import Chain
        >>> Chain(steps=10, alpha=0.1, delta=0.01, sigma=0.2).steps
        10
    """

    steps: int
    alpha: float
    delta: float
    sigma: float
    anneal: float = 1.0

    def of(self, networks: Networks) -> nn.Sequential:
        """The chain in front of its classifier."""
        layer = MALADE(networks["denoiser"][0], **asdict(self))
        return nn.Sequential(layer, networks["classifier"][0])


@dataclass(frozen=True, kw_only=True)
class Search:
    """Which chains are tried: all combinations of the numbers.

    Attributes:
        steps: T of the chain.
        alpha: step sizes α.
        delta: standard deviations δ of the noise of each step.
        sigma: σ that the denoiser was trained with.
        anneal: what is left of α and δ² at the last step.
        first_images: how many of the images every chain is attacked on, at least 1.
        finalists: how many of the best meet all variants of the attack, at least 1.
        finalist_images: how many of the images they meet them on, at least 1; averages of 30 draws
            cost ten times and more what the first attack does.

    Raises:
        InputError: if a number is out of range, or there are none.

    Example:
        >>> from holdfast.tuning import Search
        >>> len(Search(steps=(5, 10), alpha=(0.1, 0.2, 0.4), delta=(0.01,), sigma=0.2).chains())
        6
    """

    steps: tuple[int, ...]
    alpha: tuple[float, ...]
    delta: tuple[float, ...]
    sigma: float
    anneal: tuple[float, ...] = (1.0,)
    first_images: int = 20
    finalists: int = 3
    finalist_images: int = 40

    def __post_init__(self) -> None:
        at_least_one(
            first_images=self.first_images,
            finalists=self.finalists,
            finalist_images=self.finalist_images,
        )
        for name in ("steps", "alpha", "delta", "anneal"):
            if not getattr(self, name):
                raise InputError(f"there is no {name} to try; give at least one.")
            each_once(name, getattr(self, name))
        for chain in self.chains():  # a wrong number is told before any work
            MALADE(nn.Identity(), **asdict(chain))

    def chains(self) -> list[Chain]:
        """All combinations, the shortest first."""
        return [
            Chain(steps=steps, alpha=alpha, delta=delta, sigma=self.sigma, anneal=anneal)
            for steps, alpha, delta, anneal in product(
                self.steps, self.alpha, self.delta, self.anneal
            )
        ]


class Tuned(NamedTuple):
    """What a search found.

    Attributes:
        model: the purified classifier, in evaluation mode, on the CPU.
        best: the chosen chain, as one of the trials.
        trials: the numbers of every chain and its fractions of images that are right: without
            attack, ``clean_accuracy``; under what was crafted on the bare classifier,
            ``transfer_accuracy``; under the first attack on the chain, ``first_accuracy``; and, of
            finalists, under all variants of it, ``robust_accuracy``.

    Example:
        >>> from holdfast.tuning import Tuned
        >>> Tuned(model, best={"steps": 2}, trials=[{"steps": 1}, {"steps": 2}]).best
        {'steps': 2}
    """

    model: nn.Sequential
    best: dict[str, Any]
    trials: list[dict[str, Any]]


def tune_malade(
    networks: Networks,
    data: Data,
    search: Search,
    attack: Attack,
    config: EvaluationConfig,
    sources: Mapping[str, str] = MappingProxyType({}),
    out: StrPath | None = None,
    progress: Progress = silent,
) -> Tuned:
    """Choose steps, α, δ and how they are annealed of a `MALADE` in front of a classifier.

    The finalist with the largest fraction of images that are right without attack and under it; of
    equal ones, that with the larger fraction under the first attack, then under what was crafted on
    the bare classifier, then without attack, then the shorter one.

    Args:
        networks: "denoiser" and "classifier" with their architectures, on the device that is to do
            the work.
        data: images to choose by; part of a training set, never the test set.
        search: which chains.
        attack: on each chain, by BPDA and through the chain with one draw a step; crafted once on
            the bare classifier for all chains, without early stopping; and for the finalists with
            all variants that the whole calls for.
        config: votes (1 is one chain for each prediction), draws, seed.
        sources: where each network comes from, for the record.
        out: folder to keep the run in, which a model can then be loaded from; interrupted, the same
            call goes on from there.
        progress: told about every chain.

    Returns:
        The purified classifier, in evaluation mode, on the CPU, and all trials.

    Raises:
        OutputError: if ``out`` cannot be written or holds another run.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.data import Data
        >>> from holdfast.evaluation import EvaluationConfig
        >>> from holdfast.models import Architecture
        >>> from holdfast.tuning import Search, tune_malade
        >>> networks = {}
        >>> for role, name in (("denoiser", "malade-dae"), ("classifier", "malade-cnn")):
        ...     kind = Architecture(name=name, shape=(1, 28, 28), classes=10)
        ...     networks[role] = kind.build(seed=0), kind
        >>> data = Data.of(torch.rand(2, 1, 28, 28), torch.tensor([0, 1]))
        >>> search = Search(steps=(1, 2), alpha=(0.1,), delta=(0.01,), sigma=0.2, finalists=1)
        >>> config = EvaluationConfig(votes=1, samples=1)
        >>> tuned = tune_malade(networks, data, search, FGSM(Linf(0.1)), config)
        >>> [trial["steps"] for trial in tuned.trials], tuned.best in tuned.trials
        ([1, 2], True)
    """
    check_arguments(tune_malade, locals())
    for network, _ in networks.values():
        network.eval()
    config = replace(config, keep_images=0, each=False, variants=())
    record = {
        "model": "model" if out is None else str(out),
        **sources,
        "data": data.name,
        **{
            key.replace("model", name): value
            for name, (network, _) in networks.items()
            for key, value in identify(network, data).items()
        },
        "data_fingerprint": data.fingerprint(),
        "images": len(data),
        "search": repr(search),
        "attack": repr(attack),
        **config.record(),
    }
    found: dict[str, Any] = {}

    def work(run: Run) -> None:
        found.update(_search(run.path, networks, data, search, attack, config, record, progress))

    def results(run: Run, _: object) -> dict[str, Any]:
        numbers = {field.name: found["best"][field.name] for field in fields(Chain)}
        save_purified(run.path / PURIFIED, MALADE(nn.Identity(), **numbers), networks)
        write_table(run.path / "trials.csv", pd.DataFrame(found["trials"]))
        # By which a report knows who met this chain, wherever the folders lie by then.
        return {**found, "model_fingerprint": fingerprint(read_purified(run.path / PURIFIED))}

    whole = search.chains()[0].of(networks)
    with suited_threads(data.shape, whole, progress=progress), kept_or_temporary(out) as folder:
        Run.resume_or(folder, "tune", record, work, results, progress=progress)
        about = read_about(folder)
        return Tuned(read_purified(folder / PURIFIED), about["best"], about["trials"])


def _search(
    out: Path,
    networks: Networks,
    data: Data,
    search: Search,
    attack: Attack,
    config: EvaluationConfig,
    record: Mapping[str, Any],
    progress: Progress,
) -> dict[str, Any]:
    """Try all chains, and the finalists under the whole attack; each trial goes on by itself."""
    classifier = networks["classifier"][0]

    def trial(
        stage: str, number: int, data: Data, attack: Attack, config: EvaluationConfig = config
    ) -> Mapping[str, Any]:
        """What a chain leaves of some images under an attack."""
        whole = chains[number].of(networks)
        folder, told = out / stage / f"{number:04d}", progress if stage == "finalists" else silent
        with warnings.catch_warnings():  # the variants that the first attack leaves out
            warnings.filterwarnings("ignore", message=".* they were left out on request")
            found = evaluate_data(
                whole, data, [("attack", attack)], config, record["model"], folder, told
            )
        return found.cells[0]

    # An image that rests where it has just fooled the classifier is nothing to any chain.
    examples = precompute(
        spending(attack),
        classifier,
        data,
        seed=config.seed,
        batch_size=first_batch(config.batch_size),
        out=out / "examples",
        progress=progress,
    )
    crafted = On(classifier, examples, name="the classifier alone")
    chains = search.chains()
    few, more = _spread(data, search.first_images), _spread(data, search.finalist_images)
    quick = replace(config, variants=("plain", "bpda"), samples=1)
    trials: list[dict[str, Any]] = []
    progress.start("chains", len(chains))
    for number, chain in enumerate(chains):
        shown = trial("transfer", number, data, crafted)
        first = trial("first", number, few, attack, quick)["robust_accuracy"]
        trials.append(
            {
                **asdict(chain),
                "clean_accuracy": shown["clean_accuracy"],
                "transfer_accuracy": shown["robust_accuracy"],
                "first_accuracy": first,
                "robust_accuracy": None,
            }
        )
        progress.advance(note=f"{first:.3f}")
    ranked = sorted(range(len(chains)), key=lambda number: _rank(trials[number]))
    for number in ranked[: search.finalists]:
        trials[number]["robust_accuracy"] = trial("finalists", number, more, attack)[
            "robust_accuracy"
        ]
    met = ranked[: search.finalists]
    best = max(met, key=lambda number: trials[number]["robust_accuracy"])  # of equal ones the first
    return {
        "best": trials[best],
        "trials": trials,
        "first_images": len(few),
        "finalist_images": len(more),
    }


def _rank(trial: Mapping[str, Any]) -> tuple[float, ...]:
    """The smaller, the better the chain, as far as the first stage tells."""
    told = ("first_accuracy", "transfer_accuracy", "clean_accuracy")
    return (*(-trial[name] for name in told), trial["steps"])


def _spread(data: Data, count: int) -> Data:
    """Evenly spaced images: the first ones of a folder would all be of one class."""
    count = min(count, len(data))
    return data.take(torch.arange(count) * len(data) // count)
