"""The page of a recipe, in Markdown, with tables as CSV and figures beside.

Their places::

OUT/PAPER/README.md         the paper, by `paper_page`
OUT/PAPER/ITEM/README.md    an item: table or figure, claims, what was reduced, how to repeat it
OUT/PAPER/ITEM/claims.json  what became of its claims, and by what, for the paper's page
OUT/PAPER/ITEM/*.csv        every number with its interval and the paper's
OUT/PAPER/ITEM/*.svg        figures
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from holdfast.errors import MissingFileError
from holdfast.files import clear_unfinished, replace_file, write_table, write_text
from holdfast.lock import held
from holdfast.report import comparison, gallery, pictures, style
from holdfast.reproduce.claims import Evidence, Verdict, judge
from holdfast.reproduce.departures import otherwise, reduced
from holdfast.reproduce.markdown import joined
from holdfast.reproduce.measures import Measured
from holdfast.reproduce.provenance import provenance
from holdfast.reproduce.recipes import Recipe
from holdfast.reproduce.results import (
    Curves,
    Gallery,
    Part,
    Pictures,
    Plane,
    Result,
    Table,
    cells_of,
    is_elsewhere,
)
from holdfast.reproduce.run import Outcome
from holdfast.reproduce.scale import Scale
from holdfast.reproduce.shown import shown
from holdfast.reproduce.verdicts import Verdicts, verdicts, write


@dataclass(frozen=True)
class Made:
    """What a recipe came to.

    Attributes:
        recipe: which.
        result: its tables, figures and claims.
        evidence: what became of each claim.
        outcome: what became of the steps.
        page: of it, if it was written.
    """

    recipe: Recipe
    result: Result
    evidence: Sequence[Evidence]
    outcome: Outcome
    page: Path | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of its steps are finished."""
        return all(step.folder in self.outcome.done for step in self.result.steps)

    @property
    def says_anything(self) -> bool:
        """Whether it is whole, or at least one of its claims could be judged."""
        return self.is_whole or any(of.verdict is not Verdict.NOT_RUN for of in self.evidence)


def numbers(part: Table | Curves | Plane, root: Path, done: frozenset[str]) -> pd.DataFrame:
    """Every number of a table or figure, a line each.

    Args:
        part: the table or figure.
        root: where the run folders are.
        done: folders of the steps that are finished.

    Returns:
        Columns row, column, measured, low, high, paper, difference, images, seeds, why. What is not
        measured is missing, and the difference from what was measured elsewhere.
    """
    lines = []
    for row, column, cell in cells_of(part):
        here = cell.measure is not None and all(s.folder in done for s in cell.measure.steps)
        found = (
            cell.measure.read(root)
            if cell.measure is not None and here
            else Measured(math.nan, math.nan, math.nan, 0, 0)
        )
        paper = math.nan if cell.paper is None else cell.paper
        lines.append(
            {
                "row": row,
                "column": column,
                "measured": found.value,
                "low": found.low,
                "high": found.high,
                "paper": paper,
                "difference": math.nan if is_elsewhere(part) else found.value - paper,
                "images": found.images,
                "seeds": found.seeds,
                "why": cell.why,
            }
        )
    return pd.DataFrame(lines)


def judged(recipe: Recipe, scale: Scale, outcome: Outcome, root: Path) -> Made:
    """What an item comes to, without a page.

    Args:
        recipe: the item.
        scale: at which it was done; a recipe is built with it here.
        outcome: what became of its steps.
        root: where the run folders are.
    """
    result = recipe.build(scale)
    evidence = [judge(claim, root, outcome.done) for claim in result.claims]
    return Made(recipe, result, evidence, outcome)


def write_item(recipe: Recipe, scale: Scale, outcome: Outcome, root: Path, out: Path) -> Made:
    """Write the page of an item, its tables and its figures.

    Args:
        recipe: the item.
        scale: at which it was done; a recipe is built with it here.
        outcome: what became of its steps.
        root: where the run folders are.
        out: folder of the pages; the item's is ``PAPER/ITEM`` below.

    Raises:
        OutputError: if another process writes the same page.
    """
    made = judged(recipe, scale, outcome, root)
    result = made.result
    folder = out / recipe.name
    with written_alone(folder):
        lines = [f"# {recipe.title}", "", recipe.about, "", *_command(recipe, scale), ""]
        for part in result.parts:
            lines += _part(part, folder, root, outcome)
        told = verdicts(made.evidence, scale.name)
        lines += [*_claims(told), *_notes(result), *reduced(scale), *otherwise(scale)]
        lines += [*_missing(result, outcome), *provenance(result, root, outcome)]
        page = folder / "README.md"
        write_text(page, joined(lines))
        write(folder, told)
    return replace(made, page=page)


@contextmanager
def written_alone(folder: Path) -> Iterator[None]:
    """Make the folder of a page, and hold it, without what a killed process left, for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        clear_unfinished(folder)
        yield


def _command(recipe: Recipe, scale: Scale) -> list[str]:
    return [f"`holdfast reproduce {recipe.name} --scale {scale.name}`"]


def _part(part: Part, folder: Path, root: Path, outcome: Outcome) -> list[str]:
    lines = [f"## {part.title}", ""]
    match part:
        case Pictures():
            return [*lines, *_pictures(part, folder, root, outcome)]
        case Gallery():
            return [*lines, *_gallery(part, folder, root, outcome)]
    found = numbers(part, root, outcome.done)
    write_table(folder / f"{part.name}.csv", found)
    percent = part.unit == "percent"
    if isinstance(part, Curves | Plane):
        curves = list(_curves(part, found) if isinstance(part, Curves) else _points(part, found))
        log = isinstance(part, Curves) and part.scale == "log"
        figure = comparison.compared(part.x, part.y, curves, percent=percent, log=log)
        _draw(figure, folder / f"{part.name}.svg")
        lines += [f"![{part.title}]({part.name}.svg)", ""]
    return [*lines, *shown(part, found), ""]


def _pictures(part: Pictures, folder: Path, root: Path, outcome: Outcome) -> list[str]:
    if part.step.folder not in outcome.done:
        return ["Not run.", ""]
    lines = []
    for name in part.files:
        drawn = root / part.step.folder / f"{name}.svg"
        if not drawn.exists():
            raise MissingFileError(f"{drawn} is not there; correct the recipe.")
        beside = f"{part.name}{drawn.name}"
        replace_file(folder / beside, partial(shutil.copyfile, drawn))
        lines += [f"![{part.title}]({beside})", ""]
    return lines


def _gallery(part: Gallery, folder: Path, root: Path, outcome: Outcome) -> list[str]:
    if part.step.folder not in outcome.done:
        return ["Not run.", ""]
    fooled = gallery.gallery_of(root / part.step.folder, part.attack, part.eps)
    if not fooled.examples:
        return ["The attack fooled the network with none of the images that were kept.", ""]
    _draw(pictures.gallery(fooled), folder / f"{part.name}.svg")
    return [f"![{part.title}]({part.name}.svg)", ""]


def _draw(figure: Figure, path: Path) -> None:
    svg = style.standalone_svg(figure)
    replace_file(path, lambda temporary: temporary.write_text(svg, encoding="utf-8"))


def _curves(part: Curves, found: pd.DataFrame) -> Iterator[comparison.Compared]:
    for line in part.lines:
        here = found[(found["row"] == line.name) & found["measured"].notna()]
        measured = here[["column", "measured", "low", "high"]].astype(float)
        yield comparison.Compared(
            line.name, list(measured.itertuples(index=False, name=None)), line.paper
        )


def _points(part: Plane, found: pd.DataFrame) -> Iterator[comparison.Compared]:
    """A point for each two numbers of a line that are both there; the table has their intervals."""
    for line, points in part.lines.items():
        here = found[found["row"] == line].set_index("column")["measured"]
        both = [[float(here[f"{at}: {axis}"]) for axis in (part.x, part.y)] for at in points]
        known = [(x, y, math.nan, math.nan) for x, y in both if not math.isnan(x + y)]
        yield comparison.Compared(line, known, [])


def _claims(told: Verdicts) -> list[str]:
    if not told.claims:
        return []
    lines = ["## What the paper says of it", ""]
    for one in told.claims:
        lines += [f"**{one.verdict}**: {one.sentence} ({one.section})", ""]
        lines += [f"- {answer}" for answer in one.found]
        lines += ["", one.why, ""]
    return lines


def _notes(result: Result) -> list[str]:
    return ["## Notes", "", *(f"- {note}" for note in result.notes), ""] if result.notes else []


def _missing(result: Result, outcome: Outcome) -> list[str]:
    failed = [
        f"- {step.command} {step.name}: {outcome.failed[step.folder]}"
        for step in result.steps
        if step.folder in outcome.failed
    ]
    return ["## What is missing", "", *failed, ""] if failed else []
