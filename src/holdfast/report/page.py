"""The report: one HTML file that opens offline, with figures and tables as files for a paper."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

import holdfast
from holdfast import metrics
from holdfast.errors import ContradictionError, OutputError
from holdfast.files import check_writable, read_json, write_json, write_table, write_text
from holdfast.report import figures, style, tables
from holdfast.report.folders import CertifiedRun, RunFolder
from holdfast.report.gallery import Gallery, galleries, to_png
from holdfast.report.pictures import gallery as drawn
from holdfast.report.subjects import Classifier, Subject, mixed, read_subjects

__all__ = ["build"]

PAGE, _ABOUT = "report.html", "report.json"
_NORMS = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}


def build(runs: Sequence[Path], out: Path, title: str = "Robustness report") -> Path:
    """Write the report of some runs.

    Args:
        runs: folders of finished evaluations and certifications.
        out: folder for report.html, figures/ and tables/. A report of the same runs is written
            again; a folder with anything else in it is refused.
        title: of the page.

    Returns:
        The path of the page.

    Raises:
        MissingFileError: if a folder holds no run.
        DamagedFileError: if a run is not what Holdfast writes.
        InputError: if a run is not finished or not of a kind that a report shows, or the runs are
            about different images.
        OutputError: if ``out`` cannot be written or holds something else.
        ContradictionError: if more is certified than an attack left robust; the report is there.

    Example:
        >>> from pathlib import Path
        >>> from holdfast import Linf, evaluate
        >>> from holdfast.attacks import FGSM
        >>> from holdfast.report.page import build
        >>> result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.3))}, out="run")
        >>> build([Path("run")], Path("report")).name
        'report.html'
    """
    subjects = read_subjects(runs)
    pictures = {id(c): galleries(c) for c in tables.classifiers(subjects)}
    sources = [str(run) for run in runs]
    _check_out(out, sources)
    for folder in (out, out / "figures", out / "tables"):
        folder.mkdir(parents=True, exist_ok=True)
    about = {"report_of": sources, "holdfast": holdfast.__version__}
    every = [{"path": str(run.path), **run.about} for subject in subjects for run in subject.runs]
    write_json(out / _ABOUT, {**about, "runs": every})
    _write_table(out / "tables" / "attacks.csv", tables.attacks(subjects))
    _write_table(out / "tables" / "perturbations.csv", tables.perturbations(subjects))
    _write_table(out / "tables" / "worst-case.csv", tables.ceilings(subjects))
    _write_table(out / "tables" / "certified.csv", tables.floors(subjects))
    write_text(out / PAGE, _page(subjects, pictures, out / "figures", title))
    wrong = [text for c in tables.classifiers(subjects) for text in _contradictions(c)]
    if wrong:
        raise ContradictionError(" ".join(wrong))
    return out / PAGE


@dataclass(frozen=True)
class _Plot:
    title: str
    svg: Markup
    notes: list[str]


@dataclass(frozen=True)
class _Section:
    """What the page shows of one network."""

    name: str
    warnings: list[str]
    bounds: list[_Plot]
    by_attack: list[_Plot]
    strongest: list[tuple[str, tables.Strongest]]
    galleries: list[tuple[str, Gallery]]


def _page(
    subjects: Sequence[Subject], pictures: Mapping[int, list[Gallery]], folder: Path, title: str
) -> str:
    environment = Environment(
        loader=PackageLoader("holdfast.report", "."),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f} %"
    environment.filters["png"] = to_png
    environment.filters["norm"] = _NORMS.__getitem__
    runs = [run for subject in subjects for run in subject.runs]
    return environment.get_template("page.html").render(
        title=title,
        version=holdfast.__version__,
        data=runs[-1].settings["data"],
        classifiers=[_line(c) for c in tables.classifiers(subjects)],
        certified=_certified(list(tables.classifiers(subjects)), folder),
        perturbations=_perturbations(subjects),
        summaries=[(norm, tables.summary(subjects, norm)) for norm in tables.norms_of(subjects)],
        mixed=mixed(subjects),
        sections=[
            _section(subject, tag, pictures, folder)
            for subject, tag in zip(subjects, _tags(subjects), strict=True)
        ],
        runs=[(str(run.path), json.dumps(run.about, indent=2, ensure_ascii=False)) for run in runs],
    )


def _line(classifier: Classifier) -> dict[str, object]:
    """A classifier's accuracy on unattacked images."""
    line: dict[str, object] = {"network": classifier.network, "title": classifier.title}
    if classifier.evaluations:
        clean = classifier.clean
        line |= {"clean": float((~clean["fooled"]).mean()), "n": len(clean)}
    return line


def _perturbations(subjects: Sequence[Subject]) -> list[dict[str, object]]:
    """How far attacks without a limit had to move the images; others stand in the table's file."""
    table = tables.perturbations(subjects)
    if not len(table):
        return []
    # A template tells a number that is not known by None.
    return [
        {str(key): None if pd.isna(value) else value for key, value in line.items()}
        for line in table[np.isinf(table["eps"])].to_dict(orient="records")
    ]


def _contradictions(classifier: Classifier) -> list[str]:
    """A sentence for each size at which a classifier's certificates claim too much."""
    if not classifier.evaluations:
        return []
    return [
        f"{classifier.network}, {classifier.title}: {100 * line.certified:.1f} % are certified "
        f"({run.bound}, {run.interval}) at {_NORMS[run.norm]} = {line.eps:g}, but attacks left "
        f"only {100 * line.robust_accuracy:.1f} % of the same {line.n} images robust: the "
        "certificates or the attack's votes are wrong."
        for run in classifier.proofs
        for line in metrics.overclaimed(classifier.at_sizes, run.rows, run.norm).itertuples()
    ]


def _certified(classifiers: list[Classifier], folder: Path) -> list[_Plot]:
    """The certified accuracy of all smoothed classifiers, if several, in one figure a norm."""
    plots = []
    for norm in ("l2", "l1"):
        proofs = [(c, c.proof) for c in classifiers if c.proof is not None and c.proof.norm == norm]
        curves = [
            (f"{classifier.network}, {classifier.title}", tables.floor(proof, norm))
            for classifier, proof in proofs
        ]
        if len(curves) > 1:
            marks = sorted({r for _, proof in proofs for r in proof.settings.get("radii", ())})
            figure = figures.certified_accuracy(norm, curves, marks)
            heading = f"{_NORMS[norm]}, certified accuracy of every smoothed classifier"
            notes = _of_stopped(run for _, run in proofs)
            plots.append(_kept((heading, figure, notes), folder / f"certified-{norm}"))
    return plots


def _of_stopped(runs: Iterable[CertifiedRun]) -> list[str]:
    """What must be said with a curve whose votes stopped once their question was answered."""
    if not any(run.interval == "sequential" for run in runs):
        return []
    return [
        "Sequential votes stop once their question is answered: read such a curve at the radii "
        "that were asked for, which are dotted; elsewhere more votes would prove more."
    ]


def _of_left_out(classifier: Classifier, norm: str) -> list[str]:
    """Which variants the runs in a norm were told to leave out."""
    return [
        f"{run.path}: {note}"
        for run in classifier.evaluations
        if (run.rows["norm"] == norm).any()
        for note in metrics.left_out(run.settings)
    ]


def _warnings(runs: Iterable[RunFolder], plots: Iterable[_Plot]) -> list[str]:
    """What the runs of a network warned of, without what is said beside a plot."""
    said = {note for plot in plots for note in plot.notes}
    every = [(f"{run.path}: {note}", note) for run in runs for note in run.warnings]
    return list(dict.fromkeys(text for text, note in every if not said & {text, note}))


def _tags(subjects: Sequence[Subject]) -> list[str]:
    """How files name each network: short, of letters and digits, and no two alike."""
    tags: list[str] = []
    for subject in subjects:
        tag = re.sub(r"[^A-Za-z0-9]", "-", subject.name)[-60:]
        tags.append(f"{tag}-{len(tags) + 1}" if tag in tags else tag)
    return tags


def _of_images(classifier: Classifier, norm: str) -> list[str]:
    """What must be said of the worst case if not every attack met the same images."""
    if not classifier.evaluations:
        return []
    rows = classifier.attacked
    rows = rows[rows["norm"] == norm]
    counts = rows.groupby(metrics.CELL)["index"].nunique()
    if counts.nunique() < 2:
        return []
    return [
        f"Attacks met from {counts.min()} to {counts.max()} images: the worst case is over those "
        "that every attack met."
    ]


def _section(
    subject: Subject, name: str, pictures: Mapping[int, list[Gallery]], folder: Path
) -> _Section:
    itself = next((c for c in subject.classifiers if c.sigma is None), None)
    bounds, by_attack, strongest, shown_pictures = [], [], [], []
    for classifier in subject.classifiers:
        tag = f"{name}-{classifier.tag}"
        shown = metrics.worst_case(classifier.at_sizes) if classifier.evaluations else None
        norms = [] if shown is None else list(dict.fromkeys(shown["norm"]))
        if classifier.certifications or len(subject.classifiers) == 1:
            for norm in dict.fromkeys([*(run.norm for run in classifier.certifications), *norms]):
                plot = _bounds(classifier, itself, norm)
                bounds.append(_kept(plot, folder / f"bounds-{tag}-{norm}"))
        for norm in norms:
            cells = metrics.cells(classifier.at_sizes)
            curves = metrics.from_zero(cells[cells["norm"] == norm])
            figure = figures.accuracy_by_attack(norm, curves)
            heading = f"{_NORMS[norm]}, {classifier.title}"
            rows = classifier.attacked
            notes = metrics.blind_attacks(rows[rows["norm"] == norm])
            notes += _of_left_out(classifier, norm)
            by_attack.append(_kept((heading, figure, notes), folder / f"attacks-{tag}-{norm}"))
        if classifier.evaluations:
            strongest += [(classifier.title, line) for line in tables.strongest_attacks(classifier)]
        for place, gallery in enumerate(pictures[id(classifier)]):
            shown_pictures.append((classifier.title, gallery))
            before = [other.norm for other in pictures[id(classifier)][:place]]
            again = f"-{before.count(gallery.norm) + 1}" if gallery.norm in before else ""
            style.save(drawn(gallery), folder / f"gallery-{tag}-{gallery.norm}{again}")
    runs = [run for run in subject.runs if run is not subject.training]
    warnings = _warnings(runs, by_attack)
    return _Section(subject.name, warnings, bounds, by_attack, strongest, shown_pictures)


def _bounds(
    classifier: Classifier, itself: Classifier | None, norm: str
) -> tuple[str, Figure, list[str]]:
    """The plot of floor and ceiling, and what must be said with it."""
    notes = []
    empty = pd.DataFrame({"norm": []})
    attacked = metrics.worst_case(classifier.at_sizes) if classifier.evaluations else empty
    ceiling = attacked[attacked["norm"] == norm]
    notes += _of_images(classifier, norm)
    without = empty
    if classifier.sigma is not None and itself is not None and itself.evaluations:
        without = metrics.worst_case(itself.at_sizes)
        without = without[without["norm"] == norm]
    if classifier.certifications and not len(ceiling):
        notes.append(
            "No attack was run on the smoothed classifier that is certified, so there is no "
            "ceiling above this floor: run holdfast evaluate with "
            f"{classifier.options} --norm {norm}."
        )
    floors = [
        (f"certified (floor), {run.title}", tables.floor(run, norm))
        for run in classifier.certifications
    ]
    if classifier.certifications:
        confidence = classifier.certifications[0].settings["confidence"]
        notes.append(
            f"STN multiplies certified accuracy by the confidence, {100 * confidence:g} %; here it "
            "is not, tables/certified.csv has both."
        )
    notes += _of_stopped(classifier.certifications)
    other = {run.norm for run in classifier.certifications} - {norm}
    if other and norm != "l1":
        divisor = "d" if other == {"l1"} and norm == "linf" else "√d"
        notes.append(
            f"The {_NORMS[norm]} floor is the {_NORMS[other.pop()]} certificate divided by "
            f"{divisor}, over all d pixels."
        )
    for run in classifier.proofs if classifier.evaluations else ():
        broken, tested = metrics.broken_certificates(classifier.attacked, run.rows, run.norm)
        notes.append(
            f"Certificates ({run.bound}, {run.interval}) contradicted by an attack: {broken} of "
            f"{tested} put to the test."
        )
    if norm in {run.norm for run in classifier.proofs}:
        notes += _contradictions(classifier)
    marks = sorted({r for run in classifier.certifications for r in run.settings.get("radii", ())})
    figure = figures.floor_and_ceiling(norm, ceiling, floors, without, () if other else marks)
    return f"{_NORMS[norm]}, {classifier.title}", figure, notes


def _kept(plot: tuple[str, Figure, list[str]], path: Path) -> _Plot:
    title, figure, notes = plot
    style.save(figure, path)
    return _Plot(title, Markup(style.to_svg(figure)), notes)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    if len(table):
        write_table(path, table)


def _check_out(out: Path, sources: list[str]) -> None:
    check_writable(out)
    if (out / _ABOUT).exists():
        if read_json(out / _ABOUT).get("report_of") != sources:
            raise OutputError(
                f"{out} holds a report of other runs, which is not overwritten; give another --out."
            )
    elif out.is_dir() and any(out.iterdir()):
        raise OutputError(f"{out} is not empty and holds no report; give a new folder by --out.")
