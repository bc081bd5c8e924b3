"""What an evaluation found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast import metrics
from holdfast.auditing.verdict import Audit
from holdfast.files import StrPath
from holdfast.results import read_about, read_rows
from holdfast.summary import Result, Summary, percent

__all__ = ["Evaluation"]


@dataclass(frozen=True)
class Evaluation(Result):
    """What an evaluation found.

    Attributes:
        rows: one line for each (attack, example); see `holdfast.evaluation`.
        cells: one record for each attack, as ``holdfast evaluate --json`` prints them; the ``eps``
            of an attack without a limit is None. That of a cascade, such as the variants of an
            attack that a defence calls for, says in ``broken_by`` how many images fell to each.
            What could not run, because no gradient reaches the images, is in ``skipped`` with
            its reason; the robust accuracy of an attack that was skipped altogether is None.
            Of data of more than ten classes ``clean_top5`` and ``robust_top5`` say how often the
            label is among the five that the model likes best. What an attack that aims at the first
            of them leaves is an upper limit of top-5 robust accuracy; ``top`` is k of one that
            pushes the label out of more (`holdfast.goals.TopMargin`), whose robust accuracy, which
            is about the first class as every attack's, is the upper limit.
            Where dear parts of a cascade were spared to images that were far from falling,
            ``spared`` says how many of these they would break at most (in words
            `holdfast.metrics.untried`).
        warnings: all that must be known to read the numbers, such as signs of masked gradients.
        audit: whether the robust accuracies can be believed; None if no audit was asked for.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))})
        >>> len(result.rows), result.cells[-1]["attack"]  # clean and attacked images
        (8, 'fgsm')
    """

    warnings: list[str] = field(default_factory=list)
    audit: Audit | None = None

    @classmethod
    def read(cls, folder: StrPath, warnings: Sequence[str] = ()) -> "Evaluation":
        """What a finished run found; ``warnings`` where one of an earlier version says none."""
        rows, about = read_rows(folder), read_about(folder)
        return cls(rows, about["cells"], about.get("warnings", list(warnings)), Audit.of_run(about))

    @property
    def _summary(self) -> Summary:
        """A line for each attack: its robust accuracy, with the interval over the images."""
        first = self.cells[0]
        title = (
            f"{first['model']}: {percent(first['clean_accuracy'])} of {first['n']} images are "
            "right without an attack"
        )
        audited = [] if self.audit is None else [self.audit.sentence]
        notes = [*audited, *metrics.untried(self.cells), *self.warnings]
        return Summary(title, [_line(cell) for cell in self.cells], notes)


def _line(cell: dict[str, Any]) -> dict[str, str]:
    ran, distance = cell["robust_accuracy"] is not None, cell["median_distance"]
    return {
        "attack": cell["attack"],
        "norm": cell["norm"],
        "eps": "no limit" if cell["eps"] is None else f"{cell['eps']:g}",
        "robust accuracy": percent(cell["robust_accuracy"]) if ran else "skipped",
        "95 % interval": _interval(cell["low"], cell["high"]),
        **(_top5(cell) if "robust_top5" in cell else {}),
        "median distance": "-" if distance is None else f"{distance:.4g}",
    }


def _top5(cell: dict[str, Any]) -> dict[str, str]:
    left = cell["robust_top5"]
    return {
        "top-5 accuracy": "skipped" if left is None else percent(left),
        "its 95 % interval": _interval(cell["top5_low"], cell["top5_high"]),
    }


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{percent(low)} to {percent(high)}"
