"""``holdfast compare``: two evaluations of the same images, image by image."""

from collections.abc import Mapping
from pathlib import Path

from holdfast.cli.common import percent, print_json, print_table
from holdfast.cli.options import Number
from holdfast.errors import InputError
from holdfast.evaluation.comparison import compare as compare_runs
from holdfast.evaluation.junit import check_junit, write_junit
from holdfast.metrics import Paired
from holdfast.results import runs_in


def compare(
    runs: list[Path],
    *,
    fail_if_worse: Number | None = None,
    junit: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    r"""Compare two evaluations of the same images, image by image.

    Both are compared under each attack and size that they met, by McNemar's exact test and an
    exact interval of the difference. Runs of other images are refused.

    Example:
        holdfast compare runs/main-eval runs/branch-eval
        holdfast compare runs/main-eval runs/branch-eval --fail-if-worse 1 --junit robustness.xml

    Args:
        runs: Two folders of holdfast evaluate: the one to measure by, and the other; or one of a
            study of two runs.
        fail_if_worse: End with exit code 3 if the second run's accuracy is lower by more than so
            many percentage points, without an attack or under any of them.
        junit: Write a JUnit XML file with a test for each line, which fails by --fail-if-worse; by
            0 if that is not given. An older one is replaced, and no other file.
        json: Print one JSON object and nothing else.
        quiet: Print nothing.
    """
    runs = [run for given in runs for run in runs_in(given)]
    if len(runs) != 2:
        raise InputError(
            f"{len(runs)} {'run is' if len(runs) == 1 else 'runs are'} given "
            f"({', '.join(map(str, runs[:6]))}{', ...' if len(runs) > 6 else ''}), but two are "
            "compared: the one to measure by, and the other."
        )
    if fail_if_worse is not None and not 0 <= fail_if_worse <= 100:
        raise InputError(
            f"--fail-if-worse is {fail_if_worse:g}, but is in percentage points, from 0 to 100."
        )
    if junit is not None:
        check_junit(junit)
    compared = compare_runs(*runs)
    if junit is not None:
        write_junit(junit, compared, (fail_if_worse or 0.0) / 100)
    if json:
        lines = [line.record() for line in compared.lines]
        print_json(
            {
                "first": compared.first,
                "second": compared.second,
                "lines": lines,
                "notes": compared.notes,
            }
        )
    elif not quiet:
        _print(
            f"{runs[1]} against {runs[0]}, on the same {compared.lines[0].found.n} images; "
            "difference in percentage points with its 95 % interval, p by McNemar's exact test",
            {line.title: line.found for line in compared.lines},
        )
        if five := {line.title: line.top5 for line in compared.lines if line.top5 is not None}:
            _print("top-5 accuracy; attacks on the top class leave an upper limit", five)
        for note in compared.notes:
            print(note)
    if fail_if_worse is not None:
        compared.check(fail_if_worse / 100)


def _print(title: str, lines: Mapping[str, Paired]) -> None:
    print_table(
        title,
        [
            {
                "accuracy": name,
                "first": percent(found.first),
                "second": percent(found.second),
                "difference": f"{100 * found.difference:+.1f}",
                "95 %\ninterval": f"{100 * found.low:+.1f} to {100 * found.high:+.1f}",
                "p": f"{found.p_value:.2g}",
            }
            for name, found in lines.items()
        ],
    )
