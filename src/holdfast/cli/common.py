"""What the commands share: the device, and results on standard output."""

import json
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from holdfast import lightning
from holdfast.cli.streams import answer
from holdfast.errors import InputError
from holdfast.summary import percent as percent
from holdfast.summary import size as size

#: Letters that a name or a text keeps in one line.
_LONG = 16

#: Columns of a terminal that does not say, and those below which each word were broken.
_USUAL, _NARROWEST = 80, 40


def device(accelerator: str) -> torch.device:
    """The device that Lightning Fabric chooses for an accelerator's name.

    Raises:
        InputError: if this machine has no such accelerator.
    """
    # Fabric takes more than a second to import, and where there is no choice none is needed.
    if accelerator == "cpu" or (accelerator == "auto" and not _any_accelerator()):
        return torch.device("cpu")
    try:
        return lightning.Fabric(accelerator=accelerator, devices=1).device
    except (ValueError, RuntimeError, ImportError) as error:  # a TPU wants a package of its own
        raise InputError(
            f"accelerator {accelerator!r} cannot be used ({' '.join(str(error).split())}); "
            "choose auto or cpu."
        ) from error


def _any_accelerator() -> bool:
    """Whether Fabric might find one: PyTorch's own, or a TPU, which has a package of its own."""
    return torch.accelerator.is_available() or find_spec("torch_xla") is not None


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on standard output, and nothing else."""
    answer(json.dumps(content, allow_nan=False))


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Rows as a table in the terminal; where it is too narrow for that, one below the other.

    Numbers and names stay whole. Only sentences run over several lines, and long names at the
    sides.
    """
    console = Console()
    # COLUMNS=0 means that nobody knows, and rich would print nothing at all.
    console.width = max(console.width, _NARROWEST) if console.width else _USUAL
    # Names of models, attacks and classes are text: rich would read [/] in them as markup.
    table = Table(box=SIMPLE_HEAD)
    shown = [{name: _show(value) for name, value in row.items()} for row in rows]
    last = len(shown[0]) - 1
    needed = 3 * len(shown[0]) + 1  # between columns and at both sides
    for place, (name, value) in enumerate(rows[0].items()):
        side: JustifyMethod = "left" if isinstance(value, str) else "right"
        longest = max(map(len, [*name.split("\n"), *(row[name] for row in shown)]))
        runs_on = isinstance(value, str) and longest > (_LONG if place in (0, last) else 2 * _LONG)
        least = min(longest, _LONG) if runs_on else longest
        needed += least
        table.add_column(
            Text(name), justify=side, no_wrap=not runs_on, overflow="fold", min_width=least
        )
    for row in shown:
        table.add_row(*map(Text, row.values()))
    console.print(Text(title), style="italic")  # a table would wrap its title to its own width
    if needed <= console.width:
        console.print(table)
        return
    widest = max(map(len, shown[0]))
    for row in shown:
        first, *others = row.items()
        console.print(Text(f"\n  {first[1]}"))
        for name, value in others:
            line = f"{' '.join(name.split()):<{widest}}  {value}"
            console.print(Padding(Text(line), (0, 0, 0, 4)))
    console.print()


def _show(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
