"""``holdfast bundle``: finished runs and their report, in one file."""

from pathlib import Path

from holdfast.bundle import write_bundle


def bundle(
    runs: list[Path],
    *,
    out: Path = Path("study.zip"),
    title: str = "Robustness report",
    laboratory: str | None = None,
    customer: str | None = None,
    authorised_by: str | None = None,
    issued: str | None = None,
    quiet: bool = False,
) -> None:
    """Put finished runs and their report into one file that a stranger can check.

    It holds rows, settings, figures, the page, the environment, the images that the runs kept, a
    test report in the order in which laboratories report, and a manifest with the SHA-256 of each
    file. The same runs make the same file. It claims conformity with nothing. What is printed is
    the SHA-256 of the manifest, to be signed or published.

    Example:
        holdfast bundle runs/eval runs/cert --out study.zip
        holdfast bundle runs/eval --out study.zip --laboratory "A, 1 B Road" --issued 2026-01-31

    Args:
        runs: Folders written by holdfast evaluate, holdfast certify, holdfast train and
            holdfast diagnose; of a study, all of its runs.
        out: The zip file; one that is there is not overwritten.
        title: Title of the report.
        laboratory: Name and address of who ran them.
        customer: Name and contact of who asked for them.
        authorised_by: Who authorises the report.
        issued: Date of its issue.
        quiet: Do not print the SHA-256 of the manifest.
    """
    manifest = write_bundle(
        runs,
        out,
        title=title,
        laboratory=laboratory,
        customer=customer,
        authorised_by=authorised_by,
        issued=issued,
    )
    if not quiet:
        print(f"bundle: {out}\nSHA-256 of its manifest: {manifest}")
