"""The figure of Rényi's bound against PixelDP's (SO Fig. 4, STN Fig. 4), with Cohen's added.

    python benchmarks/bounds_figure.py docs/bounds

writes docs/bounds.svg and docs/bounds.pdf. Left, all other probability lies on one class; right, it
is spread evenly over nine.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from holdfast.certify import cohen_radius, pixeldp_radius, renyi_radius
from holdfast.report import figures, style


def main(path: Path) -> None:
    panels = []
    for others, title in ((1, "p₂ = 1 - p₁"), (9, "p₂ = (1 - p₁) / 9")):
        p1 = np.linspace(1 / (1 + others), 0.999, 400)
        p2 = (1 - p1) / others
        table = pd.DataFrame(
            {
                "p1": p1,
                "Cohen et al. (tight)": cohen_radius(p1, p2, 1.0),
                "Rényi (SO, STN)": renyi_radius(p1, p2, 1.0),
                "PixelDP": pixeldp_radius(p1, p2, 1.0),
            }
        )
        panels.append((title, table))
    style.save(figures.bounds(panels), path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
