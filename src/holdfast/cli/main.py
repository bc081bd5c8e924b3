"""The ``holdfast`` command: finds the command, runs it, and turns errors into exit codes."""

import errno
import sys
import textwrap
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any, NoReturn

import holdfast
from holdfast.cli.commands import COMMANDS, EXAMPLES
from holdfast.cli.streams import hold_everything, kept_for_the_answer, nobody_reads
from holdfast.cli.told import tell
from holdfast.errors import (
    AuditError,
    ContradictionError,
    DiskFullError,
    HoldfastError,
    InputError,
    WorseError,
    unknown,
)

DONE, SYSTEM_ERROR, USER_ERROR, CONTRADICTED, INTERRUPTED = 0, 1, 2, 3, 130

_HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    0 done, 1 the system, 2 the user's input, 3 a certificate contradicted, a model worse than
    --fail-if-worse allows or, with --strict, an evaluation that its audit does not believe, 130
    interrupted.
    """
    hold_everything()
    try:
        sys.exit(run(sys.argv[1:] if arguments is None else arguments))
    finally:
        with suppress(OSError):  # a full disk, which is told when Python ends
            nobody_reads()


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show
            _run(list(arguments))
            if sys.stdout is not None:
                sys.stdout.flush()  # else a full disk were told when nobody listens any more
    except HoldfastError as error:
        tell(str(error))
        if isinstance(error, DiskFullError):
            return SYSTEM_ERROR
        told = isinstance(error, ContradictionError | WorseError | AuditError)
        return CONTRADICTED if told else USER_ERROR
    except OSError as error:  # a full disk, say; what was finished before is on it
        if error.errno == errno.ENAMETOOLONG:  # whichever option it was given by
            start = str(error.filename)[:57]
            print(f"holdfast: {start!r}... is too long to name a file.", file=sys.stderr)
            return USER_ERROR
        if not (isinstance(error, BrokenPipeError) and nobody_reads()):
            print(f"holdfast: {error}", file=sys.stderr)
        return SYSTEM_ERROR
    except KeyboardInterrupt:
        print("holdfast: interrupted; the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    return DONE


def read(arguments: Sequence[str]) -> tuple[Callable[..., None], dict[str, Any]]:
    """The function that arguments call for, and its own arguments.

    Raises:
        HoldfastError: if there is no such command or option.
    """
    name, rest = _command(arguments)
    function = COMMANDS[name].load()
    # jsonargparse takes half a second to import, and `holdfast --help` does without it.
    from holdfast.cli.parsing import parse

    return function, parse(name, function, rest)


def _run(arguments: list[str]) -> None:
    group = arguments[0] if len(arguments) == 2 else ""
    if arguments[:1] == ["--version"]:
        print(f"holdfast {holdfast.__version__}")
    elif arguments[-1:] and arguments[-1] in _HELP and (len(arguments) == 1 or _within(group)):
        print(_help(group))
    else:
        function, options = read(arguments)
        with kept_for_the_answer() if options.get("json") else nullcontext():
            function(**options)


def _command(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The name of the command, of one word or two, and what follows it."""
    for words in (1, 2):
        name = " ".join(arguments[:words])
        if name in COMMANDS:
            return name, arguments[words:]
    if not arguments or arguments[0].startswith("-"):
        raise InputError("no command is given; holdfast --help shows them.")
    first, second = arguments[0], " ".join(arguments[1:2])
    within = _within(first)
    if not within:
        raise unknown("command", first, {name.partition(" ")[0] for name in COMMANDS})
    if not second or second.startswith("-"):
        raise InputError(f"holdfast {first} needs a second word: {', '.join(within)}.")
    raise unknown(f"word after {first}", second, within)


def _within(group: str) -> list[str]:
    """The second words of the commands that begin with a word."""
    return [name.partition(" ")[2] for name in COMMANDS if name.startswith(f"{group} ")]


def _help(group: str) -> str:
    """What ``holdfast --help`` shows; with a group, its commands alone."""
    lines = [f"usage: holdfast {f'{group} ' if group else ''}COMMAND [options]", ""]
    if not group:
        lines += ["How robust is an image classifier, really? Attack, train, certify, report.", ""]
    heading = ""
    for name, command in COMMANDS.items():
        if group and not name.startswith(f"{group} "):
            continue
        if command.heading != heading:
            heading = command.heading
            lines.append(f"{heading}:")
        head = f"  {name:<23}"
        lines += textwrap.wrap(command.summary, 79, initial_indent=head, subsequent_indent=" " * 25)
    if not group:
        lines += ["", "Examples:", *(f"  {line}" for line in EXAMPLES.splitlines())]
    lines += [
        "",
        "holdfast COMMAND --help shows the options of one, holdfast list all names they take,",
        "holdfast --version the version.",
    ]
    return "\n".join(lines)


def _show(message: Warning | str, *_: object, **__: object) -> None:
    print(f"holdfast: warning: {message}", file=sys.stderr)
