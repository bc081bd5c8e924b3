"""How large and how slow the report of a large study is: 10 models × 10 attacks × 10,000 images.

    python benchmarks/report_study.py [--sizes 1]

The runs are made up, with images that fall at random, which compress worst. Printed are the size of
the page, and the time, of the processor and of the clock, that the whole report takes with its
figures and tables. It is to stay below 10 MB and 30 s; on one core that other work shared it was
1.3 MB and 17 s of the processor.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from holdfast.files import write_json, write_table
from holdfast.report.page import build
from holdfast.results.reading import digest

MODELS, ATTACKS, IMAGES, CLASSES = 10, 10, 10_000, 10


def made_up(folder: Path, number: int, sizes: int) -> Path:
    """A finished evaluation of a model, as `holdfast evaluate` leaves it."""
    draw = np.random.default_rng(number)
    label = draw.integers(0, CLASSES, IMAGES)
    same = {
        "index": range(IMAGES),
        "label": label,
        "clean_prediction": label,
        "blind": False,
        **dict.fromkeys(("l0", "rank", "loss", "forwards", "backwards"), 1),
        **dict.fromkeys(("votes", "votes_for_prediction", "votes_for_label"), 1),
        "x_l2": 10.0,
        "x_linf": 1.0,
        "by": "none",
    }
    still = {"attack": "clean", "norm": "none", "eps": 0.0, "prediction": label, "fooled": False}
    parts = [pd.DataFrame({**same, **still, "l1": 0.0, "l2": 0.0, "linf": 0.0})]
    cells, attacks = [], []
    for step in range(1, sizes + 1):
        for attack in range(ATTACKS):
            eps, name = 8 / 255 * step / sizes, f"attack-{attack}"
            fooled = draw.random(IMAGES) < 0.03 * step * (1 + attack)
            seen = np.where(fooled, (label + 1) % CLASSES, label)
            about = {"attack": name, "norm": "linf", "eps": eps}
            found = {"prediction": seen, "fooled": fooled, "l1": 1.0, "l2": 0.5, "linf": eps}
            parts.append(pd.DataFrame({**same, **about, **found}))
            robust = float(1 - fooled.mean())
            cells.append({**about, "clean_accuracy": 1.0, "robust_accuracy": robust})
            attacks.append({"name": name, "attack": f"PGD(threat=Linf(eps={eps}))"})
    folder.mkdir()
    write_table(folder / "rows.csv", pd.concat(parts))
    settings = {
        "model": f"nets/model-{number}",
        "model_fingerprint": f"{number:016x}",
        "sigma": None,
        "data": "made up",
        "data_fingerprint": "0",
        "images": IMAGES,
        "shape": [3, 32, 32],
        "attacks": attacks,
        "seed": 0,
    }
    about = {"format": 2, "kind": "evaluate", "complete": True, "settings": settings}
    classes = [f"class {label}" for label in range(CLASSES)]
    written = digest((folder / "rows.csv").read_bytes())
    more = {"classes": classes, "cells": cells, "rows_sha256": written}
    write_json(folder / "run.json", {**about, **more})
    return folder


def main() -> None:
    """Make up the runs, and time their report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, default=1, help="of each attack")
    sizes = parser.parse_args().sizes
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        runs = [made_up(root / f"run-{number}", number, sizes) for number in range(MODELS)]
        clock, processor = time.perf_counter(), time.process_time()
        page = build(runs, root / "report", "A study")
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        weight = page.stat().st_size / 1e6
        print(f"{weight:.1f} MB, {processor:.1f} s of the processor, {clock:.1f} s of the clock")


if __name__ == "__main__":
    main()
