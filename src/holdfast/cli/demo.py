"""``holdfast demo``: the whole path on scikit-learn's digits, without a download."""

from pathlib import Path

import pandas as pd
import torch
from torch import nn

from holdfast import data as datasets
from holdfast.attacks import FGSM, PGD, RFGSM, Attack, SecondOrder
from holdfast.certify.config import CertificationConfig
from holdfast.certify.run import certify_data
from holdfast.cli.common import print_table
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.evaluation import EvaluationConfig, evaluate_data
from holdfast.models import Architecture
from holdfast.progress import Progress, showing
from holdfast.report import tables
from holdfast.report.classifier import Classifier
from holdfast.report.page import build
from holdfast.report.subjects import read_subjects
from holdfast.threads import suited_threads
from holdfast.threat import L2, Linf
from holdfast.training import Adversarial, Schedule, Stability, Standard, train_data
from holdfast.types import Objective, Threat

SIGMA = 0.3  # a third of the grey scale: at 8×8 pixels people still read such digits
TRAINING_EPS = 0.15  # beyond it the adversarially trained network stops learning
LINF = [Linf(eps) for eps in (0.05, 0.1, 0.15, 0.2)]
L2_SIZES = [L2(eps) for eps in (0.25, 0.5, 0.75, 1.0)]
VOTES = 1000  # enough to certify up to about twice sigma
EPOCHS = 30
TESTED = 500  # the whole test set
BATCH = 2000  # such small images are faster many at a time
SMOOTHED = 200  # images to attack it on when smoothed: each gradient is an average of ten


def demo(*, out: Path = Path("runs/demo"), seed: int = 0, quiet: bool = False) -> None:
    """Train, attack and certify three networks on 1,797 real digits, and make a report.

    A plain network, one trained on PGD examples and one trained for stability under noise (STN) are
    attacked in two norms and certified. It takes about two minutes on two cores. On one
    machine the same seed gives the same numbers (rounding moves them on another); a second run into
    the same folder changes nothing.

    Example:
        holdfast demo --out runs/demo

    Args:
        out: Folder for networks, runs and report.
        seed: Of everything.
        quiet: Show no progress.
    """
    objectives: dict[str, Objective] = {
        "plain": Standard(),
        "adversarial": Adversarial(attack=PGD(Linf(TRAINING_EPS), steps=7, early_stop=False)),
        "stn": Stability(sigma=SIGMA),
    }
    digits, test = datasets.load("digits", "train"), datasets.load("digits", limit=TESTED)
    architecture = Architecture(name="small", shape=(1, 8, 8), classes=len(digits.classes))
    runs = []
    network = architecture.build(seed)  # not trained, but of their size
    with (
        showing(not quiet) as progress,
        suited_threads(architecture.shape, network, progress=progress),
    ):
        for name, objective in objectives.items():
            progress.say(f"{name}: train, attack, certify")
            network = train_data(
                architecture,
                digits,
                objective,
                Schedule(epochs=EPOCHS, seed=seed),
                out / "networks" / name,
                progress=progress,
            )
            runs.append(out / "networks" / name)
            runs += _measure(name, network, test, out, seed, progress)
        page = build(runs, out / "report", "Three networks that read digits")
    _print(runs)
    print(f"report: {page}")


def _measure(
    name: str, network: nn.Module, test: Data, out: Path, seed: int, progress: Progress
) -> list[Path]:
    """Attack the base classifier in both norms, the smoothed one in ℓ2; certify the latter."""
    model = str(out / "networks" / name)
    config = EvaluationConfig(batch_size=BATCH, seed=seed)
    runs = []
    for label, sizes in (("linf", LINF), ("l2", L2_SIZES)):
        runs.append(out / "attacks" / f"{name}-{label}")
        evaluate_data(
            network,
            test,
            [named for size in sizes for named in _attacks(size)],
            config,
            model,
            runs[-1],
            progress,
        )
    runs.append(out / "attacks" / f"{name}-l2-smoothed")
    evaluate_data(
        nn.Sequential(GaussianNoise(SIGMA), network),
        test.take(torch.arange(SMOOTHED)),
        [named for size in L2_SIZES for named in _attacks_on_smoothed(size)],
        config,
        model,
        runs[-1],
        progress,
    )
    runs.append(out / "certificates" / name)
    certify_data(
        network,
        test,
        CertificationConfig(sigma=SIGMA, votes=VOTES, batch_size=BATCH, seed=seed),
        model,
        runs[-1],
        progress,
    )
    return runs


def _attacks(threat: Threat) -> list[tuple[str, Attack]]:
    return [
        ("fgsm", FGSM(threat)),
        ("r+fgsm", RFGSM(threat)),
        ("pgd", PGD(threat, steps=20)),
        ("second-order", SecondOrder(threat, steps=10)),
    ]


def _attacks_on_smoothed(threat: Threat) -> list[tuple[str, Attack]]:
    """The evaluator makes these average over the noise, which is what S-O does as well."""
    return [
        ("pgd", PGD(threat, steps=10)),
        ("second-order", SecondOrder(threat, steps=10)),
    ]


def _print(runs: list[Path]) -> None:
    """The summary of the report, in the terminal."""
    subjects = read_subjects(runs)
    for norm in ("linf", "l2"):
        summary = tables.summary(subjects, norm)
        print_table(
            f"{norm}: % right in the worst case over all attacks, and % proven right "
            f"(smoothed: noise {SIGMA:g})",
            [
                {
                    "classifier": _name(line.classifier),
                    "%": word,
                    **{
                        f"{size:g}": _percent(of(cell))
                        for size, cell in zip(summary.sizes, line.cells, strict=True)
                    },
                }
                for line in summary.lines
                for word, of in (
                    ("attacked", lambda cell: cell.shown),
                    ("proven", lambda cell: cell.proven),
                )
            ],
        )


def _name(classifier: Classifier) -> str:
    return classifier.network + ("" if classifier.sigma is None else " (smoothed)")


def _percent(row: "pd.Series[float] | None") -> str:
    return "-" if row is None else f"{100 * row['robust_accuracy']:.1f}"
