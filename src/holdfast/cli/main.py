"""The ``holdfast`` command: options come from each command's signature, help from its docstring."""

import inspect
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

import holdfast
from holdfast.cli.certify import certify
from holdfast.cli.config import ConfigFile
from holdfast.cli.demo import demo
from holdfast.cli.diagnose import purification
from holdfast.cli.evaluate import evaluate
from holdfast.cli.list import list_names
from holdfast.cli.report import report
from holdfast.cli.train import train
from holdfast.cli.tune import malade
from holdfast.errors import ContradictionError, DiskFullError, HoldfastError, unknown

COMMANDS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "train": train,
    "tune malade": malade,
    "evaluate": evaluate,
    "certify": certify,
    "diagnose purification": purification,
    "report": report,
    "list": list_names,
}

#: Commands of two words, by the first.
GROUPS = {
    "tune": "Choose the numbers of a defence on training images, never on the test set.",
    "diagnose": "Show what a defence does on the way.",
}

DONE, SYSTEM_ERROR, USER_ERROR, CONTRADICTED, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    0 done, 1 the system, 2 the user's input, 3 a certificate contradicted, 130 interrupted.
    """
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show
            command, options = _parse(list(arguments))
            COMMANDS[command](**options)
    except HoldfastError as error:
        print(f"holdfast: {' '.join(str(error).split())}", file=sys.stderr)
        if isinstance(error, DiskFullError):
            return SYSTEM_ERROR
        return CONTRADICTED if isinstance(error, ContradictionError) else USER_ERROR
    except OSError as error:  # a full disk, say; what was finished before is on it
        print(f"holdfast: {error}", file=sys.stderr)
        return SYSTEM_ERROR
    except KeyboardInterrupt:
        print("holdfast: interrupted; the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    return DONE


class _Parser(ArgumentParser):
    """Says what is wrong in one line instead of printing the usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        del ex
        text = " ".join(str(message).split())
        text = re.sub(r"required: (\w+)\.", "required: --", text).replace("Parser key", "option")
        print(f"holdfast: {text}; see holdfast --help", file=sys.stderr)
        sys.exit(USER_ERROR)


def _parse(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """The command and its options."""
    known = {name.partition(" ")[0] for name in COMMANDS}
    if arguments and not arguments[0].startswith("-") and arguments[0] not in known:
        raise unknown("command", arguments[0], known)
    parser = _Parser(
        prog="holdfast",
        description="How robust is an image classifier, really? Attack, train, certify, report.",
        version=holdfast.__version__,
    )
    commands = parser.add_subcommands(required=True, dest="command")
    groups = {}
    for group, summary in GROUPS.items():
        outer = _Parser(description=summary)
        commands.add_subcommand(group, outer, help=summary)
        groups[group] = outer.add_subcommands(required=True, dest="what")
    for name, function in COMMANDS.items():
        summary = (inspect.getdoc(function) or "").partition("Args:")[0]
        child = _Parser(description=summary.strip(), print_config="--print-%s")
        help_text = "YAML file with any of these options."
        child.add_argument("--config", action=ConfigFile, help=help_text)
        if function is report:  # jsonargparse makes no list of arguments without a name
            help_text = (
                "Folders written by holdfast evaluate, holdfast certify, and holdfast train."
            )
            child.add_argument("runs", nargs="+", type=Path, help=help_text)
        if function is train:  # "from" is a word of Python's
            help_text = (
                "Finished run folder, or model.safetensors file, whose network is trained on."
            )
            child.add_argument("--from", type=Path | None, default=None, help=help_text)
        child.add_function_arguments(function, as_positional=False, skip={"runs", "from_"})
        _dress(child)
        group, _, what = name.rpartition(" ")
        groups.get(group, commands).add_subcommand(what, child, help=summary.splitlines()[0])
    found = parser.parse_args(arguments)
    command, chosen = found.command, found[found.command]
    if command in GROUPS:
        command, chosen = f"{command} {chosen.what}", chosen[chosen.what]
    options = chosen.as_dict()
    options.pop("config")
    if "from" in options:
        options["from_"] = options.pop("from")
    return command, options


def _dress(parser: ArgumentParser) -> None:
    """Write --data-dir for data_dir, and let --quiet mean --quiet true."""
    for action in parser._actions:
        action.option_strings = [option.replace("_", "-") for option in action.option_strings]
        for option in action.option_strings:
            parser._option_string_actions[option] = action
        if getattr(action, "_typehint", None) is bool:
            action.nargs, action.const = "?", True


def _show(message: Warning | str, *_: object, **__: object) -> None:
    print(f"holdfast: warning: {message}", file=sys.stderr)
