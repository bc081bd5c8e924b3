"""What differs between runs that would share a name, in words: so nothing is pooled unsaid."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from holdfast.report.folders import CertifiedRun, RunFolder

#: Settings which say what was attacked or certified, by which runs are grouped before, and those
#: that are of no consequence for the result. Whatever else differs keeps two runs apart.
_ELSEWHERE = {
    "model",
    "model_fingerprint",
    "model_answers",  # to the images at hand, up to rounding
    "data",
    "data_fingerprint",
    "shape",
    "limit",
    "sigma",
    "noise",
    "stochastic",
    "attacks",
    "each",
    "variants",
    "batch_size",
    "keep_images",
}

#: The size, and what follows from it.
_OF_SIZE = re.compile(r"\w+\(eps=[^()]*\)|step_size=[^,)]*")
_CRAFTED = re.compile(r"\bOn\(.*\bname=(['\"])(.*?)\1, (?:weights|early_stop)=")


def attacks_apart(runs: Sequence[RunFolder]) -> list[RunFolder]:
    """The evaluations of a classifier, each attack under a name that is one thing's.

    Runs of an attack that rest on the same settings are one curve, at all sizes of both; where they
    meet at one size they are nevertheless two results, told apart by their folders.
    """
    renamed: list[dict[str, str]] = [{} for _ in runs]
    for attack in dict.fromkeys(cell["attack"] for run in runs for cell in run.cells):
        places = [place for place, run in enumerate(runs) if _sizes(run, attack)]
        recipes = [recipe(runs[place], attack) for place in places]
        told = differences(recipes)
        for mine, place in enumerate(places):
            sizes = _sizes(runs[place], attack)
            if any(
                told[other] == told[mine] and sizes & _sizes(runs[there], attack)
                for other, there in enumerate(places)
                if there != place
            ):
                recipes[mine]["run"] = str(runs[place].path)
        for place, apart in zip(places, differences(recipes), strict=True):
            if apart:
                renamed[place][attack] = f"{attack} ({apart})"
    return [
        replace(run, names=names, rows=run.rows.assign(attack=run.rows["attack"].replace(names)))
        for run, names in zip(runs, renamed, strict=True)
    ]


def certificates_apart(parts: Sequence[CertifiedRun]) -> list[CertifiedRun]:
    """The certificates of a classifier, those that rest on as much told apart."""
    found = list(parts)
    for title in dict.fromkeys(part.title for part in parts):
        places = [place for place, part in enumerate(parts) if part.title == title]
        recipes = [recipe(parts[place]) for place in places]
        told = differences(recipes)
        for place, one, apart in zip(places, recipes, told, strict=True):
            if told.count(apart) > 1:
                one["run"] = str(parts[place].path)
        for place, apart in zip(places, differences(recipes), strict=True):
            found[place] = replace(parts[place], apart=apart)
    return found


def recipe(run: RunFolder, attack: str | None = None) -> dict[str, Any]:
    """All that a result rests on, beside the classifier and the size.

    Args:
        run: that found it; another version of Holdfast may find something else by the same name.
        attack: for an evaluation, the name of one of its attacks.
    """
    settings = run.settings
    found = {name: value for name, value in settings.items() if name not in _ELSEWHERE}
    found["holdfast"] = run.version
    if attack is not None:
        whole = [one["attack"] for one in settings["attacks"] if one["name"] == attack]
        crafted = [match[2] for match in map(_CRAFTED.search, whole) if match]
        found["crafted"] = ", ".join(dict.fromkeys(crafted))
        found["attack"] = sorted({_OF_SIZE.sub("", text) for text in whole})
    return found


def differences(recipes: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each recipe, in what it differs from the others; "" where all are equal."""
    values: dict[str, set[str]] = defaultdict(set)
    names = list(dict.fromkeys(name for one in recipes for name in one))
    for one in recipes:
        for name in names:
            values[name].add(_key(one.get(name)))
    differing = [name for name in names if len(values[name]) > 1]
    short = [name for name in differing if name != "attack"]
    # The attack with all its parameters is long: only where nothing else tells two apart.
    kinds = len({tuple(_key(one.get(name)) for name in differing) for one in recipes})
    if len({tuple(_key(one.get(name)) for name in short) for one in recipes}) == kinds:
        differing = short
    return [", ".join(_words(name, one.get(name)) for name in differing) for one in recipes]


def _key(value: object) -> str:
    """Of a value; a setting that an earlier version did not know is as good as an empty one."""
    return json.dumps(value if value or type(value) in (int, float) else None)


def _words(name: str, value: Any) -> str:
    if name == "crafted":
        return f"crafted on {value}" if value else "crafted on the model itself"
    if name == "images":
        return f"{value} images"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{name.replace('_', ' ')} {text or 'none'}"


def _sizes(run: RunFolder, attack: str) -> set[tuple[str, float | None]]:
    """At which an attack was run."""
    return {(cell["norm"], cell["eps"]) for cell in run.cells if cell["attack"] == attack}
