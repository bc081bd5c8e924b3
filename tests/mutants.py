"""Change one operator or number of a function at a time, and see whether a test fails.

    python -m tests.mutants [SUBJECT...]

The changes are Cosmic Ray's operators, drawn by a fixed seed; each keeps its kind, since any test
finds a ``|`` between numbers. What a module does when it is imported (constants, defaults,
decorators) stays as it is: the tests are collected once, and for each mutant a child process puts
the changed code into the functions that are there, runs the tests, the quickest first, until one
fails, and ends. No file is written.
"""

import argparse
import ast
import gc
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType
from typing import NamedTuple

import pytest
import torch
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from scipy.stats import binomtest

SOURCES = Path(__file__).parents[1] / "src"

#: What replaces what: a kind of operators.
KINDS = (
    {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"},
    {"RShift", "LShift", "BitOr", "BitAnd", "BitXor"},
    {"Eq", "NotEq", "Lt", "LtE", "Gt", "GtE"},
    {"Is", "IsNot"},
    {"UAdd", "USub", "Delete"},
    {"Not", "Delete"},
)

#: Times what the tests take of the unchanged code, in seconds of a processor, and this many more.
PATIENCE, START = 10, 10

#: A mutant may ask for so many bytes more than the tests have when it begins.
MEMORY = 4 * 2**30


class Subject(NamedTuple):
    """Files that are changed, and the arguments of pytest that choose the tests about them."""

    files: str
    tests: tuple[str, ...]


SUBJECTS = MappingProxyType(
    {
        "threat": Subject(
            "threat/*.py",
            (
                "tests/test_threat.py",
                "tests/test_fmn.py::test_every_image_is_projected_into_its_own_ball",
            ),
        ),
        "goals": Subject(
            "goals/*.py",
            (
                "tests/test_losses_and_goals.py",
                "tests/test_objectives.py::test_divergence_from_the_clean_answer",
                "tests/test_transfer.py::TestPenalties",
                "tests/test_transfer.py::TestEnsembles::"
                "test_average_of_has_the_mean_value_and_gradient",
            ),
        ),
        "gradients": Subject("gradients/*.py", ("tests/test_gradients.py",)),
        "bounds": Subject(
            "certify/bounds/*.py",
            (
                "tests/test_bounds.py",
                "tests/test_certify.py::TestCertify::test_radii_are_rounded_down",
                "tests/test_certify.py::TestCertify::test_rounding_down_never_gains_a_bit",
                "tests/test_certify.py::TestCertify::"
                "test_a_radius_is_less_than_computed_by_more_than_a_bound_can_be_wrong",
                "-k",  # without the slowest properties; its 50 digits stay
                "not (renyi and (tight or tone_in or only_if or claimed)) and not never_exceeds",
            ),
        ),
        "intervals": Subject(
            "certify/intervals/*.py",
            ("tests/test_intervals.py", "-k", "not exactly_as_often"),  # slow, and of statistics.py
        ),
    }
)


@dataclass(frozen=True)
class Mutant:
    """A change of a line, and the code of its module with it."""

    place: str
    before: str
    after: str
    code: CodeType

    def __str__(self) -> str:
        return f"{self.place}: `{self.before}` → `{self.after}`"


def operators() -> Iterator[Operator]:
    """Cosmic Ray's, but for those that replace an operator by one of another kind."""
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        _, *pair = name.split("_")
        known = not pair or any(set(pair) <= kind for kind in KINDS)
        if known and not kind.arguments() and name != "core/RemoveDecorator":
            yield kind()


def changes(path: Path) -> Iterator[tuple[Path, Operator, int]]:
    """Where an operator applies in the bodies of functions: file, operator, the how-many-th place.

    Annotations change nothing that a function does, and are left out.
    """
    text = path.read_text()
    tree, nodes = ast.parse(text), list(ast_nodes(get_ast(text)))
    bodies, annotations = set(), []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            for line in node.body:
                bodies |= {*range(line.lineno, line.end_lineno + 1)}
        for note in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if note is not None:
                begin, end = (note.lineno, note.col_offset), (note.end_lineno, note.end_col_offset)
                annotations.append((begin, end))
    for operator in operators():
        places = (place for node in nodes for place in operator.mutation_positions(node))
        for number, (begin, _) in enumerate(places):
            if begin[0] in bodies and not any(low <= begin < high for low, high in annotations):
                yield path, operator, number


def compiled(path: Path, text: str) -> CodeType:
    """The code of a module if its file held ``text``, with shapes checked as in the tests.

    Raises:
        SyntaxError: if it is no Python.
    """
    name = ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
    return sys.modules[name].__spec__.loader.source_to_code(text.encode(), str(path))


def mutant(path: Path, operator: Operator, number: int) -> Mutant | None:
    """A change made; None where what comes of it is no Python."""
    text = path.read_text()
    changed = mutate_code(text, operator, number)
    try:
        code = compiled(path, changed)
    except SyntaxError:
        return None
    pairs = zip(text.splitlines(), changed.splitlines(), strict=False)
    line, (before, after) = next(
        (line, pair) for line, pair in enumerate(pairs, 1) if pair[0] != pair[1]
    )
    return Mutant(f"{path.relative_to(SOURCES)}:{line}", before.strip(), after.strip(), code)


def codes(code: CodeType) -> dict[tuple[str, str], CodeType]:
    """The code of every function in that of a module, by its file and its name."""
    found = {(code.co_filename, code.co_qualname): code}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= codes(constant)
    return found


def functions() -> dict[tuple[str, str], list[FunctionType]]:
    """Those that are there now, by their file and their name."""
    found = defaultdict(list)
    for thing in gc.get_objects():
        if type(thing) is FunctionType:
            found[thing.__code__.co_filename, thing.__code__.co_qualname].append(thing)
    return found


class Run:
    """A plugin of pytest that runs the tests for every mutant instead of once.

    Args:
        name: of a subject.
        count: how many mutants to run.
        seed: of the draw, with the name.

    Attributes:
        possible: how many mutants there are.
        ran: how many were run.
        survivors: those that no test found.
    """

    def __init__(self, name: str, count: int, seed: str) -> None:
        self._name, self._count, self._seed = name, count, seed
        self.possible, self.ran, self.survivors = 0, 0, []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of pytest's own."""
        files = sorted((SOURCES / "holdfast").glob(SUBJECTS[self._name].files))
        drawn = [change for path in files for change in changes(path)]
        self.possible = len(drawn)
        random.Random(self._seed + self._name).shuffle(drawn)
        session.config.pluginmanager.unregister(name="terminalreporter")
        self._there, self._tests = functions(), session.items
        seconds = self._unchanged(files)
        self._tests.sort(key=lambda test: seconds[test.nodeid])
        limit = round(PATIENCE * sum(seconds.values())) + START
        print(f"{self._name}: {len(seconds)} tests, {sum(seconds.values()):.1f} s", flush=True)
        for each in filter(None, (mutant(*change) for change in drawn)):
            ended = _child(lambda code=each.code: any(self._failures([code])), limit)
            if ended == 0:
                self.survivors.append(each)
            word = {0: "survived", 1: "killed"}.get(ended, f"killed, exit {ended}")
            print(f"{word}: {each}", flush=True)
            self.ran += 1
            if self.ran == self._count:
                break
        return True

    def _failures(self, code: Iterable[CodeType]) -> Iterator[bool]:
        """Put code into the functions that are there, and say of one test after another."""
        for place, part in chain.from_iterable(codes(module).items() for module in code):
            for function in self._there.get(place, ()):
                function.__code__ = part
        for test, following in zip(self._tests, [*self._tests[1:], None], strict=True):
            test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
            yield test.session.testsfailed > 0

    def _unchanged(self, files: Iterable[Path]) -> dict[str, float]:
        """What each test takes of a processor, in seconds, with code put in that is the same."""
        with tempfile.TemporaryFile("w+") as file:

            def timed() -> bool:
                seconds, begun = {}, time.process_time()
                code = [compiled(path, path.read_text()) for path in files]
                for test, failed in zip(self._tests, self._failures(code), strict=True):
                    seconds[test.nodeid], begun = time.process_time() - begun, time.process_time()
                    if failed:
                        return True
                json.dump(seconds, file)
                file.flush()
                return False

            if _child(timed, resource.RLIM_INFINITY):
                raise RuntimeError(f"tests of {self._name} fail where nothing is changed")
            file.seek(0)
            return json.load(file)


def _child(work: Callable[[], bool], seconds: int) -> int:
    """The exit code of a process that does the work, in so many seconds of a processor."""
    process = os.fork()
    if process == 0:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        bytes_ = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            os._exit(work())
        finally:  # whatever was raised
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main(names: list[str], count: int, seed: str) -> None:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # Holdfast's would be imported unchecked
    torch.set_num_threads(1)  # a child has none of its parent's threads
    runs = {name: Run(name, count, seed) for name in names or SUBJECTS}
    for name, run in runs.items():
        arguments = ["-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"]
        if ended := pytest.main([*arguments, *SUBJECTS[name].tests], plugins=[run]):
            sys.exit(int(ended))
    print("\n| subject | mutants | run | killed | with 95 % confidence |\n|---|---|---|---|---|")
    for name, run in runs.items():
        killed = run.ran - len(run.survivors)
        low, high = binomtest(killed, run.ran).proportion_ci(method="exact")
        share = f"{killed / run.ran:.0%} | {low:.0%} to {high:.0%}"
        print(f"| {name} | {run.possible} | {run.ran} | {share} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--count", type=int, default=60, help="mutants of each subject")
    parser.add_argument("--seed", default="", help="any word: each draws other mutants")
    asked = parser.parse_args()
    main(asked.names, asked.count, asked.seed)
