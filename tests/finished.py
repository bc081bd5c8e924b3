"""A step of a reproduction as it lies in its folder when it is done, for tests that read one."""

import json
from pathlib import Path

import pandas as pd


def finish(folder: Path, rows: pd.DataFrame | None = None) -> None:
    """Write what a finished command leaves: its record and, where there are any, its rows."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "kind": "a command of which nothing more is known",
        "complete": True,
        "settings": {},
        "hardware": {"accelerator": None, "cores": 1},
        "versions": {"torch": "0"},
    }
    (folder / "run.json").write_text(json.dumps(about))
    if rows is not None:
        rows.to_csv(folder / "rows.csv", index=False)
