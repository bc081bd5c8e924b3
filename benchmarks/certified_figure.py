"""Certified accuracy of several votes in one figure (STN Fig. 1), each by a bound of its own.

    python benchmarks/certified_figure.py runs/certified \
        "stability, σ = 0.4=runs/stability-0.4" "noise only, PixelDP=runs/noise-0.4:pixeldp"

writes runs/certified.svg and .pdf. A curve is LABEL=RUN, LABEL=RUN:BOUND or
LABEL=RUN:BOUND:INTERVAL, of a folder of `holdfast certify`; by default Rényi's bound on
Clopper-Pearson limits.
"""

import sys
from pathlib import Path

import pandas as pd

from holdfast.report import figures, implied, style
from holdfast.report.subjects import read_subjects


def curve(spec: str) -> tuple[str, pd.DataFrame]:
    label, _, source = spec.rpartition("=")
    folder, bound, interval = [
        *source.split(":"),
        *("renyi", "clopper-pearson")[source.count(":") :],
    ]
    (subject,) = read_subjects([Path(folder)])
    (run,) = (
        run
        for classifier in subject.classifiers
        for run in classifier.certifications
        if (run.bound, run.interval) == (bound, interval)
    )
    return label, implied.floor(run, run.norm)


def main(path: Path, curves: list[str]) -> None:
    style.save(figures.certified_accuracy("l2", [curve(spec) for spec in curves]), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
