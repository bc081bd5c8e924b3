"""The report: one HTML file that opens offline, with figures, tables and images for a paper."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import holdfast
from holdfast import lock
from holdfast.errors import ContradictionError, OutputError
from holdfast.files import (
    StrPath,
    as_path,
    check_writable,
    clear_unfinished,
    read_json,
    write_json,
    write_table,
    write_text,
)
from holdfast.report import appendix, tables
from holdfast.report.album import Shown, album
from holdfast.report.audits import audit_of
from holdfast.report.diagnosed import Diagnosed, apart, check_data, diagnosed
from holdfast.report.folders import RunFolder
from holdfast.report.gallery import galleries, lost
from holdfast.report.headline import headline
from holdfast.report.latex import to_latex
from holdfast.report.notes import contradictions, notes, warnings
from holdfast.report.per_image import packed
from holdfast.report.printed import save_figures
from holdfast.report.subjects import Subject, mixed, read_subjects
from holdfast.report.views import attack_names, certified_curves, transfers, view
from holdfast.report.words import NORMS, USUAL, interval, percent, size, tied
from holdfast.summary import radius

__all__ = ["build"]

PAGE, _ABOUT = "report.html", "report.json"

#: What the page is made of, beside the template.
PARTS = ("page.css", "page.js", "vendor/d3.min.js", "vendor/plot.min.js", "vendor/LICENSES")


def build(runs: Sequence[StrPath], out: StrPath, title: str = "Robustness report") -> Path:
    """Write the report of some runs.

    Args:
        runs: folders of finished evaluations and certifications, with the trainings of their
            networks, diagnoses of them and loss surfaces if wanted.
        out: folder for report.html, figures/, tables/ and images/. A report of the same runs is
            written again; a folder with anything else in it is refused.
        title: of the page.

    Returns:
        The path of the page.

    Raises:
        MissingFileError: if a folder holds no run.
        DamagedFileError: if a run is not what Holdfast writes.
        InputError: if a run is not finished or not of a kind that a report shows, or the runs are
            about different images.
        OutputError: if ``out`` cannot be written, holds something else, or is in use.
        ContradictionError: if more is certified than an attack left robust; the report is there.

    Example:
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.page import build
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> build(["run"], "report").name
        'report.html'
    """
    out = as_path(out)
    others, diagnoses = apart([as_path(run) for run in runs])
    subjects = read_subjects(others)
    check_data(diagnoses, subjects)
    shown = {id(c): galleries(c) for c in tables.classifiers(subjects)}
    sources = [str(run) for run in runs]
    _check_out(out, sources)
    out.mkdir(parents=True, exist_ok=True)
    with lock.held(out):
        _check_out(out, sources)  # another may have held it until just now
        about = {"report_of": sources, "holdfast": holdfast.__version__}
        # A network under two names is two subjects, with one training.
        of_each = {id(run): run for subject in subjects for run in subject.runs}
        met = [*of_each.values(), *diagnoses]
        every = [{"path": str(run.path), **run.about} for run in met]
        write_json(out / _ABOUT, {**about, "runs": every})
        for folder in (out, *(out / name for name in ("figures", "tables", "images"))):
            folder.mkdir(exist_ok=True)
            clear_unfinished(folder)
        moved = tables.perturbations(subjects)
        _write_tables(subjects, moved, out / "tables")
        save_figures(subjects, shown, out / "figures")
        pictures = album(subjects, shown, out / "images")
        looks = diagnosed(diagnoses, out / "figures")
        write_text(out / PAGE, _page(subjects, moved, pictures, looks, met, title))
    wrong = [text for c in tables.classifiers(subjects) for text in contradictions(c)]
    if wrong:
        raise ContradictionError(" ".join(wrong))
    return out / PAGE


def _page(
    subjects: Sequence[Subject],
    moved: pd.DataFrame,
    pictures: Shown,
    looks: Sequence[Diagnosed],
    runs: Sequence[RunFolder],
    title: str,
) -> str:
    environment = Environment(
        loader=PackageLoader("holdfast.report", "."),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "norm": NORMS.__getitem__, "interval": interval}
    environment.filters["tied"] = tied
    environment.globals |= {"size": size, "radius": radius}
    classifiers = list(tables.classifiers(subjects))
    strongest = [tables.strongest_attacks(c) if c.evaluations else [] for c in classifiers]
    first = headline(subjects, strongest)
    said = {classifier.label: notes(classifier) for classifier in classifiers}
    audits = [audit_of(c, run) for c in classifiers for run in c.runs]
    content, blocks = _content(subjects, first.norm, first.eps, pictures)
    content["first"]["model"] = first.rows[0].place
    return environment.get_template("page.html").render(
        title=title,
        version=holdfast.__version__,
        data=subjects[0].runs[-1].settings["data"],
        looks=looks,
        first=first,
        networks=subjects,
        mixed=mixed(subjects),
        notes={label: each for label, each in said.items() if each},
        warnings=[
            text
            for subject in subjects
            for text in warnings(subject, (note for each in said.values() for note in each))
        ]
        + [text for c in classifiers for run in c.evaluations for text in lost(run)],
        strongest=[
            (classifier.label, line)
            for classifier, lines in zip(classifiers, strongest, strict=True)
            for line in lines
        ],
        top5=any(line.top5 is not None for lines in strongest for line in lines),
        perturbations=_without_limit(moved),
        transfers=content["transfers"],
        certified=content["certified"],
        pictures=pictures,
        audits=[audit for audit in audits if audit is not None],
        selection=appendix.selection(subjects),
        commands=appendix.commands(runs),
        settings=appendix.settings(subjects),
        costs=appendix.costs(subjects),
        caveats=appendix.caveats(subjects),
        references=appendix.references(subjects, runs),
        runs=[(str(run.path), json.dumps(run.about, indent=2, ensure_ascii=False)) for run in runs],
        content=_json(content),
        blocks=blocks,
        parts={name: Markup(part(name)) for name in PARTS},
    )


def _content(
    subjects: Sequence[Subject], norm: str, eps: float, pictures: Shown
) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page's figures show, and the packed rows of all images."""
    classifiers = list(tables.classifiers(subjects))
    norms = tables.norms_of(subjects)
    views: dict[str, Any] = {}
    blocks: dict[str, str] = {}
    for place, classifier in enumerate(classifiers):
        for each in norms:
            found = view(classifier, each, [*tables.sizes_of(subjects, each), *USUAL[each]])
            if found is not None:
                views[f"{place} {each}"] = found
                rows = packed(classifier, each)
                found["images"] = {"n": rows.images, "columns": rows.columns}
                blocks[f"{place} {each}"] = rows.block
    content = {
        "models": [
            {
                "label": c.label,
                "title": c.title,
                "network": c.network,
                "top": None if c.top_proof is None else c.top_proof.top,
            }
            for c in classifiers
        ],
        "norms": {name: NORMS[name] for name in norms},
        "usual": {name: USUAL[name] for name in norms},
        "sizes": {name: [_five(eps) for eps in tables.sizes_of(subjects, name)] for name in norms},
        "attacks": attack_names(subjects),
        "classes": _classes(subjects),
        "views": views,
        "first": {"norm": norm, "eps": _five(eps)},
        "transfers": transfers(subjects),
        "certified": certified_curves(subjects),
        "examples": pictures.examples,
        "pictures": pictures.pictures,
    }
    return content, blocks


def _five(eps: float) -> float:
    """A size to the digits that views have."""
    return float(f"{eps:.5g}")


def _classes(subjects: Sequence[Subject]) -> list[str]:
    runs = [run for subject in subjects for run in subject.runs if run is not subject.training]
    found: list[str] = max((run.about["classes"] for run in runs), key=len)
    return found


def _json(content: Mapping[str, Any]) -> Markup:
    """As it may stand in a page: nothing in it can end the element that holds it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def part(name: str) -> str:
    """What the page embeds: a style sheet, a script, a library."""
    return files("holdfast.report").joinpath(name).read_text(encoding="utf-8")


def _without_limit(moved: pd.DataFrame) -> list[dict[str, object]]:
    """How far attacks without a limit had to move the images; others stand in the table's file."""
    if not len(moved):
        return []
    # A template tells a number that is not known by None.
    return [
        {str(key): None if pd.isna(value) else value for key, value in line.items()}
        for line in moved[np.isinf(moved["eps"])].to_dict(orient="records")
    ]


def _write_tables(subjects: Sequence[Subject], moved: pd.DataFrame, folder: Path) -> None:
    """The numbers behind the page as CSV; those that a paper prints as LaTeX too."""
    attacked = tables.attacks(subjects)
    for name, table in (
        ("attacks", attacked),
        ("perturbations", moved),
        ("worst-case", tables.ceilings(subjects)),
        ("certified", tables.floors(subjects)),
        ("by-class", tables.by_class(subjects)),
    ):
        if len(table):
            write_table(folder / f"{name}.csv", table)
    for norm in tables.norms_of(subjects):
        summary = tables.summary_table(subjects, norm)
        write_table(folder / f"summary-{norm}.csv", summary)
        caption = (
            f"Accuracy without attack, robust accuracy in the worst case over the attacks, and "
            f"certified accuracy, in % at sizes in {NORMS[norm]}."
        )
        write_text(folder / f"summary-{norm}.tex", to_latex(summary, caption))
    if len(attacked):
        names = ["network", "classifier", "attack", "norm", "eps", "robust_accuracy"]
        names += [name for name in ("robust_top5",) if name in attacked]
        text = to_latex(attacked[[*names, "n"]], "Robust accuracy under each attack by itself.")
        write_text(folder / "attacks.tex", text)


def _check_out(out: Path, sources: list[str]) -> None:
    check_writable(out)
    if (out / _ABOUT).exists():
        if read_json(out / _ABOUT).get("report_of") != sources:
            raise OutputError(
                f"{out} holds a report of other runs, which is not overwritten; give another --out."
            )
    elif out.is_dir() and not all(map(lock.is_passing, out.iterdir())):
        raise OutputError(f"{out} is not empty and holds no report; give a new folder by --out.")
