"""What a recipe makes: tables and figures of measures, with what the paper printed beside."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from holdfast.reproduce.claims import Claim
from holdfast.reproduce.measures import Measure
from holdfast.reproduce.steps import Step, in_order


@dataclass(frozen=True)
class Cell:
    """A number of a table.

    Attributes:
        measure: how it is measured here; None if it is not, and then ``why`` says the reason.
        paper: what the paper printed, as a fraction like the measured one; None if nothing.
        why: a word about what makes the two differ, or why it is not measured.

    Example:
        >>> from holdfast.reproduce import Cell, error, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> Cell(error(attacked, "fgsm"), paper=0.022).paper
        0.022
    """

    measure: Measure | None
    paper: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what the paper calls it.
        rows: name of a row -> name of a column -> cell; columns may be missing in a row.
        unit: whether numbers are fractions, shown in percent, or as they are.
        name: of its file, if a recipe has several.
        elsewhere: whether the paper's numbers are of other images or networks, so that how far
            from them the measured ones are says nothing.

    Example:
        >>> from holdfast.reproduce import Cell, Table, error, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> Table("Table 7", {"A": {"FGSM": Cell(error(attacked, "fgsm"), 0.022)}}).unit
        'percent'
    """

    title: str
    rows: Mapping[str, Mapping[str, Cell]]
    unit: Literal["percent", "number"] = "percent"
    name: str = "table"
    elsewhere: bool = False


@dataclass(frozen=True)
class Line:
    """A curve of a figure.

    Attributes:
        name: in the legend.
        points: (x, measure).
        paper: (x, y) as the paper printed or drew them.

    Example:
        >>> from holdfast.reproduce import Line, accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> Line("PGD", [(0.1, accuracy(attacked, "pgd"))], paper=[(0.1, 0.93)]).name
        'PGD'
    """

    name: str
    points: Sequence[tuple[float, Measure]]
    paper: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True)
class Curves:
    """A figure of curves.

    Attributes:
        title: what the paper calls it.
        x: what is on the horizontal axis, with its unit.
        y: what is on the vertical axis.
        lines: the curves.
        unit: see `Table`.
        scale: of the vertical axis.
        name: of its files, if a recipe has several.

    Example:
        >>> from holdfast.reproduce import Curves, Line, accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> line = Line("PGD", [(0.1, accuracy(attacked, "pgd"))])
        >>> Curves("Figure 2", x="eps", y="robust accuracy", lines=[line]).unit
        'percent'
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    unit: Literal["percent", "number"] = "percent"
    scale: Literal["linear", "log"] = "linear"
    name: str = "figure"


@dataclass(frozen=True)
class Plane:
    """A figure of points with two measures each, such as robustness against accuracy.

    Attributes:
        title: what the paper calls it.
        x: what is on the horizontal axis.
        y: what is on the vertical axis.
        lines: name of a line -> what a point is of -> (x, y), in their order.
        name: of its files, if a recipe has several.

    Example:
        >>> from holdfast.reproduce import Plane, accuracy, clean_accuracy, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> point = (clean_accuracy(attacked), accuracy(attacked, "pgd"))
        >>> Plane("Figure 3", x="clean", y="robust", lines={"plain": {"ε = 0.1": point}}).name
        'plane'
    """

    title: str
    x: str
    y: str
    lines: Mapping[str, Mapping[str, tuple[Measure, Measure]]]
    name: str = "plane"

    @property
    def unit(self) -> Literal["number"]:
        """Both measures are shown as they are."""
        return "number"


@dataclass(frozen=True)
class Pictures:
    """Figures that a step has drawn in its folder.

    Attributes:
        title: what the paper calls it.
        step: usually a diagnosis.
        files: their names without ending; the SVG is taken.
        name: what their names begin with on the page, if a recipe has files of one name from
            several steps.

    Example:
        >>> from holdfast.reproduce import Pictures, diagnose, train
        >>> surface = diagnose("surface", "surface", model=train("net", model="small"), eps=0.1)
        >>> Pictures("Figure 1", surface, ["surface"]).files
        ['surface']
    """

    title: str
    step: Step
    files: Sequence[str]
    name: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images that an attack fooled a network with, of those that its evaluation kept.

    Attributes:
        title: what the paper calls it.
        step: the evaluation.
        attack: as typed.
        eps: its size.
        name: of its file, if a recipe has several.

    Example:
        >>> from holdfast.reproduce import Gallery, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> Gallery("Figure 7", attacked, "pgd", eps=0.1).name
        'gallery'
    """

    title: str
    step: Step
    attack: str
    eps: float
    name: str = "gallery"


Part: TypeAlias = Table | Curves | Plane | Pictures | Gallery


@dataclass(frozen=True)
class Result:
    """All that a recipe makes.

    Attributes:
        parts: tables and figures, in the paper's order.
        claims: what the paper says about them.
        notes: sentences for the page: what the paper leaves open, and what was chosen.
        also: steps that are needed by nothing else, such as networks that are to be kept.

    Example:
        >>> from holdfast.reproduce import Cell, Result, Table, error, evaluate, train
        >>> net = train("net", model="small", epochs=1)
        >>> attacked = evaluate("e", model=net, attacks=["fgsm", "pgd"], eps=0.1)
        >>> made = Result([Table("T", {"A": {"FGSM": Cell(error(attacked, "fgsm"))}})])
        >>> [step.command for step in made.steps]
        ['train', 'evaluate']
    """

    parts: Sequence[Part]
    claims: Sequence[Claim] = ()
    notes: Sequence[str] = ()
    also: Sequence[Step] = field(default=())

    @property
    def steps(self) -> list[Step]:
        """All steps, each after what it needs."""
        return in_order(
            [
                *(step for part in self.parts for step in steps_of(part)),
                *(step for claim in self.claims for check in claim.checks for step in check.steps),
                *self.also,
            ]
        )


def steps_of(part: Part) -> Iterator[Step]:
    """What a table or figure is read from."""
    if isinstance(part, Pictures | Gallery):
        yield part.step
    else:
        for _, _, cell in cells_of(part):
            if cell.measure is not None:
                yield from cell.measure.steps


def is_elsewhere(part: "Table | Curves | Plane") -> bool:
    """Whether the paper's numbers of a table are of other images or networks."""
    return isinstance(part, Table) and part.elsewhere


def cells_of(part: Table | Curves | Plane) -> Iterator[tuple[str, str, Cell]]:
    """Row, column and cell of a table; line, place and point of a figure.

    A point of a plane has two, what it is of and the names of the axes.
    """
    if isinstance(part, Table):
        for row, cells in part.rows.items():
            for column, cell in cells.items():
                yield row, column, cell
    elif isinstance(part, Plane):
        for name, points in part.lines.items():
            for point, measures in points.items():
                for axis, found in zip((part.x, part.y), measures, strict=True):
                    yield name, f"{point}: {axis}", Cell(found)
    else:
        for line in part.lines:
            printed = {f"{x:g}": y for x, y in line.paper}
            measured = {f"{x:g}": measure for x, measure in line.points}
            for x in sorted({*printed, *measured}, key=float):
                yield line.name, x, Cell(measured.get(x), printed.get(x))
