"""The option ``--config``: a YAML file, measured before it is loaded.

In YAML a name can stand for a part written elsewhere, and parts of such names for more of them: a
file of ten lines can stand for a billion values. What a file stands for is counted from the events
of the parser, which are as many as there are words in it, before anything is built.
"""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]

from holdfast.cli.renamed import no_option
from holdfast.errors import InputError
from holdfast.files import check_regular

#: Far more than all options of a command, and still loaded at once.
MOST_VALUES, MOST_LEVELS = 10_000, 100


class ConfigFile(ActionConfigFile):
    """jsonargparse's, behind `check`; an option that the command does not have is told."""

    def __init__(self, *, command: str = "", **settings: Any) -> None:
        super().__init__(**settings)
        self.command = command

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Check what was given, then read it."""
        known = [action.dest for action in parser._actions]
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
        InputError: if it is too large.
    """
    path = Path(given)
    check_regular(path)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else given
        size = _size(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []  # whoever reads it next says what is wrong with it
    if size > MOST_VALUES:
        raise InputError(
            f"--config {path} stands for more than {MOST_VALUES} values, or for more than "
            f"{MOST_LEVELS} one within the other; write the options of one command, without "
            "aliases that grow."
        )
    content = yaml.safe_load(text)
    return [str(name) for name in content] if isinstance(content, dict) else []


def _size(text: str) -> int:
    """How many values a text stands for; more than `MOST_VALUES` as soon as that is known."""
    too_many = MOST_VALUES + 1
    named: dict[str, int] = {}
    open_parts: list[tuple[str | None, int]] = [(None, 0)]  # name and size so far, outermost first
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, 1))
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            name, size = open_parts.pop()
        elif isinstance(event, yaml.ScalarEvent):
            name, size = event.anchor, 1
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
