"""What the commands share: the device, and results on standard output."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from holdfast.errors import InputError


def device(accelerator: str) -> torch.device:
    """The device that Lightning Fabric chooses for an accelerator's name.

    Raises:
        InputError: if this machine has no such accelerator.
    """
    try:
        return Fabric(accelerator=accelerator, devices=1).device
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"accelerator {accelerator!r} cannot be used ({' '.join(str(error).split())}); "
            "choose auto or cpu."
        ) from error


def print_json(content: Mapping[str, Any]) -> None:
    """One JSON object on standard output, and nothing else."""
    print(json.dumps(content, allow_nan=False))


def print_table(title: str, rows: list[dict[str, Any]]) -> None:
    """Rows as a table in the terminal."""
    # Names of models, attacks and classes are text: rich would read [/] in them as markup.
    console, table = Console(), Table(title=Text(title), title_justify="left", box=SIMPLE_HEAD)
    for place, (name, value) in enumerate(rows[0].items()):
        side: JustifyMethod = "left" if isinstance(value, str) else "right"
        # What a line is called stays whole, unless it left no room for what is said of it.
        longest = max(len(_show(row[name])) for row in rows)
        whole = place == 0 and longest <= console.width // 2
        table.add_column(Text(name), justify=side, no_wrap=whole, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_show(value)) for value in row.values()))
    console.print(table)


def percent(fraction: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * fraction:.1f} %"


def _show(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)
