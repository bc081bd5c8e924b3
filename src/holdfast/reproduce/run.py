"""Doing a recipe: the steps that are missing; a failure stops what needs it alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from holdfast.errors import HoldfastError
from holdfast.files import StrPath, as_path
from holdfast.progress import Progress, silent
from holdfast.reproduce.hands import Hands, OneAtATime, Runner, sentence
from holdfast.reproduce.rows import rows_of
from holdfast.reproduce.steps import Step
from holdfast.results import clear_work, read_about
from holdfast.training.state import CHECKPOINT

State = Literal["complete", "begun", "missing", "unreadable"]


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
    """Whether a step is finished, begun or not there, or cannot be read."""
    folder = root / step.folder
    if not (folder / "run.json").exists():
        return "missing"
    try:
        return "complete" if read_about(folder)["complete"] else "begun"
    except HoldfastError:  # damaged, or of a later version
        return "unreadable"


def _finished(step: Step, root: Path) -> bool:
    """Whether its numbers can be read; raises if it is finished and they can't."""
    if state(step, root) == "missing":
        return False
    about = read_about(root / step.folder)  # which raises where that is unreadable
    if not about["complete"]:
        return False
    if "rows_sha256" in about:  # a training, or one image's trace, has none
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
            failed[step.folder] = sentence(error)
    return Outcome(frozenset(done), failed)


def reproduce(
    steps: Sequence[Step],
    root: StrPath,
    by: Runner | Hands,
    *,
    data_dir: StrPath | None = None,
    progress: Progress = silent,
) -> Outcome:
    """Do all steps that are not finished; run again after an interruption, it goes on.

    Args:
        steps: each after what it needs.
        root: where their folders are, or will be.
        by: does what would be typed after ``holdfast``, the command line's own; or the hands that
            do so, which may do several at once.
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
    root = as_path(root)
    hands = OneAtATime(by) if callable(by) else by
    waiting = list(steps)
    at_work: dict[str, Step] = {}
    done: set[str] = set()
    failed: dict[str, str] = {}

    def fail(step: Step, why: str) -> None:
        failed[step.folder] = why
        progress.say(f"{step.command} {step.name} failed: {why}")

    while waiting or at_work:
        step = _next(waiting, at_work) if hands.free else None
        if step is None:
            folder, why = hands.ended()
            ended = at_work.pop(folder)
            if why is None:
                done.add(folder)
            else:
                fail(ended, why)
            continue
        waiting.remove(step)
        try:
            if _finished(step, root):
                clear_work(root / step.folder, CHECKPOINT)  # of one killed after its last step
                done.add(step.folder)
                continue
        except HoldfastError as error:  # of a folder that cannot be read
            fail(step, sentence(error))
            continue
        if lacking := [need.name for need in step.needs if need.folder not in done]:
            failed[step.folder] = f"it needs {', '.join(lacking)}, which failed."
            continue
        progress.say(f"step {steps.index(step) + 1} of {len(steps)}: {step.command} {step.name}")
        at_work[step.folder] = step
        hands.take(step.folder, step.arguments(root, data_dir))
    return Outcome(frozenset(done), failed)


def _next(waiting: Sequence[Step], at_work: Collection[str]) -> Step | None:
    """The first that needs nothing that is still to come, if there is one."""
    coming = {*at_work, *(one.folder for one in waiting)}
    return next(
        (one for one in waiting if not any(need.folder in coming for need in one.needs)), None
    )
