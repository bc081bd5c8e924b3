"""Passes of ``holdfast certify``: votes of an image, and those that only choose its class."""

from collections.abc import Mapping
from typing import Any

from holdfast import specs
from holdfast.certify.config import CertificationConfig
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.cli.passes.about import about


def of_certification(options: Mapping[str, Any]) -> int | None:
    """Passes at most."""
    images = about(options, "test").images
    chooses = options["top"] == 1 and any(
        specs.find(specs.parse(one, "interval"), "interval", INTERVALS).chooses
        for one in options["intervals"]
    )
    first = CertificationConfig.selection_votes
    each: int = options["votes"] + (options["selection_votes"] or first if chooses else 0)
    return None if images is None else images * each
