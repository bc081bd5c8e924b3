"""The option ``--config``: a YAML file, measured before it is loaded.

In YAML a name can stand for a part written elsewhere, and parts of such names for more of them: a
file of ten lines can stand for a billion values. What a file stands for is counted from the events
of the parser, which are as many as there are words in it, before anything is built.
"""

import os
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]

from holdfast.cli.renamed import no_option
from holdfast.errors import InputError
from holdfast.files import check_regular
from holdfast.parameters import each_once

#: Far more than all options of a command, and still loaded at once.
MOST_VALUES, MOST_LEVELS, MOST_BYTES = 10_000, 100, 2**20

#: What a command line takes and a file does not hold.
_NO_OPTIONS = ("help", "config", "print_config", "print_shtab")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigFile(ActionConfigFile):
    """jsonargparse's, behind `check`; an option that the command does not have is told."""

    def __init__(self, *, command: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.command = command

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Check what was given, then read it."""
        known = [action.dest for action in parser._actions if action.dest not in _NO_OPTIONS]
        for name in check(values):
            if name not in known:
                raise no_option(self.command, name, known)
        super().__call__(parser, cfg, values, option_string)


def check(given: str) -> list[str]:
    """Refuse a YAML file, or YAML itself, that stands for more than any command could mean.

    Returns:
        The options that it gives.

    Raises:
        DamagedFileError: if it is a pipe, a device or a socket.
        InputError: if it is too large, no YAML, no options, or gives one twice.
    """
    path = Path(given)
    check_regular(path)
    if not os.path.isfile(path) and ":" not in given:
        return []  # whoever reads it next says that there is no such file
    try:
        text = _text(path) if os.path.isfile(path) else given
        size = _size(text)
        options = yaml.compose(text, Loader=_LOADER) if size <= MOST_VALUES else None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"--config {path} is no YAML: {' '.join(str(error).split())}.") from error
    if size > MOST_VALUES:
        raise InputError(
            f"--config {path} stands for more than {MOST_VALUES} values, or for more than "
            f"{MOST_LEVELS} one within the other; write the options of one command, without "
            "aliases that grow."
        )
    names = [name for name, _ in options.value] if isinstance(options, yaml.MappingNode) else []
    if not names or not all(isinstance(name, yaml.ScalarNode) for name in names):
        raise InputError(
            f"--config {path} holds no options, but must have a line for each, as in "
            "model: runs/net."
        )
    told = [name.value for name in names]
    each_once(f"--config {path}", told)
    return told


def _text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
    return path.read_text(encoding="utf-8")


def _size(text: str) -> int:
    """How many values a text stands for; more than `MOST_VALUES` as soon as that is known."""
    too_many = MOST_VALUES + 1
    named: dict[str, int] = {}
    open_parts: list[tuple[str | None, int]] = [(None, 0)]  # name and size so far, outermost first
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, 1))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            name, size = open_parts.pop()
        elif isinstance(event, yaml.ScalarEvent):
            name, size = event.anchor, _size_within(event.value)
        elif isinstance(event, yaml.AliasEvent):
            # One that is not named yet stands within itself, without end.
            name, size = None, named.get(event.anchor, too_many)
        else:
            continue
        if name is not None:
            named[name] = size
        outer, so_far = open_parts[-1]
        open_parts[-1] = (outer, so_far + size)
        if so_far + size > MOST_VALUES or len(open_parts) > MOST_LEVELS:
            return too_many
    return open_parts[0][1]


def _size_within(text: str) -> int:
    """How many values the text of an option stands for, which is read as YAML once more."""
    if not text.startswith(("[", "{")):
        return 1
    try:
        return _size(text)
    except yaml.YAMLError:  # no YAML, but a text
        return 1
