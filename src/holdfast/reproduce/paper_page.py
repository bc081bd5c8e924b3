"""The page of a paper: its claims with their verdicts, its items, and its numbers beside ours.

All is as the items' pages have it.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from holdfast.files import write_text
from holdfast.reproduce.claims import Verdict
from holdfast.reproduce.markdown import escaped, joined
from holdfast.reproduce.page import written_alone
from holdfast.reproduce.recipes import Paper, Recipe
from holdfast.reproduce.results import Curves, Plane, Table
from holdfast.reproduce.scale import Scale
from holdfast.reproduce.shown import shown
from holdfast.reproduce.verdicts import Judged, Verdicts, read


def write_paper(paper: Paper, scale: str, out: Path) -> Path:
    """Write the page of a paper from the pages of its items that are there, of whatever run.

    Args:
        paper: which.
        scale: by its name; an item that was done at another says so.
        out: folder of the pages; the paper's is ``PAPER`` below.

    Raises:
        DamagedFileError: if what an item's page is kept with cannot be read.
        OutputError: if another process writes the same page.
    """
    lines = [f"# {paper.title}", "", paper.about, ""]
    lines += [f"`holdfast reproduce {paper.name} --scale {scale}`", ""]
    lines += ["| the paper says | where | here | evidence |", "|---|---|---|---|"]
    items = ["", "| item | what | scale | claims |", "|---|---|---|---|"]
    numbers: list[str] = []
    for recipe in paper.recipes:
        kept = read(out / recipe.name)
        of = _unrun(recipe, scale) if kept is None else kept
        link = recipe.item if kept is None else f"[{recipe.item}]({recipe.item}/README.md)"
        for one in of.claims:
            why = [f"*{one.why}*"] if one.why else []
            evidence = "<br>".join(map(escaped, [*one.found, *why, link]))
            lines.append(
                f"| {escaped(one.sentence)} | {one.section} | **{one.verdict}** | {evidence} |"
            )
        counts = Counter(one.verdict for one in of.claims)
        told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) or "-"
        done_at = "" if kept is None else kept.scale
        items.append(f"| {link} | {escaped(recipe.title)} | {done_at} | {told} |")
        if kept is not None:
            numbers += _numbers(recipe, Scale(kept.scale), out / recipe.name)
    page = out / paper.name / "README.md"
    beside = [file for file in sorted(page.parent.glob("*.md")) if file != page]
    if beside:
        items += ["", "Found besides:", ""]
        items += [f"- [{_title(file)}]({file.name})" for file in beside]
    if numbers:
        numbers = ["", "## The paper's numbers, and what was measured", *numbers]
    with written_alone(page.parent):  # which is not there if no item has a page yet
        write_text(page, joined([*lines, *items, *numbers]))
    return page


def _numbers(recipe: Recipe, scale: Scale, folder: Path) -> Iterator[str]:
    """The tables and figures of an item that the paper has numbers of, theirs beside ours."""
    for part in recipe.build(scale).parts:
        if not isinstance(part, Table | Curves | Plane):
            continue
        file = folder / f"{part.name}.csv"
        if not file.exists():  # of a page that an earlier version wrote
            continue
        found = pd.read_csv(file, dtype=dict.fromkeys(("row", "column", "why"), str))
        found = found.fillna({"why": ""})
        if found["paper"].notna().any():
            yield from ("", f"<details><summary>{recipe.item}: {part.title}</summary>", "")
            yield from shown(part, found)
            yield from ("", "</details>")


def _unrun(recipe: Recipe, scale: str) -> Verdicts:
    claims = recipe.build(Scale(scale)).claims
    return Verdicts(scale, [Judged(of.sentence, of.section, Verdict.NOT_RUN) for of in claims])


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
