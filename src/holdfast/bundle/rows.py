"""What one run says of its rows, worked out again from them, and the rows held against each other.

No model is asked. What run.json and rows.csv say of each other by their digests is looked at too,
but believed in nothing: who edits a row can edit a digest.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from holdfast import metrics
from holdfast.auditing.check import Verdict
from holdfast.bundle.audits import audited_again
from holdfast.bundle.finding import Finding, contradicted, holds, unchecked
from holdfast.bundle.laws import consistent
from holdfast.bundle.manifest import checksum
from holdfast.bundle.same import of_other_version, same_value, short
from holdfast.certify.auditing.check import CHECKS as OF_CERTIFICATES
from holdfast.certify.auditing.ledger import Certificate
from holdfast.certify.auditing.ledger import Ledger as Certified
from holdfast.certify.auditing.run import audited as audited_certificates
from holdfast.certify.rows import cells_of
from holdfast.errors import DamagedFileError
from holdfast.evaluation.auditing.check import CHECKS as OF_ATTACKS
from holdfast.evaluation.auditing.ledger import Ledger as Attacked
from holdfast.evaluation.auditing.run import audited as audited_attacks
from holdfast.results import ABOUT, ROWS
from holdfast.results.reading import digest_of, read_about, read_csv
from holdfast.results.schema import check_rows

#: Columns that rows of an evaluation may lack, if an earlier version wrote them.
_WRITTEN = ("by", "l0", "x_l2", "x_linf", "loss", "far", "votes", "rank", "ahead")

#: What rounding may move: of a limit, whose mean scores are written to nine digits, and of a radius
#: that is rounded down to a millionth.
_LIMIT, _RADIUS = 1e-7, 1.5e-6

#: Of the checks that an audit makes of rows alone, one that hangs on which parts of a cascade come
#: last, and that only the attacks themselves tell.
_OF_CASCADES = "C5"

#: The audit's checks of certificates whose failure is an error of arithmetic.
_ARITHMETIC = ("S-votes", "S-classes", "S-abstained")


def read_run(run: Path, where: str) -> tuple[dict[str, Any], pd.DataFrame, list[Finding]]:
    """What a run wrote, and whether its digests fit, which nothing else hangs on.

    Raises:
        MissingFileError, DamagedFileError: if it cannot be read, or is not what a run writes.
    """
    about, rows = read_about(run), read_csv(run / ROWS)
    found = []
    written = {name: about[name] for name in about if name != "sha256"}
    if about.get("sha256") not in (None, digest_of(written)):
        found.append(
            contradicted(f"{where}/{ABOUT}", "digest", "it was changed: its own digest is another.")
        )
    if about.get("rows_sha256") not in (None, checksum(run / ROWS)):
        found.append(
            contradicted(
                f"{where}/{ROWS}", "digest", f"it was changed: its digest in {ABOUT} is another."
            )
        )
    if not about["complete"]:
        raise DamagedFileError(f"{where} is not finished.")
    check_rows(run, about, rows)
    return about, rows, found


def of_evaluation(about: Mapping[str, Any], rows: pd.DataFrame, where: str) -> Iterator[Finding]:
    """The cells, warnings and audit of an evaluation, and its rows among themselves."""
    cells = about["cells"]
    parts = [list(cell.get("broken_by", ())) for cell in cells]
    again = metrics.evaluation_cells(
        metrics.ranked(rows, len(about["classes"])),
        parts,
        [cell.get("skipped", {}) for cell in cells],
    )
    model = about["settings"]["model"]
    spared = metrics.spared(rows, about["settings"])
    for place, (mine, written) in enumerate(zip(again, cells, strict=False)):
        if "spared" in written:
            mine["spared"] = spared.get(place)
        elif place in spared:
            said = f"cells[{place}].spared is missing: parts were spared to images that were far."
            yield contradicted(f"{where}/{ABOUT}", "cells", said)
    yield from _cells([{"model": model, **cell} for cell in again], cells, where)
    told = [*metrics.skipped(cells), *metrics.noted(cells), *metrics.blind_attacks(rows)]
    told += metrics.left_out(about["settings"])
    yield from _warnings(told, about, where)
    yield from _complete(about, rows, where)
    yield from consistent(rows, bool(about["settings"].get("attack_all", False)), where)
    ledger = Attacked(rows, about["settings"], cells, len(about["classes"]))
    without = {_OF_CASCADES} if any(parts) else set()
    audit = audited_attacks(ledger, None)
    yield from audited_again(about, audit, OF_ATTACKS.values(), without, where)


def of_certification(
    about: Mapping[str, Any], rows: pd.DataFrame, where: str, lipschitz: float | None = None
) -> Iterator[Finding]:
    """The cells and audit of a certification, and its certificates from their votes.

    Args:
        about: what run.json says.
        rows: of the run.
        where: the run.
        lipschitz: Λ of what comes before the noise, which only the model tells where that is the
            network's first layer.
    """
    lacking = [name for name in ("p1", "p2", "abstained", "draws", "votes") if name not in rows]
    if lacking:
        said = f"its rows, of an earlier version, lack {', '.join(lacking)}."
        yield unchecked(where, "certificates", said)
        return
    on_image = about["settings"].get("noise", "gaussian") != "first-layer"
    known = 1.0 if on_image else lipschitz
    ledger = Certified(rows, about["settings"], about["cells"], len(about["classes"]), known or 1.0)
    model = about["settings"]["model"]
    yield from _cells(cells_of(rows, ledger.config, model), about["cells"], where)
    yield from _proven(ledger, known is not None, where)
    again = audited_certificates(ledger, None)
    for check in again.checks:
        if check.id in _ARITHMETIC and check.verdict is Verdict.FAIL:
            yield contradicted(f"{where}/{ROWS}", "certificates", f"{check.said} ({check.id})")
    # A ceiling is of evaluations that stood beside it, and Λ may not be known.
    without = {"S-ceiling"} | (set() if known is not None else {"S-radius"})
    yield from audited_again(about, again, OF_CERTIFICATES.values(), without, where)


def _cells(
    again: list[dict[str, Any]], written: list[dict[str, Any]], where: str
) -> Iterator[Finding]:
    """Every number of the cells that hangs on rows."""
    file, wrong = f"{where}/{ABOUT}", 0
    if len(again) != len(written):
        said = f"it has {len(written)} cells, and its rows are of {len(again)}."
        yield contradicted(file, "cells", said)
        return
    for place, (mine, cell) in enumerate(zip(again, written, strict=True)):
        for name in mine:
            # Runs of earlier versions do not say everything; what they say is looked at.
            if name in cell and not same_value(mine[name], cell[name]):
                wrong += 1
                said = f"cells[{place}].{name} is {short(cell[name])}, and the rows give"
                yield contradicted(file, "cells", f"{said} {short(mine[name])}.")
    if not wrong:
        numbers = sum(
            len(mine.keys() & cell.keys()) for mine, cell in zip(again, written, strict=True)
        )
        said = f"{numbers} entries of {len(written)} cells are what the rows give."
        yield holds(file, "cells", said)
    apart = sorted({name for cell in written for name in cell} - {n for one in again for n in one})
    if apart:
        yield unchecked(file, "cells", f"{', '.join(apart)}: no row tells of these.")


def _complete(about: Mapping[str, Any], rows: pd.DataFrame, where: str) -> Iterator[Finding]:
    """Columns that are not there are held against nothing: only an earlier version lacks any."""
    lacking = [name for name in _WRITTEN if name not in rows]
    if lacking:
        said = f"its rows lack {', '.join(lacking)}, which this version writes of every image."
        verdict = unchecked if of_other_version(about) else contradicted
        yield verdict(f"{where}/{ROWS}", "rows", said)


def _warnings(told: Iterable[str], about: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Warnings that follow from the rows stand there; others rest on what was seen on the way."""
    written = about.get("warnings", [])
    verdict = unchecked if of_other_version(about) else contradicted
    silent = [text for text in told if text not in written]
    for text in silent:
        said = f"the rows call for a warning that is not there: {text}"
        yield verdict(f"{where}/{ABOUT}", "warnings", said)


def _proven(ledger: Certified, radii: bool, where: str) -> Iterator[Finding]:
    """Limits, classes and radii from the votes, both ways: neither more nor less."""
    file, wrong, total = f"{where}/{ROWS}", 0, 0
    for one in ledger.certificates:
        rows, proven = one.rows, one.proven
        apart = {
            "p1": np.abs(rows["p1"].to_numpy() - proven.p1) > _LIMIT,
            "p2": np.abs(rows["p2"].to_numpy() - proven.p2) > _LIMIT,
            "prediction": rows["prediction"].to_numpy() != proven.prediction,
        }
        if radii:
            apart["radius"] = np.abs(rows["radius"].to_numpy() - proven.radius) > _RADIUS
        total += len(rows)
        for name, bad in apart.items():
            if bad.any():
                wrong += 1
                yield contradicted(file, "certificates", _unproven(one, name, bad))
    if not wrong:
        what = "limits, classes and radii" if radii else "limits and classes"
        yield holds(file, "certificates", f"{what} of {total} rows are what their votes prove.")
    if not radii:
        said = (
            "radii: they are divided by a bound of the network's first layer, which only the model "
            "tells."
        )
        yield unchecked(file, "certificates", said)


def _unproven(one: Certificate, name: str, bad: NDArray[np.bool_]) -> str:
    row, place = one.rows[bad].iloc[0], int(bad.argmax())
    proven = getattr(one.proven, name)[place]
    return (
        f"{one}: {name} is not what the votes prove in {int(bad.sum())} rows, first of image "
        f"{row['index']}: {row[name]:.7g}, and {proven:.7g} by its votes {row['votes']!r:.60}."
    )
