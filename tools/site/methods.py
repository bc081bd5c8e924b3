"""One page for each method, from its registry entry and its docstring."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from holdfast import diagnose
from holdfast.attacks import ATTACKS
from holdfast.certify.bounds.bound import BOUNDS
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.cli import registry
from holdfast.defenses import LAYERS, MALADE, NOISES
from holdfast.training import OBJECTIVES, EnsembleAdversarial, adversarial_training_1
from tools.site import standings
from tools.site.docstrings import Parsed, parse


class Method(NamedTuple):
    """What has a page.

    Attributes:
        kind: of its folder, a key of `KINDS`.
        name: on the command line, or in Python where it has none there.
        thing: what its docstring is of.
        made: what it makes, where that is another class, which says more.
        command: how it is typed.
    """

    kind: str
    name: str
    thing: Any
    made: Any
    command: str

    @property
    def path(self) -> str:
        """Below docs, with a name that every file system takes."""
        return f"methods/{self.kind}/{self.name.replace('+', '-and-')}.md"


class Kind(NamedTuple):
    """A folder of methods: its title, what it says of all of them, and a command with one."""

    title: str
    about: str
    command: str


KINDS: Mapping[str, Kind] = {
    "attacks": Kind(
        "Attacks",
        "Made from a threat and called with a model: `attack(model, x, y, seed=0)` returns images "
        "within the ball and the box. The picture on each page is one run on a network of two "
        "inputs: its decision regions, the ball, the points at which the attack asked the network, "
        "early ones pale, and the line from the image to what was returned; of attacks that need "
        "an image, one of scikit-learn's digits.",
        'holdfast evaluate --model runs/net --data mnist --attacks "{0}" --norm {1} --eps {2}',
    ),
    "objectives": Kind(
        "Objectives",
        "What training minimises: `objective(network, x, y, stream)` returns a loss and what the "
        "log says of it. The picture on each page is what it makes of a small network of two "
        "inputs: its decision regions and, dashed, the borders that plain training draws; squares "
        "are the ball, circles one σ of the noise, arrows where a denoiser leads.",
        'holdfast train --data mnist --model small --objective "{0}" --out runs/net',
    ),
    "defences": Kind(
        "Defences",
        "Layers in front of a network, and noise for votes. Each declares what an attacker must "
        "know: whether it draws, whether it has a gradient, whether it resembles the identity. The "
        "picture on each page is what the layer does to points of the unit square: arrows, or "
        "draws in the colour of the answer behind them, and the borders of their vote.",
        "",
    ),
    "bounds": Kind(
        "Bounds",
        "Limits of p₁ and p₂ under noise → a radius within which the vote cannot change. They are "
        "read off the same votes: certify once, and name several. The picture on each page is its "
        "radius beside those of the others.",
        "holdfast certify --model runs/net --data mnist --sigma 0.5 --votes 1000 --bounds {0}",
    ),
    "intervals": Kind(
        "Intervals",
        "Votes → joint limits of p₁ and p₂. The picture on each page is its lower limit beside "
        "those of the others; a line above the dots claims more than the votes' own fraction.",
        "holdfast certify --model runs/net --data mnist --sigma 0.5 --votes 1000 --intervals {0}",
    ),
    "diagnoses": Kind(
        "Diagnoses",
        "What a model, an attack or a defence does on the way, as arrays; those with a command "
        "draw their figure too.",
        "",
    ),
}

#: What an attack's page puts in its command, where ℓ∞ is not its norm.
_SIZES = {"linf": "0.1", "l2": "1.0", "l1": "5", "l0": "10"}

#: In the order in which a picture of two dimensions shows them best: no step is yet a corner.
ROUND_FIRST = ("l2", "linf", "l1", "l0")


def methods() -> Iterator[Method]:
    """Every method, by kind, in the order of its name."""
    for kind, named in (
        ("attacks", ATTACKS),
        ("objectives", OBJECTIVES),
        ("bounds", BOUNDS),
        ("intervals", INTERVALS),
    ):
        for name in sorted(named):
            yield _entered(kind, name, named[name])
    layers: dict[str, Any] = {name: LAYERS[name] for name in LAYERS}
    noises = {f"{name}-noise": noise.layer for name, noise in NOISES.items()}
    for name, layer in sorted({**layers, **noises, "malade": MALADE}.items()):
        yield Method("defences", name, layer, layer, _defence(name))
    for name in diagnose.__all__:
        thing = getattr(diagnose, name)
        if inspect.isfunction(thing):
            yield Method("diagnoses", name, thing, thing, "")


def _entered(kind: str, name: str, thing: Any) -> Method:
    made = thing
    if kind == "objectives":
        made = _MADE_BY.get(name) or inspect.signature(thing).return_annotation
        made = thing if inspect.isclass(thing) else made
    shown = KINDS[kind].command
    if kind == "attacks":
        norm = first_norm(name)
        command = shown.format(name, norm, _SIZES[norm])
    else:
        command = shown.format(_with_needed(name, thing))
        takes = inspect.signature(thing).parameters
        if "threat" in takes:
            command = command.replace(" --out", " --norm linf --eps 0.1 --out")
        if name == "laplace":
            command += " --noise laplace"
    return Method(kind, name, thing, made, command)


#: What says more of an objective than the class that it makes, which makes others too.
_MADE_BY = {"ensemble": EnsembleAdversarial, "adv-train-1": adversarial_training_1}


#: What must be written of some parameters that have no default.
_NEEDED = {
    "sigma": "0.25",
    "sources": "['runs/a', 'runs/b']",
    "teacher": "runs/teacher",
    "classifier": "runs/classifier",
    "reference": "runs/net",
}


def _with_needed(name: str, thing: Any) -> str:
    written = [
        f"{each.name}={_NEEDED[each.name]}"
        for each in inspect.signature(thing).parameters.values()
        if each.default is each.empty and each.name in _NEEDED and name not in BOUNDS
    ]
    return f"{name}({', '.join(written)})" if written else name


def _defence(name: str) -> str:
    if name == "malade":
        return (
            "holdfast tune malade --data mnist --classifier runs/net --denoiser runs/sdae "
            "--eps 0.3 --out runs/malade"
        )
    if name.endswith("-noise"):
        noise = name.removesuffix("-noise")
        return (
            "holdfast certify --model runs/net --data mnist --sigma 0.5 --votes 1000 "
            f"--noise {noise} --bounds {'laplace' if noise == 'laplace' else 'cohen'}"
        )
    layer = {"dropout": "dropout(p=0.2)", "normalize": "normalize(mean=[0.5], std=[0.25])"}
    return (
        f'holdfast evaluate --model "{layer.get(name, name)} | runs/net" --data mnist --attacks pgd'
    )


@cache
def first_norm(name: str, norms: tuple[str, ...] = tuple(_SIZES)) -> str:
    """The first of some norms that an attack takes."""
    for norm in norms:
        try:
            registry.attack(name, registry.threat(norm, 0.5 if norm != "l0" else 1))
        except Exception:
            continue
        return norm
    raise ValueError(f"{name} takes none of the norms; say here which it takes.")


def page(method: Method, picture: str | None = None) -> str:
    """The Markdown of a method's page."""
    says, more = parse(method.thing), parse(method.made)
    own = {**more.sections, **says.sections}
    blocks = [
        f"# {method.name}",
        f"[{KINDS[method.kind].title}](index.md) · in Python {_link(method.made)}",
        f"{says.summary}",
    ]
    if picture:
        blocks.append(f"![{method.name}, drawn by a run of its own]({picture})" + "{ .toy }")
    if method.made is not method.thing:
        blocks.append(f"{more.summary}")
    blocks += [text for text in (_formula(method), says.text, more.text) if text]
    blocks += _section("When to use it", own.get("When"))
    if method.command:
        blocks.append(f"    {method.command}")
    blocks += _section("When not", own.get("When not"))
    blocks += _section("Traps", own.get("Traps"))
    blocks += _section("Differences from the paper", more.sections.get("Notes"))
    blocks += _parameters(method, says, more)
    blocks += _section("Raises", more.sections.get("Raises"))
    if "Example" in more.sections:
        blocks += ["## Example", _begin(), f"```pycon\n{more.sections['Example']}\n```"]
    blocks += standings.of(method.kind, method.name)
    blocks += _section("Paper", own.get("Reference"))
    text = "\n\n".join(dict.fromkeys(block for block in blocks if block)) + "\n"
    return _PAGE.sub(r"[\1](../../\1)", text)


#: A page of docs, as docstrings name it.
_PAGE = re.compile(r"\bdocs/([\w/-]+\.md)")


def _formula(method: Method) -> str:
    """What a method's file begins with below its title, if that shows formulas."""
    text = parse(sys.modules[method.made.__module__]).text
    return text if re.search("^    ", text, re.MULTILINE) else ""


def _begin() -> str:
    return "`torch`, `model`, `x` and `y` are those of [how-to.md](../../how-to.md)."


def _section(title: str, text: str | None) -> list[str]:
    return [f"## {title}", text] if text else []


def _link(thing: Any) -> str:
    name = f"{thing.__module__}.{thing.__qualname__}"
    room = thing.__module__.split(".")[1]
    return f"[`{name}`](../../api/{room}.md#{name})"


def _parameters(method: Method, says: Parsed, more: Parsed) -> list[str]:
    """A table: name, default, what it is. What the command line gives by itself is left out."""
    told = {**more.parameters(), **says.parameters()}
    taken = inspect.signature(method.thing).parameters.values()
    rows = []
    for each in taken:
        if each.name in ("data", "device", "self"):
            continue
        default = "" if each.default is each.empty else f"`{_default(each.default)}`"
        text = told.get(each.name) or _inherited(method.made, each.name) or ""
        rows.append(f"| `{each.name}` | {default} | {_escaped(text)} |")
    if not rows:
        return []
    return ["## Parameters", "\n".join(["| name | default | |", "|---|---|---|", *rows])]


def _inherited(thing: Any, name: str) -> str | None:
    """What a base class says of a parameter; a preset of a preset says only what it adds."""
    for base in getattr(thing, "__mro__", ()):
        told = parse(base).parameters() if base.__module__.startswith("holdfast") else {}
        if name in told:
            return told[name]
    return None


def _default(value: Any) -> str:
    if isinstance(value, Callable) and hasattr(value, "__name__"):  # type: ignore[arg-type]
        return str(value.__name__)
    # A dataclass whose default a factory makes: its signature holds a marker.
    return "(made)" if "factory" in repr(value) else repr(value)


def _escaped(text: str) -> str:
    """For a cell of a table: a bar would end it."""
    return text.replace("|", "\\|")


def overview(kind: str) -> str:
    """The page of a kind: each of its methods with its first line."""
    about = KINDS[kind]
    rows = [
        f"| [{each.name}]({Path(each.path).name}) | {_escaped(parse(each.thing).summary)} |"
        for each in methods()
        if each.kind == kind
    ]
    table = "\n".join(["| name | |", "|---|---|", *rows])
    return f"# {about.title}\n\n{about.about}\n\n{table}\n"
