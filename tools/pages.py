"""Write the tables of the pages in docs/results anew from the numbers beside them.

python tools/pages.py            write them, after a change of how they are shown
python tools/pages.py --check    exit with 1 if one is not what it would be

No number is made here: each was written to its CSV file by ``holdfast reproduce``.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from holdfast.reproduce import Curves, Plane, Recipe, Scale, Table, papers, verdicts
from holdfast.reproduce.shown import shown

RESULTS = Path(__file__).parents[1] / "docs/results"


def rewritten(page: str, one: Recipe, folder: Path, scale: str) -> str:
    """The page of an item with each table as its numbers say.

    Args:
        page: its text.
        one: the item.
        folder: of the page.
        scale: at which the item was done.
    """
    start = 0
    for part in one.build(Scale(scale)).parts:
        heading = f"\n## {part.title}\n"
        if not isinstance(part, Table | Curves | Plane) or heading not in page[start:]:
            continue
        start = page.index(heading, start) + 1
        table = page.index("\n|", start) + 1
        end = page.find("\n## ", start)
        end = len(page) if end < 0 else end
        words = dict.fromkeys(("row", "column", "why"), str)
        found = pd.read_csv(folder / f"{part.name}.csv", dtype=words).fillna({"why": ""})
        lines = shown(part, found)
        page = page[:table] + "\n".join(lines) + "\n" + page[end:]
    return page


def pages() -> Iterator[tuple[Path, Recipe, str]]:
    """Of items that have one: its path, the item, the scale."""
    for one in (one for paper in papers() for one in paper.recipes):
        kept = verdicts.read(RESULTS / one.name)
        if kept is not None:
            yield RESULTS / one.name / "README.md", one, kept.scale


def main() -> int:
    """Write, or check."""
    stale = []
    for path, one, scale in pages():
        page = path.read_text(encoding="utf-8")
        new = rewritten(page, one, path.parent, scale)
        if new != page:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(path)
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
