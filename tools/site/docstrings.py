"""A docstring in its sections, as this project writes them."""

import inspect
import re
from typing import NamedTuple

_HEADING = re.compile(r"^([A-Z]\w*(?: \w+)?):$")
_PARAMETER = re.compile(r"^\*{0,2}(\w+)(?: \(.*?\))?: +(.*)$")


class Parsed(NamedTuple):
    """What a docstring says.

    Attributes:
        summary: its first paragraph.
        text: what follows, up to the first section: paragraphs and formulas, in Markdown.
        sections: the others by their headings, without their indentation.
    """

    summary: str
    text: str
    sections: dict[str, str]

    def parameters(self) -> dict[str, str]:
        """What each parameter is, from ``Attributes``, ``Args`` and ``Adds``."""
        found: dict[str, str] = {}
        for heading in ("Attributes", "Args", "Adds"):
            name = ""
            for line in self.sections.get(heading, "").splitlines():
                begins = _PARAMETER.match(line)
                if begins and not line.startswith(" "):
                    name, found[begins[1]] = begins[1], begins[2]
                elif name:
                    found[name] += f" {line.strip()}"
        return found


def parse(thing: object) -> Parsed:
    """The sections of a docstring; what is flush with the margin after one ends it."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    before: list[str] = []
    sections: dict[str, list[str]] = {}
    here = before
    for line in lines:
        heading = _HEADING.match(line)
        if heading:
            here = sections.setdefault(heading[1], [])
        elif here is not before and line and not line.startswith(" "):
            here = sections.setdefault("Notes", [])
            here.append(f"    {line}")
        else:
            here.append(line)
    summary, _, text = "\n".join(before).partition("\n\n")
    return Parsed(
        " ".join(summary.split()),
        text.strip("\n"),
        {name: inspect.cleandoc("\n" + "\n".join(body)) for name, body in sections.items()},
    )
