"""From arguments to a command and its options; the rules are those of `holdfast.cli.commands`."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import NoneType
from typing import Any, NoReturn, get_args

import docstring_parser
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from holdfast.cli.commands import OPTIONS, OWN
from holdfast.cli.config import ConfigFile
from holdfast.cli.options import LISTS
from holdfast.cli.renamed import no_option
from holdfast.cli.told import tell
from holdfast.errors import InputError

USER_ERROR = 2


def parse(command: str, function: Callable[..., None], arguments: Sequence[str]) -> dict[str, Any]:
    """The arguments of a command's function.

    Exits where argparse does: after ``--help`` and ``--print-config``, and with exit code 2 where
    an option's value is of the wrong type.

    Raises:
        HoldfastError: if the command has no such option.
    """
    parser = parser_of(command, function)
    for argument in _names(arguments):
        if argument not in parser._option_string_actions:
            raise no_option(command, argument, _options(parser))
    found = parser.parse_args(_files_first(arguments)).as_dict()
    takes = inspect.signature(function, eval_str=True).parameters
    for name, value in found.items():
        if any("\0" in str(one) for one in (value if isinstance(value, list | tuple) else [value])):
            raise InputError(f"{name} holds the character NUL, which no name or path can hold.")
    for name, parameter in takes.items():
        if found[name.rstrip("_")] is None and not _may_be_none(parameter):
            raise InputError(f"{name.rstrip('_')} has no value: give it one, or leave it out.")
    return {
        name: _of_its_kind(found[name.rstrip("_")], parameter.annotation)
        for name, parameter in takes.items()
    }


def _of_its_kind(value: Any, annotation: Any) -> Any:
    """A list between commas as its own type, of which jsonargparse 4.53 makes a plain tuple.

    Example:
        >>> from holdfast.cli.options import Words
        >>> from holdfast.cli.parsing import _of_its_kind
        >>> str(_of_its_kind(("runs/a", "runs/b"), Words | None))
        'runs/a,runs/b'
    """
    if not isinstance(value, tuple):
        return value
    kinds = [one for one in (annotation, *get_args(annotation)) if one in LISTS]
    return kinds[0](value) if kinds else value


def _files_first(arguments: Sequence[str]) -> list[str]:
    """With ``--config`` in front, so that options go before the file's wherever they stand."""
    files: list[str] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        if argument == "--":
            return [*files, *others, argument, *left]
        if argument == "--config":
            files += [argument, *islice(left, 1)]
        elif argument.startswith("--config="):
            files.append(argument)
        else:
            others.append(argument)
    return [*files, *others]


def _may_be_none(parameter: inspect.Parameter) -> bool:
    return parameter.default is None or NoneType in get_args(parameter.annotation)


def parser_of(command: str, function: Callable[..., None]) -> ArgumentParser:
    """A parser for a command, from its function's signature and docstring."""
    about = docstring_parser.parse(inspect.getdoc(function) or "")
    described = {entry.arg_name: entry.description or "" for entry in about.params}
    parser = _Parser(
        prog=f"holdfast {command}",
        description=f"{about.short_description}\n\n{about.long_description or ''}".strip(),
        epilog="".join(f"Example:\n\n{entry.description}" for entry in about.examples),
        formatter_class=_Help,
        print_config="--print-%s",
    )
    parser.add_argument(
        "--config", action=ConfigFile, help="YAML file with any of these options.", command=command
    )
    headings = {name: heading for heading, names in OPTIONS.items() for name in names}
    takes = {
        name.rstrip("_"): parameter
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items()
    }
    order = {name: place for place, name in enumerate(headings)}
    groups: dict[str, Any] = {}
    for name in sorted(takes, key=lambda name: order.get(name, -1)):
        parameter = takes[name]
        told = " ".join(described[parameter.name].split())
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            (each,) = get_args(parameter.annotation)  # of a list
            parser.add_argument(name, nargs="+", type=each, help=told)
            continue
        heading = headings.get(name, OWN)
        if heading not in groups:
            groups[heading] = parser.add_argument_group(heading)
        required = parameter.default is inspect.Parameter.empty
        action = groups[heading].add_argument(
            f"--{name.replace('_', '-')}",
            type=parameter.annotation,
            help=told,
            **({"required": True} if required else {"default": parameter.default}),
        )
        if parameter.annotation is bool:  # --quiet means --quiet true
            action.nargs, action.const = "?", True
    return parser


#: How jsonargparse tells that a value is none of several types.
_UNION = re.compile(
    r"Does not validate against any of the Union subtypes .*?Errors: - (?P<reason>.*?) - "
    r"(?P<others>.*?)Given value type.*?Given value:(?P<value>.*)"
)


#: Of a path in another encoding than the locale's.
_NO_TEXT = "is no UTF-8, in which runs record their paths: rename it, or choose a locale of UTF-8"


class _Parser(ArgumentParser):
    """Says what is wrong in one line instead of printing the usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex
        text = " ".join(str(message).split())
        text = _UNION.sub(_first_reason, text)
        text = re.sub(r"(?<=required: ).*", self._dashed, text).replace("Parser key", "option")
        text = re.sub(r"Exceeds the limit .*", "has more digits than a number can have", text)
        text = re.sub(r"'utf-8' codec can't encode .* not allowed", _NO_TEXT, text)
        tell(f"{text}; see {self.prog} --help")
        sys.exit(USER_ERROR)

    def _dashed(self, names: re.Match[str]) -> str:
        """What is required, as it is written on the command line."""
        options = {action.dest: action.option_strings for action in self._actions}
        return ", ".join((options.get(name) or [name])[0] for name in names[0].split(", "))


def _first_reason(told: re.Match[str]) -> str:
    """What is wrong with a value that may also be left out, without the ways in which it is not."""
    reason = re.sub(r"^Not of type \w+: ", "", told["reason"])
    reason = re.sub(r"^Expected an? <class '(\w+)'>$", r"must be of type \1", reason)
    reason += "".join(f" or {word}" for word in re.findall(r"Literal\['(\w+)'\]", told["others"]))
    return f"{reason}; given {told['value'].strip() or 'nothing'}"


class _Help(DefaultHelpFormatter):
    """Wraps paragraphs and leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts = (
            textwrap.indent(part, f"{indent}  ")
            if part.startswith("holdfast ")
            else textwrap.fill(" ".join(part.split()), width, initial_indent=indent)
            for part in text.split("\n\n")
        )
        return "\n\n".join(parts)


def _names(arguments: Sequence[str]) -> Iterator[str]:
    """The options among arguments, without their values."""
    for argument in arguments:
        if argument == "--":
            return
        if argument.startswith("--"):
            yield argument.partition("=")[0]


def _options(parser: ArgumentParser) -> list[str]:
    return [action.dest for action in parser._actions if action.option_strings]
