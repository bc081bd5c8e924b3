"""A step of a recipe: one command of Holdfast, in a folder named by what it holds.

Two recipes that need the same network name the same folder, so that nothing is trained twice.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from holdfast.errors import InputError
from holdfast.files import StrPath

_WORD = re.compile(r"[\w.]+")

#: What begins, ends or parts something where several names or parameters stand in one option.
_MARKS = ",([\"'"

#: Options by which a command says what the papers say, where a recipe leaves them out: what it
#: advises by itself is not theirs. They are the same in all recipes, and so no part of a folder's
#: name.
_OF_THE_PAPERS: Mapping[str, Mapping[str, str]] = {
    "certify": {"bounds": "renyi", "intervals": "clopper-pearson"}
}


@dataclass(frozen=True)
class Spec:
    """A spec that earlier steps stand in; made by `spec`.

    Example:
        >>> from holdfast.reproduce import spec, train
        >>> spec("binarise | {0}", train("net", model="small")).pattern
        'binarise | {0}'
    """

    pattern: str
    steps: "tuple[Step, ...]"

    def text(self, folder: "Callable[[Step], str]") -> str:
        """The spec, with what ``folder`` says of each step."""
        return self.pattern.format(*map(folder, self.steps))


def spec(pattern: str, *steps: "Step") -> Spec:
    """A spec with the folders of earlier steps in it, where the pattern says {0}, {1}, ...

    Example:
        >>> from holdfast.reproduce import spec, train
        >>> plain = train("plain", model="small", epochs=1)
        >>> spec("binarise | {0}", plain).text(lambda step: f"runs/{step.name}")
        'binarise | runs/plain'
    """
    return Spec(pattern, steps)


@dataclass(frozen=True)
class Step:
    """One command with its options, but for where data and results are.

    Attributes:
        command: as typed after ``holdfast``.
        name: what to call it on the page; two steps that differ in nothing else are one.
        options: by their name in Python; those that are None are left out.

    Example:
        >>> from holdfast.reproduce import train
        >>> step = train("net", model="small", seed=1)
        >>> step == train("net", model="small", seed=1), step.label
        (True, 'small')
    """

    command: str
    name: str
    options: "tuple[tuple[str, Value], ...]"

    @property
    def needs(self) -> "tuple[Step, ...]":
        """The steps whose folders stand in the options."""
        return tuple(step for _, value in self.options for step in _within(value))

    @property
    def label(self) -> str:
        """What it is, in a word or two: the model, and what is done to it."""
        options = dict(self.options)
        model = options.get("model", options.get("from_", options.get("classifier", "")))
        of = model.label if isinstance(model, Step) else _text(model, lambda step: step.label)
        done = options.get("objective", options.get("attacks", ""))
        named = re.split(r"[(,]", _text(done, lambda step: step.label))[0]
        return "-".join(dict.fromkeys([*_WORD.findall(of), *filter(None, [named])]))

    @cached_property
    def folder(self) -> str:
        """The folder's name: the command, the label, and a digest of all that determines it."""
        text = "\0".join([self.command, *self._words(lambda step: step.folder)])
        digest = hashlib.sha256(text.encode()).hexdigest()[:10]
        return f"{self.command.replace(' ', '-')}-{self.label}-{digest}"

    def arguments(self, root: Path, data_dir: StrPath | None) -> list[str]:
        """What to type after ``holdfast`` so that the step is done in its folder under ``root``."""
        words = self._words(lambda step: str(root / step.folder))
        for name, value in _OF_THE_PAPERS.get(self.command, {}).items():
            if name not in dict(self.options):
                words += [f"--{name}", value]
        if data_dir is not None and "data" in dict(self.options):
            words += ["--data-dir", str(data_dir)]
        return [*self.command.split(), *words, "--out", str(root / self.folder)]

    def _words(self, folder: "Callable[[Step], str]") -> list[str]:
        words = []
        for name, value in self.options:
            words += [f"--{name.rstrip('_').replace('_', '-')}", _text(value, folder)]
        return words


#: What an option is given: a number, a text, a step's folder, or several of them.
Value: TypeAlias = str | float | bool | Step | Spec | Sequence[str | float | Step | Spec]


def _text(value: Value, folder: Callable[[Step], str]) -> str:
    match value:
        case Step():
            return folder(value)
        case Spec():
            return value.text(folder)
        case bool():
            return str(value).lower()
        case str():
            return value
        case Sequence():
            return ",".join(_text(part, folder) for part in value)
        case _:
            return repr(value)


def _within(value: Value) -> tuple[Step, ...]:
    match value:
        case Step():
            return (value,)
        case Spec():
            return value.steps
        case str():
            return ()
        case Sequence():
            return tuple(step for part in value for step in _within(part))
        case _:
            return ()


def _step(command: str, name: str, options: dict[str, Value | None]) -> Step:
    given = tuple((key, value) for key, value in options.items() if value is not None)
    return Step(command, name, given)


def train(name: str, **options: Value | None) -> Step:
    """A trained network: ``holdfast train`` with these options.

    Example:
        >>> from holdfast.reproduce import train
        >>> from pathlib import Path
        >>> train("plain", model="small", epochs=1).arguments(Path("runs"), None)[:5]
        ['train', '--model', 'small', '--epochs', '1']
    """
    return _step("train", name, options)


def evaluate(name: str, **options: Value | None) -> Step:
    """Attacks on a model: ``holdfast evaluate`` with these options.

    Example:
        >>> from holdfast.reproduce import evaluate, train
        >>> plain = train("plain", model="small", epochs=1)
        >>> evaluate("white-box", model=plain, attacks=["fgsm", "pgd(steps=7)"]).needs == (plain,)
        True
    """
    return _step("evaluate", name, options)


def tune(defence: str, name: str, **options: Value | None) -> Step:
    """A defence whose numbers are searched for: ``holdfast tune DEFENCE`` with these options.

    Example:
        >>> from holdfast.reproduce import train, tune
        >>> cnn = train("cnn", model="small", epochs=1)
        >>> dae = train("dae", model="malade-dae", objective="dae(sigma=0.3)", epochs=1)
        >>> tune("malade", "chain", classifier=cnn, denoiser=dae).command
        'tune malade'
    """
    return _step(f"tune {defence}", name, options)


def certify(name: str, **options: Value | None) -> Step:
    """Certified radii of a smoothed classifier: ``holdfast certify`` with these options.

    Example:
        >>> from holdfast.reproduce import certify, train
        >>> certify("floor", model=train("stn", model="small"), sigma=0.3, votes=100).command
        'certify'
    """
    return _step("certify", name, options)


def diagnose(diagnosis: str, name: str, **options: Value | None) -> Step:
    """A diagnosis: ``holdfast diagnose DIAGNOSIS`` with these options.

    Example:
        >>> from holdfast.reproduce import diagnose, train
        >>> diagnose("linearity", "plain", model=train("plain", model="small"), eps=0.1).command
        'diagnose linearity'
    """
    return _step(f"diagnose {diagnosis}", name, options)


def check_root(out: Path) -> None:
    """Raises InputError unless folders below ``out`` can stand in the options of steps."""
    found = [mark for mark in _MARKS if mark in str(out)]
    if found:
        raise InputError(
            f"--out is {out}, but the folders below it stand in the options of later steps, which "
            f"{found[0]} would break up; give a folder whose name has none of {' '.join(_MARKS)}."
        )


def in_order(steps: Iterable[Step]) -> list[Step]:
    """These steps and all that they need, each once, after what it needs."""
    found: dict[str, Step] = {}
    for step in steps:
        for one in (*in_order(step.needs), step):
            found.setdefault(one.folder, one)
    return list(found.values())
