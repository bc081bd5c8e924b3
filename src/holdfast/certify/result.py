"""What a certification found."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.auditing.verdict import Audit
from holdfast.files import StrPath
from holdfast.metrics import accuracy_at
from holdfast.results import read_about, read_rows
from holdfast.summary import Result, Summary, percent, radius

__all__ = ["Certification"]

_RADII = 6  # columns of the summary where no radii were asked for


@dataclass(frozen=True)
class Certification(Result):
    """What a certification found.

    Attributes:
        rows: one line for each (bound, interval, example), with the votes that it rests on.
        cells: one record for each bound with each interval, as ``holdfast certify --json`` prints
            them: the ``accuracy`` of the smoothed classifier and the fraction that it ``abstained``
            from, certified accuracy over the radius as the corners of its ``curve``, and the same
            ``at`` the radii of interest.
        warnings: all that must be known to read the numbers, such as limits that do not hold.
        audit: whether the certificates can be believed; None if no audit was asked for.

    Example:
        >>> from holdfast.certify import CertificationConfig, certify
        >>> result = certify(model, x, y, config=CertificationConfig(sigma=0.1))
        >>> result.cells[0]["bound"], bool((result.rows["radius"] >= 0).all())
        ('cohen', True)
    """

    warnings: list[str] = field(default_factory=list)
    audit: Audit | None = None

    @classmethod
    def read(cls, folder: StrPath, warnings: Sequence[str] = ()) -> "Certification":
        """What a finished run found; ``warnings`` where one of an earlier version says none."""
        rows, about = read_rows(folder), read_about(folder)
        return cls(rows, about["cells"], about.get("warnings", list(warnings)), Audit.of_run(about))

    @property
    def _summary(self) -> Summary:
        """A line for each bound with each interval: certified accuracy at some radii."""
        first = self.cells[0]
        top = f" top-{first['top']}" if "top" in first else ""
        title = (
            f"{first['model']} with {first.get('noise', 'gaussian')} noise of "
            f"{first['sigma']:g}: certified{top} accuracy of {first['images']} images in "
            f"{first.get('norm', 'l2')}, each with {100 * first['confidence']:g} % confidence"
        )
        radii = [line["radius"] for line in first.get("at", ())] or self._some_radii()
        lines = [
            {
                "bound": cell.get("bound", ""),
                "interval": cell.get("interval", "")
                + ("" if cell.get("guaranteed", True) else " (does not hold)"),
                "abstained": percent(cell["abstained"]),
                "accuracy": percent(cell["accuracy"]),
                **{
                    f"at {radius(r, digits=6)}": percent(accuracy_at(cell["curve"], r))
                    for r in radii
                },
            }
            for cell in self.cells
        ]
        notes = [*([] if self.audit is None else [self.audit.sentence]), *self.warnings]
        return Summary(title, lines, notes)

    def _some_radii(self) -> list[float]:
        """Evenly spaced up to the largest certified one."""
        farthest = max(cell["curve"][-1][0] for cell in self.cells)
        steps = [float(f"{farthest * k / _RADII:.2g}") for k in range(1, _RADII + 1)]
        return list(dict.fromkeys(step for step in steps if step > 0))
