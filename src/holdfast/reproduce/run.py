"""Doing a recipe: the missing steps, one after the other; a failure stops what needs it alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holdfast.errors import HoldfastError
from holdfast.progress import Progress, silent
from holdfast.reproduce.rows import rows_of
from holdfast.reproduce.steps import Step
from holdfast.results import read_about

State = Literal["complete", "begun", "missing"]

#: Does what would be typed after ``holdfast``.
Runner = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Outcome:
    """What became of the steps.

    Attributes:
        done: folders of those that are finished.
        failed: folder -> one sentence, also for those that needed one that failed.

    Example:
        >>> from holdfast.reproduce import Outcome
        >>> Outcome(done=frozenset(), failed={"train-A": "it broke."}).failed["train-A"]
        'it broke.'
    """

    done: frozenset[str]
    failed: Mapping[str, str]


def state(step: Step, root: Path) -> State:
    """Whether a step is finished, begun or not there."""
    folder = root / step.folder
    if not (folder / "run.json").exists():
        return "missing"
    return "complete" if read_about(folder)["complete"] else "begun"


def _finished(step: Step, root: Path) -> bool:
    """Whether its numbers can be read; raises if it is finished and they can't."""
    if state(step, root) != "complete":
        return False
    if "rows_sha256" in read_about(root / step.folder):  # training, or one image's trace, has none
        rows_of(root / step.folder)
    return True


def found(steps: Sequence[Step], root: Path) -> Outcome:
    """What is there already, without doing anything.

    Args:
        steps: all of them.
        root: where their folders are.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.reproduce import train
        >>> from holdfast.reproduce.run import found
        >>> set(found([train("net", model="small")], Path("runs")).failed.values())
        {'not run.'}
    """
    done: set[str] = set()
    failed: dict[str, str] = {}
    for step in steps:
        try:
            if _finished(step, root):
                done.add(step.folder)
            else:
                failed[step.folder] = "not run."
        except HoldfastError as error:
            failed[step.folder] = " ".join(str(error).split())
    return Outcome(frozenset(done), failed)


def reproduce(
    steps: Sequence[Step],
    root: Path,
    run: Runner,
    *,
    data_dir: Path | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Do all steps that are not finished; run again after an interruption, it goes on.

    Args:
        steps: each after what it needs.
        root: where their folders are, or will be.
        run: does what would be typed after ``holdfast``; the command line's own.
        data_dir: folder with the files of named data sets.
        progress: told about every step.

    Returns:
        What is finished, and what failed and why: the others went on.

    Example:
        >>> from pathlib import Path
        >>> from holdfast.reproduce import reproduce, train
        >>> outcome = reproduce([train("net", model="small")], Path("runs"), lambda arguments: None)
        >>> outcome.failed
        {}
    """
    done: set[str] = set()
    failed: dict[str, str] = {}
    for number, step in enumerate(steps, start=1):
        try:
            if not _finished(step, root):
                lacking = [need.name for need in step.needs if need.folder not in done]
                if lacking:
                    failed[step.folder] = f"it needs {', '.join(lacking)}, which failed."
                    continue
                progress.say(f"step {number} of {len(steps)}: {step.command} {step.name}")
                run(step.arguments(root, data_dir))
            done.add(step.folder)
        except HoldfastError as error:  # also of a folder that cannot be read
            failed[step.folder] = " ".join(str(error).split())
            progress.say(f"{step.command} {step.name} failed: {failed[step.folder]}")
    return Outcome(frozenset(done), failed)
