"""What a page says of how its numbers were made: versions, processors or cards, commands."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast.environment import environment
from holdfast.reproduce.results import Result
from holdfast.reproduce.run import Outcome
from holdfast.reproduce.steps import Step
from holdfast.results import read_about


def provenance(result: Result, root: Path, outcome: Outcome) -> list[str]:
    """By what the numbers of a page were made.

    Args:
        result: what the recipe makes.
        root: where the run folders are.
        outcome: what became of its steps.
    """
    done = [step for step in result.steps if step.folder in outcome.done]
    heading = ["## How it was made", ""]
    if not result.steps:
        return [*heading, f"{_by([environment()])}: formulas alone, by the command above.", ""]
    if not done:
        return []
    abouts = [read_about(root / step.folder) for step in done]
    return [
        *heading,
        f"{_by(abouts)}.",
        "",
        f"<details><summary>{len(done)} commands</summary>",
        "",
        "```",
        *_commands(done, abouts),
        "```",
        "",
        "</details>",
        "",
    ]


def _by(abouts: Sequence[Mapping[str, Any]]) -> str:
    own, torch = (
        ", ".join(sorted({about.get("versions", {}).get(name, "?") for about in abouts}))
        for name in ("holdfast", "torch")
    )
    return f"Holdfast {own}, torch {torch}, {', '.join(sorted(set(map(_device, abouts))))}"


def _commands(steps: Sequence[Step], abouts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """As typed; where some ran elsewhere than others, each behind what it ran on."""
    devices = [_device(about) for about in abouts]
    last = devices[0] if len(set(devices)) == 1 else ""
    for step, device in zip(steps, devices, strict=True):
        if device != last:
            yield f"# {device}"
            last = device
        yield " ".join(["holdfast", *map(_quoted, step.arguments(Path("runs"), None))])


def _device(about: Mapping[str, Any]) -> str:
    """A card, or a processor, of which earlier versions recorded the number of cores alone."""
    hardware = about.get("hardware", {})
    cores, processor = hardware.get("cores", "?"), hardware.get("processor")
    name = f"{cores} cores of {processor}" if processor else f"{cores} processor cores"
    return hardware.get("accelerator") or name


def _quoted(word: str) -> str:
    plain = all(letter.isalnum() or letter in "-_./=,+@:" for letter in word)
    return word if plain and word else f'"{word}"'
