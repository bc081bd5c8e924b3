"""``holdfast report``: finished runs make one page."""

from pathlib import Path

from holdfast.report.page import build


def report(
    runs: list[Path],
    *,
    out: Path = Path("report"),
    title: str = "Robustness report",
    quiet: bool = False,
) -> None:
    """Make one page of evaluations and certifications.

    Runs of the same network are shown together: robust accuracy, certified accuracy, and the gap.
    The page's figures answer to the mouse and the keyboard, and it needs no other file and no
    network. Figures (PDF, SVG), tables (CSV, LaTeX) and images (PNG) for a paper lie beside it. It
    says how a network was trained if the folder of that run is given too, and shows loss surfaces
    and other figures of holdfast diagnose if those of its runs are.

    Example:
        holdfast report runs/stn runs/eval runs/cert --out report
        holdfast report runs/eval runs/surface --out report

    Args:
        runs: Folders written by holdfast evaluate, holdfast certify, holdfast train and
            holdfast diagnose; of a study, all of its runs.
        out: Folder for the report.
        title: Title of the page.
        quiet: Do not say where the page is.
    """
    page = build(runs, out, title)
    if not quiet:
        print(f"report: {page}")
