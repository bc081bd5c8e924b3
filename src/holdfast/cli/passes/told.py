"""Passes of a command, told by trying each of its parts on one image.

Attacks are tried as `holdfast.evaluation.forecast` does it; objectives and diagnoses on networks
that nothing fools, which stand in for all that a command names, whether they are there or not. So a
number is the most that it can be. Reading, writing and downloading are left to the command itself.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from holdfast.cli.passes.bench import Known
from holdfast.cli.passes.certification import of_certification
from holdfast.cli.passes.diagnosis import of_diagnosis
from holdfast.cli.passes.evaluation import of_evaluation
from holdfast.cli.passes.purification import of_purification
from holdfast.cli.passes.training import of_training
from holdfast.cli.passes.tuning import of_tuning
from holdfast.errors import HoldfastError

_NONE: Known = MappingProxyType({})


def passes(command: str, options: Mapping[str, Any], known: Known = _NONE) -> int | None:
    """Forward and backward passes of single images, at most; None if it cannot be told.

    Those of every network that takes part count: also a teacher's, or those that examples are
    crafted on. A pass through a chain that purifies is one.

    Args:
        command: as typed after ``holdfast``.
        options: as read from the rest.
        known: folders that options name and that are yet to be made: the command that makes each,
            and its options.

    Example:
        >>> from holdfast.cli.main import read
        >>> from holdfast.cli.passes import passes
        >>> typed = "evaluate --model not-there-yet --data digits --images 20 --eps 0.1"
        >>> passes("evaluate", read([*typed.split(), "--attacks", "fgsm", "--out", "run"])[1])
        40
    """
    word, _, diagnosis = command.partition(" ")
    try:
        if command == "train":
            return of_training(options, known)
        if command == "evaluate":
            return of_evaluation(options, known)
        if command == "certify":
            return of_certification(options)
        if command == "tune malade":
            return of_tuning(options)
        if command == "diagnose purification":
            return of_purification(options, known)
        return of_diagnosis(diagnosis, options, known) if word == "diagnose" else None
    except (HoldfastError, RuntimeError):  # such as a layer that the stand-ins do not have
        return None
