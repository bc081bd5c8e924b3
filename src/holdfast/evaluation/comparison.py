"""Compare two evaluations on the same images: which images fell to one and not to the other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from holdfast import metrics
from holdfast.errors import InputError, WorseError
from holdfast.files import StrPath, as_path
from holdfast.metrics import Paired, paired
from holdfast.results import CLEAN, read_about, read_rows
from holdfast.summary import Summary, percent, size

__all__ = ["Comparison", "Line", "compare"]

#: What the line over all attacks of a size is called.
WORST = "worst case"


@dataclass(frozen=True)
class Line:
    """One accuracy of both models.

    Attributes:
        what: the attack, "worst case" over the attacks that both models met, or "clean".
        norm: of its ball; "" without an attack.
        eps: its size; 0 without an attack.
        found: the accuracies and how far apart they are.
        fell: images that the first model gets right and the second does not.
        held: images that the second model gets right and the first does not.
        top5: the same of top-5 accuracy, of data of more than ten classes. What an attack on the
            top class leaves of it is an upper limit; `holdfast.goals.TopMargin` aims lower.
            `Comparison.worse` goes by `found` alone.

    Example:
        >>> import numpy as np
        >>> from holdfast.evaluation import Line
        >>> from holdfast.metrics import paired
        >>> found = paired(np.array([True, True]), np.array([True, False]))
        >>> Line("pgd", "linf", 0.1, found, fell=[1]).title
        'pgd linf 0.1'
    """

    what: str
    norm: str
    eps: float
    found: Paired
    fell: Sequence[int] = ()
    held: Sequence[int] = ()
    top5: Paired | None = None

    @property
    def title(self) -> str:
        """What is compared, in a line."""
        return f"{self.what} {self.norm} {size(self.eps)}" if self.norm else self.what

    def record(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "attack": self.what,
            "norm": self.norm,
            "eps": self.eps,
            **self.found.record(),
            "fell": list(self.fell),
            "held": list(self.held),
            **({} if self.top5 is None else {"top5": self.top5.record()}),
        }


@dataclass(frozen=True)
class Comparison:
    """Two evaluations, line by line.

    Attributes:
        first: the model of the first run, as it was named.
        second: the model of the second.
        lines: without an attack first, then each attack at each size that both met, then the worst
            case where there are several.
        notes: what must be known to read them.

    Example:
        >>> from torch import nn
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.evaluation import compare
        >>> scaled = nn.Sequential(model, nn.Softmax(1))
        >>> for name, network in (("a", model), ("b", model)):
        ...     result = evaluate(network, x, y, {"fgsm": FGSM(Linf(0.1))}, out=name, name=name)
        >>> compared = compare("a", "b")
        >>> [(line.title, line.found.difference) for line in compared.lines]
        [('clean', 0.0), ('fgsm linf 0.1', 0.0)]
    """

    first: str
    second: str
    lines: list[Line]
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> pd.DataFrame:
        """The lines as a table."""
        return pd.DataFrame([line.record() for line in self.lines])

    def summary(self) -> str:
        """The lines as text."""
        return str(self._summary)

    def _repr_html_(self) -> str:
        return self._summary.html()

    @property
    def _summary(self) -> Summary:
        title = f"{self.second} against {self.first}, on the same {self.lines[0].found.n} images"
        return Summary(title, [_told(line) for line in self.lines], self.notes)

    def worse(self, by: float) -> list[Line]:
        """The lines in which the second model is worse by more than ``by``, a fraction.

        It is the difference on these very images that counts, and not whether it is significant: a
        check that only fails where it is certain passes whatever is measured on few images.

        Example:
            >>> import numpy as np
            >>> from holdfast.evaluation import Comparison, Line
            >>> from holdfast.metrics import paired
            >>> found = paired(np.ones(100, bool), np.arange(100) >= 2)
            >>> compared = Comparison("a", "b", [Line("clean", "", 0.0, found)])
            >>> [line.title for line in compared.worse(0.01)], compared.worse(0.02)
            (['clean'], [])
        """
        return [line for line in self.lines if -line.found.difference > by + 1e-9]

    def check(self, by: float) -> None:
        """Raise if the second model is worse in any line by more than ``by``.

        Raises:
            WorseError: with the line in which it is worst.
        """
        worse = self.worse(by)
        if worse:
            line = min(worse, key=lambda line: line.found.difference)
            raise WorseError(f"{why(line)}, where at most {100 * by:g} are allowed.")


def why(line: Line) -> str:
    """How much worse the second model is in a line, and on which images.

    Example:
        >>> import numpy as np
        >>> from holdfast.evaluation.comparison import Line, why
        >>> from holdfast.metrics import paired
        >>> found = paired(np.array([True, True]), np.array([True, False]))
        >>> print(why(Line("pgd", "linf", 0.1, found, fell=[7])))
        pgd linf 0.1: 100.0 % became 50.0 % (image 7 fell), worse by 50.0 percentage points
    """
    found, fell = line.found, list(line.fell)
    some = ", ".join(map(str, fell[:10])) + (", ..." if len(fell) > 10 else "")
    return (
        f"{line.title}: {percent(found.first)} became {percent(found.second)} "
        f"({'images' if len(fell) > 1 else 'image'} {some} fell), worse by "
        f"{-100 * found.difference:.1f} percentage points"
    )


def compare(first: StrPath, second: StrPath) -> Comparison:
    """Compare two evaluations of the same images, attack by attack and image by image.

    Args:
        first: folder of a finished evaluation, the one to measure by.
        second: folder of another.

    Returns:
        A line for the images as they are, for each attack at each size that both runs met, and for
        the worst case over these where there are several at a size. An attack that one run alone
        met counts for neither: against more attacks a model would look worse than it is. It is
        named in the notes.

    Raises:
        MissingFileError: if a folder holds no run.
        DamagedFileError: if it is damaged.
        InputError: if it is none of a finished evaluation, if their images are others, or they met
            no attack in common.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM, PGD
        >>> from holdfast.evaluation import compare
        >>> attacks = {"fgsm": FGSM(Linf(0.1)), "pgd": PGD(Linf(0.1), steps=5)}
        >>> for folder in ("a", "b"):
        ...     result = evaluate(model, x, y, attacks, out=folder)
        >>> [line.title for line in compare("a", "b").lines]
        ['clean', 'fgsm linf 0.1', 'pgd linf 0.1', 'worst case linf 0.1']
    """
    paths = [as_path(first), as_path(second)]
    abouts = [_finished(path) for path in paths]
    one, other = (about["settings"] for about in abouts)
    if one["data_fingerprint"] != other["data_fingerprint"]:
        raise InputError(
            f"{first} is of {one['images']} images of {one['data']} and {second} of "
            f"{other['images']} of {other['data']}, and they are not the same images: evaluate "
            "both with the same --data and --images."
        )
    rows = [
        metrics.ranked(read_rows(path), len(about.get("classes", ())))
        for path, about in zip(paths, abouts, strict=True)
    ]
    notes = _notes(abouts)
    lines = [_line(CLEAN, "", 0.0, [_Stood.of(part[part["attack"] == CLEAN]) for part in rows])]
    rows = _at_same_sizes([_attacked(part) for part in rows])
    parts = [dict(list(part.groupby(metrics.CELL, sort=False))) for part in rows]
    met = [list(part) for part in parts]
    common = [cell for cell in met[0] if cell in met[1]]
    if not common:
        raise InputError(
            f"{first} met {_titles(met[0])} and {second} met {_titles(met[1])}, which is nothing "
            "in common; evaluate both with the same --attacks, --norm and --eps."
        )
    for mine, others, path in ((met[0], met[1], first), (met[1], met[0], second)):
        left = [cell for cell in mine if cell not in others]
        if left:
            notes.append(
                f"only {path} met {_titles(left)}, which is compared with nothing and in no worst "
                "case."
            )
    stood: dict[tuple[str, float], list[list[_Stood]]] = {}
    for attack, norm, eps in common:
        both = [_Stood.of(part[attack, norm, eps]) for part in parts]
        lines.append(_line(attack, norm, eps, both))
        stood.setdefault((norm, eps), []).append(both)
    for (norm, eps), found in stood.items():
        if len(found) > 1:
            worst = [_Stood.under_all([both[place] for both in found]) for place in (0, 1)]
            lines.append(_line(WORST, norm, eps, worst))
            names = ", ".join(attack for attack, *at in common if at == [norm, eps])
            if any(len(cells) > len(common) for cells in met):
                notes.append(f"{lines[-1].title} is over the attacks that both met: {names}.")
    return Comparison(one["model"], other["model"], lines, notes)


def _finished(path: Path) -> dict[str, Any]:
    about = read_about(path)
    if about["kind"] != "evaluate":
        raise InputError(
            f"{path} holds a run of holdfast {about['kind']}, but evaluations are compared."
        )
    if not about["complete"]:
        raise InputError(
            f"{path} is not finished: run the command that made it again, and it will go on where "
            "it stopped."
        )
    return about


def _notes(abouts: Sequence[dict[str, Any]]) -> list[str]:
    """How the runs differ in more than the model."""
    settings = [about["settings"] for about in abouts]
    notes = []
    for told, values in (
        ("seeds", [str(setting.get("seed")) for setting in settings]),
        ("noise", [_noise(setting) for setting in settings]),
        ("numbers of votes", [str(s.get("votes")) for s in settings if s.get("stochastic")]),
    ):
        if len(set(values)) > 1:
            notes.append(f"the runs have other {told}, {values[0]} and {values[1]}.")
    made: list[dict[str, list[str]]] = [
        {attack["name"]: [] for attack in setting["attacks"]} for setting in settings
    ]
    for place, setting in enumerate(settings):
        for attack in setting["attacks"]:
            made[place][attack["name"]].append(attack["attack"])
    for name in made[0].keys() & made[1].keys():
        one, other = (set(part[name]) for part in made)
        if not one & other:
            notes.append(f"{name} was another attack: {min(one)} and {min(other)}.")
    for about in abouts:
        model = about["settings"]["model"]
        notes += [f"{model}, {text}" for text in metrics.untried(about["cells"])]
    return notes


def _noise(settings: dict[str, Any]) -> str:
    """What noise a run's votes are taken under, in words."""
    sigma = settings.get("sigma")
    return "none" if sigma is None else f"{settings.get('noise', 'gaussian')} of sigma {sigma:g}"


def _attacked(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["attack"] != CLEAN]


def _at_same_sizes(rows: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Both runs' rows, those of attacks without a limit read at the same finite sizes."""
    whole = pd.concat(
        [
            part.assign(run=place, attack=f"{place} " + part["attack"])
            for place, part in enumerate(rows)
        ]
    )
    whole = metrics.at_finite_sizes(whole)
    return [
        part.assign(attack=part["attack"].str[2:]) for _, part in whole.groupby("run", sort=True)
    ]


class _Stood(NamedTuple):
    """Which images a model gets right, in the order of the data set."""

    right: NDArray[np.bool_]
    five: NDArray[np.bool_] | None  # among five classes, where the data have many

    @classmethod
    def of(cls, part: pd.DataFrame) -> "_Stood":
        """Under one attack at one size."""
        five = metrics.among_five(part)
        return cls(_right(part), None if five is None else _right(five))

    @classmethod
    def under_all(cls, found: Sequence["_Stood"]) -> "_Stood":
        """Under several."""
        five = [one.five for one in found if one.five is not None]
        all_five = np.logical_and.reduce(five) if len(five) == len(found) else None
        return cls(np.logical_and.reduce([one.right for one in found]), all_five)


def _right(part: pd.DataFrame) -> NDArray[np.bool_]:
    return ~part.sort_values("index")["fooled"].to_numpy(dtype=bool)


def _line(what: str, norm: str, eps: float, stood: Sequence[_Stood]) -> Line:
    one, other = stood
    fell, held = (
        np.flatnonzero(part).tolist()
        for part in (one.right & ~other.right, other.right & ~one.right)
    )
    top5 = None if one.five is None or other.five is None else paired(one.five, other.five)
    return Line(what, norm, float(eps), paired(one.right, other.right), fell, held, top5)


def _titles(cells: Sequence[tuple[str, str, float]]) -> str:
    return ", ".join(f"{attack} {norm} {size(eps)}" for attack, norm, eps in cells)


def _told(line: Line) -> dict[str, str]:
    found, top5 = line.found, line.top5
    return {
        "accuracy": line.title,
        "first": percent(found.first),
        "second": percent(found.second),
        "difference": f"{100 * found.difference:+.1f}",
        "95 % interval": f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
        "only first": str(found.only_first),
        "only second": str(found.only_second),
        "p": f"{found.p_value:.2g}",
        **({} if top5 is None else {"top-5 accuracy": became(top5)}),
    }


def became(found: Paired) -> str:
    """What became of an accuracy, in a line."""
    return f"{percent(found.first)} became {percent(found.second)}"
