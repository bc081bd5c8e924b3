"""The test report: what runs did and found, in the order in which laboratories report.

The items are those of ISO/IEC 17025:2017, clause 7.8, in its order and by its letters, so that who
knows the standard finds each; what nobody recorded says so. It claims conformity with nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from holdfast.bundle.manifest import Said
from holdfast.metrics import title as titled
from holdfast.metrics import untried
from holdfast.summary import percent, radius

#: Of whatever no run records, and nobody said.
NOT_RECORDED = "not recorded"

_DISCLAIMER = (
    "The items below stand in the order of ISO/IEC 17025:2017, clause 7.8, with its letters. This "
    "report claims conformity with neither that standard nor any other: a program wrote it from "
    "the records of its own runs, and no accreditation is implied. Where nothing is known it "
    f"says *{NOT_RECORDED}*. Whether its numbers follow from the rows beside it is what "
    "`holdfast verify` finds out."
)

#: Runs with cells that the report gives as results.
_MEASURED = ("evaluate", "certify")

Abouts = Mapping[str, Mapping[str, Any]]


def statement(abouts: Abouts, said: Said) -> str:
    """The test report of some runs, in Markdown.

    Args:
        abouts: what each run.json says, by the folder of the run.
        said: what no run knows.
    """
    parts = [f"# {_line(said.title)}", _DISCLAIMER, "## 7.8.2 What a report has in common"]
    for letter, heading, lines in _items(abouts, said):
        if heading.startswith("Conditions"):
            parts.append("## 7.8.3 What a test report has besides")
        parts += [f"### {letter}) {heading}", "\n".join(lines) or NOT_RECORDED]
    return "\n\n".join([*parts, "*End of the report.*"]) + "\n"


def _items(abouts: Abouts, said: Said) -> Iterator[tuple[str, str, list[str]]]:
    measured = {run: about for run, about in abouts.items() if about["kind"] in _MEASURED}
    yield "a", "Title", [_line(said.title)]
    yield "b", "Laboratory, name and address", _told(said.laboratory)
    yield "c", "Where it was done", _each(abouts, _place)
    yield (
        "d",
        "What belongs to this report",
        [
            "This page, `report/report.html`, and the files that `manifest.json` lists with their "
            "SHA-256. The runs, by the SHA-256 of their rows:",
            "",
            *_each(abouts, lambda about: f"`{about.get('rows_sha256', 'no rows')}`"),
        ],
    )
    yield "e", "Customer, name and contact", _told(said.customer)
    yield "f", "Method", _each(measured, _method)
    yield "g", "Item tested", _each(measured, _item)
    yield "h", "Dates of receipt of the item and of sampling", []
    yield "i", "Dates of the activity", _each(abouts, _dates)
    yield "j", "Date of issue", _told(said.issued)
    yield "k", "Sampling", _each(measured, _sampling)
    yield (
        "l",
        "To what the results relate",
        ["To the items tested only: the networks, images and settings under f, g and k."],
    )
    yield "m", "Results, with their units", list(_results(measured))
    yield (
        "n",
        "Additions to, deviations from and exclusions from the method",
        _each(measured, _deviations),
    )
    yield "o", "Who authorises the report", _told(said.authorised_by)
    yield "p", "Results of external providers", []
    yield "a", "Conditions of the test", _each(abouts, _conditions)
    yield "b", "Conformity with requirements or specifications", ["No statement is made."]
    yield "c", "Measurement uncertainty", [_UNCERTAINTY]
    yield "d", "Opinions and interpretations", _each(measured, _opinion)
    yield (
        "e",
        "Further information",
        ["`report/report.html` has figures, costs, commands and the papers of the methods."],
    )


_UNCERTAINTY = (
    "The intervals under m are exact 95 % intervals (Clopper and Pearson) over the images: they "
    "tell how a number would vary with other images of the same kind. Each certificate holds with "
    "the confidence under f, for its image alone. Not evaluated: the choice of attacks, since a "
    "robust accuracy is an upper bound that a stronger attack lowers; another training of the "
    "network; rounding on other hardware, which an attack can amplify."
)


def _told(text: str | None) -> list[str]:
    return [] if text is None else [_line(text)]


def _each(abouts: Abouts, say: Any) -> list[str]:
    """A line for each run."""
    return [f"- `{_line(run)}`: {say(about)}" for run, about in abouts.items()]


def _place(about: Mapping[str, Any]) -> str:
    hardware = about.get("hardware")
    if not isinstance(hardware, Mapping):
        return NOT_RECORDED
    accelerator = hardware.get("accelerator") or "no accelerator"
    return _line(f"{hardware.get('platform')}, {hardware.get('cores')} cores, {accelerator}")


def _method(about: Mapping[str, Any]) -> str:
    settings = about["settings"]
    if about["kind"] == "certify":
        names = ["noise", "sigma", "votes", "selection_votes", "confidence", "bounds", "intervals"]
        names += ["top"] if settings.get("top") else []
        return "certification by votes under noise: " + _settings(settings, names)
    attacks = "; ".join(f"{one['name']} = `{_line(one['attack'])}`" for one in settings["attacks"])
    return f"attack, then ask the model again: {attacks}"


def _item(about: Mapping[str, Any]) -> str:
    settings = about["settings"]
    source = settings.get("model_source") or "of published classes alone, or not known"
    under = ""
    if about["kind"] == "evaluate" and settings.get("sigma") is not None:
        under = f", under {settings.get('noise', 'gaussian')} noise of {settings['sigma']:g}"
    return (
        f"network `{_line(settings['model'])}`{under}, weights "
        f"`{_line(settings['model_fingerprint'])}`, source {_line(source)}; images of "
        f"`{_line(settings['data'])}`, `{_line(settings['data_fingerprint'])}`"
    )


def _dates(about: Mapping[str, Any]) -> str:
    began, ended = (_line(about.get(name, NOT_RECORDED)) for name in ("started", "finished"))
    return f"{began} to {ended}"


def _sampling(about: Mapping[str, Any]) -> str:
    settings = about["settings"]
    shape = " × ".join(map(str, settings["shape"]))
    return f"{settings['images']} images of {shape}, of {len(about['classes'])} classes"


def _results(abouts: Abouts) -> Iterator[str]:
    yield "Accuracy in % of the images, its 95 % interval in brackets. A size is the largest"
    yield "distance between images with values in [0, 1]: of linf a difference of values, of l2 and"
    yield "l1 a length, of l0 a number of values."
    for run, about in abouts.items():
        lines = _certified if about["kind"] == "certify" else _attacked
        yield from ("", f"`{_line(run)}`", "", *lines(about["cells"]))


def _attacked(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| attack | without attack | under attack | median distance | images |"
    yield "|---|---|---|---|---|"
    for cell in cells:
        name = titled(_cell(cell["attack"]), cell["norm"], _infinite(cell["eps"]))
        robust = cell["robust_accuracy"]
        left = "skipped" if robust is None else _with_interval(robust, cell)
        median = cell.get("median_distance")
        far = "none fell" if median is None else f"{median:.4g}"
        yield f"| {name} | {percent(cell['clean_accuracy'])} | {left} | {far} | {cell.get('n')} |"


def _certified(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| bound, interval | radius | certified | abstained | images |"
    yield "|---|---|---|---|---|"
    for cell in cells:
        among = f", among the first {cell['top']} classes" if "top" in cell else ""
        head = f"| {_cell(cell['bound'])}, {_cell(cell['interval'])}{among} | "
        tail = f" | {percent(cell['abstained'])} | {cell['images']} |"
        yield f"{head}any | {percent(cell['accuracy'])}{tail}"
        for at in cell["at"]:
            within = f"{cell['norm']} {radius(at['radius'])}"
            yield f"{head}{within} | {_with_interval(at['accuracy'], at)}{tail}"


def _with_interval(accuracy: float, of: Mapping[str, Any]) -> str:
    if "low" not in of:
        return percent(accuracy)
    return f"{percent(accuracy)} [{100 * of['low']:.1f}, {100 * of['high']:.1f}]"


def _deviations(about: Mapping[str, Any]) -> str:
    out = [f"left out: {name}" for name in about["settings"].get("left_out", ())]
    for cell in about["cells"]:
        out += [f"{name} skipped: {why}" for name, why in cell.get("skipped", {}).items()]
        out += [f"{count} images: {what}" for what, count in cell.get("noted", {}).items()]
    out += untried(about["cells"])
    out += about.get("warnings", ())
    return _line("; ".join(dict.fromkeys(map(str, out)))) or "none recorded"


def _conditions(about: Mapping[str, Any]) -> str:
    versions = about.get("versions")
    if not isinstance(versions, Mapping):
        return NOT_RECORDED
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    seed = about["settings"].get("seed", NOT_RECORDED)
    return _line(f"seed {seed}; {told}; git {about.get('git') or NOT_RECORDED}")


def _opinion(about: Mapping[str, Any]) -> str:
    audit = about.get("audit")
    if not isinstance(audit, Mapping):
        return NOT_RECORDED
    return _line(f"the program's audit of {audit['about']}: {audit['sentence']}")


def _settings(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    return "; ".join(f"{name} {_plain(settings[name])}" for name in names if name in settings)


def _plain(value: object) -> str:
    return _line(", ".join(map(str, value)) if isinstance(value, list) else value)


def _infinite(eps: float | None) -> float:
    return float("inf") if eps is None else float(eps)


def _line(text: object) -> str:
    """A text as a part of a line, whatever it holds."""
    return " ".join(str(text).split()).replace("`", "'")


def _cell(text: object) -> str:
    """The same in a table."""
    return _line(text).replace("|", "\\|")
