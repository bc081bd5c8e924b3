"""What a page shows of one classifier: all runs that met it, and what follows from their rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from holdfast import metrics
from holdfast.report.folders import CertifiedRun, RunFolder
from holdfast.results import CLEAN
from holdfast.results.schema import TITLES
from holdfast.statistics import Array

__all__ = ["Classifier"]


@dataclass(frozen=True)
class Classifier:
    """A base classifier, or the one smoothed from it by noise, with all runs that met it.

    Attributes:
        network: the base classifier's name.
        noise: family and deviation of the noise; None for the base classifier.
        evaluations: attacks on it.
        certifications: its certificates: those that hold first, from the most votes.
        beside: by norm, sizes at which the others of the page were attacked or are read: attacks
            without a limit are read there too, so that all are known at one size.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.subjects import read_subjects
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> [subject] = read_subjects(["run"])
        >>> [classifier.title for classifier in subject.classifiers]
        ['base classifier']
    """

    network: str
    noise: tuple[str, float] | None
    evaluations: list[RunFolder] = field(default_factory=list)
    certifications: list[CertifiedRun] = field(default_factory=list)
    beside: Mapping[str, Array] = field(default_factory=dict)

    @property
    def sigma(self) -> float | None:
        """Of the noise."""
        return None if self.noise is None else self.noise[1]

    @property
    def title(self) -> str:
        """As tables name it."""
        if self.noise is None:
            return "base classifier"
        family, sigma = self.noise
        return f"smoothed classifier, {TITLES[family]} σ = {sigma:g}"

    @property
    def label(self) -> str:
        """As sentences and figures name it, among those of other networks."""
        if self.noise is None:
            return self.network
        family, sigma = self.noise
        kind = "" if family == "gaussian" else f"{TITLES[family]} "
        return f"{self.network}, smoothed with {kind}σ = {sigma:g}"

    @property
    def tag(self) -> str:
        """As files name it."""
        if self.noise is None:
            return "network"
        family, sigma = self.noise
        return f"{'noise' if family == 'gaussian' else family}-{sigma:g}"

    @property
    def options(self) -> str:
        """What makes holdfast evaluate attack it."""
        if self.noise is None:
            return ""
        family, sigma = self.noise
        return f"--sigma {sigma:g}" + ("" if family == "gaussian" else f" --noise {family}")

    @property
    def runs(self) -> list[RunFolder]:
        """Its evaluations, and its certifications, each once."""
        certified = {run.path: run for run in self.certifications}
        return [*self.evaluations, *certified.values()]

    @property
    def proof(self) -> CertifiedRun | None:
        """The certificates that the summary shows: from the most votes, if they hold."""
        holding = [run for run in self.certifications if run.guaranteed]
        return next((run for run in [*self.proofs, *holding] if run.top == 1), None)

    @property
    def proofs(self) -> list[CertifiedRun]:
        """All certificates of the smoothed classifier that hold: no attack may contradict one."""
        return [run for run in self.certifications if run.guaranteed and run.of_votes]

    @property
    def top_proof(self) -> CertifiedRun | None:
        """The certificates of more than the first class that the summary shows, if there are any.

        They stand by themselves: robust accuracy is of the first class.
        """
        return next((run for run in self.certifications if run.guaranteed and run.top > 1), None)

    @cached_property
    def attacked(self) -> pd.DataFrame:
        """Rows of all attacks."""
        return self._rows[self._rows["attack"] != CLEAN]

    @cached_property
    def at_sizes(self) -> pd.DataFrame:
        """The same, attacks without a limit read at finite sizes."""
        return metrics.at_finite_sizes(self.attacked, self.beside)

    @cached_property
    def worst(self) -> pd.DataFrame:
        """The worst case over all attacks, by norm and size."""
        return metrics.worst_case(self.at_sizes)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Accuracy under each attack at each size."""
        return metrics.cells(self.at_sizes)

    def attacked_in(self, norm: str) -> pd.DataFrame:
        """The same, of the attacks in one norm; no rows if there are none."""
        if not self.evaluations:
            return pd.DataFrame(columns=["index", "label", "prediction", "attack", "eps"])
        return self.at_sizes[self.at_sizes["norm"] == norm]

    @property
    def clean(self) -> pd.DataFrame:
        """Rows of the unattacked images, in the evaluation with the most."""
        rows = max((run.rows for run in self.evaluations), key=lambda rows: rows["index"].nunique())
        return rows[rows["attack"] == CLEAN]

    @property
    def without_attack(self) -> "pd.Series[float]":
        """Accuracy on the unattacked images, with its interval."""
        return metrics.without_attack(self.clean)

    @property
    def _rows(self) -> pd.DataFrame:
        every = [
            metrics.ranked(run.rows, len(run.about.get("classes", ()))) for run in self.evaluations
        ]
        return pd.concat(every, ignore_index=True)
