"""What was found hidden in a model, in words that a report can print."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from holdfast.attacks import Attack
from holdfast.attacks.adaptive import Variant
from holdfast.attacks.bpda import Bridge
from holdfast.attacks.eot import against_randomness
from holdfast.evaluation.hidden.beside import Beside, OnGrid
from holdfast.types import Model

__all__ = ["Finding", "Findings", "Kind"]

#: What a model can hide: the first six in a gradient, the others in its answers.
Kind = Literal[
    "cut",
    "zero",
    "not finite",
    "wrong",
    "jumps",
    "flat",
    "memory",
    "calls",
    "draws",
    "neighbors",
    "grid",
    "content",
    "scale",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a model hides.

    Attributes:
        kind: what it is.
        layer: qualified name of the first module that does it; "" for the model itself.
        type: the module's class.
        said: what was seen, in a sentence without its end.
        met: what attacks do about it, in the same form; "" where nothing can be done.

    Example:
        >>> from holdfast.evaluation.hidden import Finding
        >>> found = Finding(kind="zero", layer="1", type="Step", said="has no slope", met="BPDA")
        >>> found.sentence
        'the layer 1 (Step) has no slope: BPDA.'
    """

    kind: Kind
    layer: str
    type: str
    said: str
    met: str = ""

    @property
    def where(self) -> str:
        """How a sentence names the module."""
        return f"the layer {self.layer} ({self.type})" if self.layer else f"the model ({self.type})"

    @property
    def sentence(self) -> str:
        """All of it, as a warning."""
        met = self.met or "nothing here goes round it, so robust accuracies may be too high"
        return f"{self.where} {self.said}: {met}."

    def record(self) -> dict[str, str]:
        """As run.json holds it."""
        return {
            "kind": self.kind,
            "layer": self.layer,
            "type": self.type,
            "said": self.said,
            "met": self.met,
        }


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything that a model hides, and what it takes to attack it all the same.

    Attributes:
        found: one after another, as they were found.
        bridges: ways round modules whose gradient lies, for `holdfast.attacks.BPDA`.
        model: what is to be attacked and asked: the model itself, or the same without a memory, or
            asked about one image at a time, or with larger logits.
        stochastic: it draws random numbers without declaring it.
        on_grid: attacks have to run on the 8-bit grid too.
        beside: attacks have to average over what lies a hair beside an image.

    Example:
        >>> from holdfast.evaluation.hidden import find
        >>> find(model, x).found  # an ordinary network hides nothing
        ()
    """

    found: tuple[Finding, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    model: Model = field(repr=False)
    stochastic: bool = False
    on_grid: bool = False
    beside: bool = False

    def __bool__(self) -> bool:
        return bool(self.found)

    def record(self) -> dict[str, list[dict[str, str]]]:
        """As run.json holds it; nothing where nothing was found."""
        return {"found": [finding.record() for finding in self.found]} if self.found else {}

    def with_variants(self, called: Sequence[Variant], samples: int, votes: int) -> list[Variant]:
        """The variants of an attack, and before each what the answers call for besides.

        On the grid a model may be certain that draws off it, and what it is certain of comes first.
        """
        ways: dict[str, Callable[[Attack], Attack]] = {}
        if self.on_grid:
            ways["8-bit"] = OnGrid
        if self.beside:
            ways["beside"] = lambda attack: Beside(against_randomness(attack, samples, votes))
        made: list[Variant] = []
        for one in called:
            for way, wrap in ways.items():
                name = way if one.name == "plain" else f"{one.name}-{way}"
                made.append(Variant(one.part, name, wrap(one.attack)))
            made.append(one)
        return made

    @property
    def blind(self) -> bool:
        """Whether gradients of the model, and all that stands in for them, are in doubt."""
        unmet = any(not finding.met for finding in self.of("cut", "zero", "not finite", "wrong"))
        return unmet or bool(self.of("jumps", "flat", "content"))

    def of(self, *kinds: Kind) -> tuple[Finding, ...]:
        """Those of some kinds."""
        return tuple(finding for finding in self.found if finding.kind in kinds)
