"""Where a method stands in our own contests.

Its rows in the tables of docs/results, and the tables and figures of papers that are reproduced
with it.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parents[2] / "docs" / "results"

#: The columns of these tables that name a method of a kind.
_COLUMNS = {
    "attacks": ("attack",),
    "objectives": ("training",),
    "bounds": ("bound",),
    "intervals": ("interval", "votes end by"),
}

#: What those tables call a method, where it is not what the command line does.
_CALLED = {
    ("attacks", "apgd"): r"APGD, ",
    ("attacks", "carlini-wagner"): r"C&W",
    ("attacks", "sigma-zero"): r"σ-zero",
    ("attacks", "worst-case"): r"suite|budget=\d+",
    ("attacks", "second-order"): r"S-O|Second",
    ("objectives", "adv-train-1"): r"Adv\. Train I",
    ("objectives", "adv-train-2"): r"Adv\. Train II",
    ("objectives", "dae"): r"denoising",
    ("objectives", "deep-defense"): r"Deep Defense",
    ("objectives", "distillation"): r"distilled",
    ("objectives", "noise"): r"noise|noise only",
    ("objectives", "sdae"): r"supervised denoising",
    ("objectives", "standard"): r"plain",
    ("bounds", "renyi"): r"Rényi",
    ("intervals", "clopper-pearson"): r"Clopper–Pearson",
    ("intervals", "sison-glaz"): r"Sison–Glaz",
    ("intervals", "stn-2019"): r"STN's of 2019",
}

#: How a command of a paper's table names a method of a kind: {0} stands for its name.
_TYPED = {
    "attacks": r"--attacks? .*{0}",
    "objectives": r"--objective \"?{0}",
    "bounds": r"--bounds \S*{0}",
    "intervals": r"--intervals \S*{0}",
}

#: A pattern that matches nothing: what has no command is in none.
_NEVER = "(?!)"

#: What such a command says where it is not the method's name.
_COMMANDS = {
    ("defences", "binarise"): r"\bbinarise\b",
    ("defences", "dropout"): r"--model \"?(B|dropout)\b",
    ("defences", "first-layer-noise"): r"--noise first-layer",
    ("defences", "gaussian-noise"): r"holdfast certify (?!.*--noise)",
    ("defences", "laplace-noise"): r"--noise laplace",
    ("defences", "malade"): r"holdfast tune malade",
    ("defences", "normalize"): r"\bnormalize\(",
    ("defences", "sound-gaussian-noise"): r"--noise sound-gaussian",
    ("diagnoses", "adversarial_directions"): "diagnose subspace",
    ("diagnoses", "convergence"): "diagnose convergence",
    ("diagnoses", "diagnose_data"): "holdfast diagnose (?!purification)",
    ("diagnoses", "discrepancy"): "diagnose discrepancy",
    ("diagnoses", "fraction_with_at_least"): "diagnose subspace",
    ("diagnoses", "gradient_norms"): "diagnose gradient-norm",
    ("diagnoses", "interval_bounds"): "diagnose ibp",
    ("diagnoses", "leading_eigenvector"): "diagnose curvature",
    ("diagnoses", "linearity"): "diagnose linearity",
    ("diagnoses", "live_filters"): "diagnose filters",
    ("diagnoses", "loss_surface"): "diagnose surface",
    ("diagnoses", "margins"): "diagnose margin",
    ("diagnoses", "perceptual_similarity"): "diagnose perceptual",
    ("diagnoses", "purification"): "diagnose purification",
    ("diagnoses", "regular_hadamard"): "diagnose subspace.*linf",
    ("diagnoses", "second_order_cosines"): "diagnose curvature",
    ("diagnoses", "signed_directions"): "diagnose surface",
    ("diagnoses", "trace_purification"): "diagnose purification",
}


class Row(NamedTuple):
    """A row of a table, with its page, its heading and the names of its columns."""

    page: str
    heading: str
    names: tuple[str, ...]
    cells: tuple[str, ...]


def of(kind: str, name: str) -> list[str]:
    """Blocks of Markdown: its rows, table by table, and what is reproduced with it, or neither."""
    found = [*_tables(kind, name), *_reproduced(kind, name)]
    return [
        "## In our contests",
        *(found or ["In no contest of ours yet, nor in a paper's table."]),
    ]


@cache
def rows() -> tuple[Row, ...]:
    """Every row of a table that names methods, on the pages of docs/results and of its papers."""
    pages = sorted([*RESULTS.glob("*.md"), *RESULTS.glob("*/*.md")])
    wanted = {column for columns in _COLUMNS.values() for column in columns}
    return tuple(row for page in pages for row in _rows(page) if wanted & set(row.names))


def _rows(page: Path) -> Iterator[Row]:
    heading, place = "", page.relative_to(RESULTS).as_posix()
    names: tuple[str, ...] = ()
    for line in page.read_text().splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if line.startswith("#"):
            heading, names = line.lstrip("# "), ()
        elif not line.startswith("|"):
            names = ()
        elif not names:
            names = cells
        elif not set(line) <= set("|- :"):
            yield Row(place, heading, names, cells)


def _tables(kind: str, name: str) -> Iterator[str]:
    called = _CALLED.get((kind, name), re.escape(name))
    its = re.compile(
        f"(?:{called})" + ("" if called.endswith(" ") else r"(?![\w-])"), re.IGNORECASE
    )
    mine: dict[tuple[str, str, tuple[str, ...]], list[tuple[str, ...]]] = {}
    for page, heading, names, cells in rows():
        for column in _COLUMNS.get(kind, ()):
            if column in names and its.match(cells[names.index(column)].strip("*")):
                mine.setdefault((page, heading, names), []).append(cells)
    for (page, heading, names), found in mine.items():
        yield f"[{heading}](../../results/{page})"
        table = [names, ("---",) * len(names), *found]
        yield "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def _reproduced(kind: str, name: str) -> Iterator[str]:
    """The tables and figures whose commands name it."""
    whole = rf"(?<![\w+/-]){re.escape(name)}(?![\w+-])"
    typed = _COMMANDS.get((kind, name)) or _TYPED.get(kind, _NEVER).format(whole)
    found = [
        f"[{title}](../../results/{place})"
        for place, title, commands in reproductions()
        if re.search(typed, commands)
    ]
    if found:
        yield "Reproduced with it:"
        yield "\n".join(f"- {link}" for link in found)


@cache
def reproductions() -> tuple[tuple[str, str, str], ...]:
    """Of every table and figure of a paper: where it is, its title, its commands."""
    found = []
    for page in sorted(RESULTS.glob("*/*/README.md")):
        text = page.read_text()
        commands = "\n".join(re.findall(r"^holdfast .*$", text, re.MULTILINE))
        title = text.partition("\n")[0].lstrip("# ")
        found.append((page.relative_to(RESULTS).as_posix(), title, commands))
    return tuple(found)
