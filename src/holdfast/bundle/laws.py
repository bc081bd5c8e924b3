"""What must be true of the rows of an evaluation, whatever the model is.

A row that was edited in one column contradicts another; one that was edited in all of them does
not, and only the model tells.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.bundle.finding import Finding, contradicted, holds
from holdfast.results import CLEAN, ROWS
from holdfast.statistics import beyond_chance

#: What rounding may add to a distance, or to a limit.
_WITHIN = 1 + 1e-6


class Law(NamedTuple):
    """A law of rows.

    Attributes:
        words: what is said of a row that breaks it.
        needs: columns that rows of earlier versions may lack.
        broken: of rows as `_seen` has them, whether each breaks it.
    """

    words: str
    needs: tuple[str, ...]
    broken: Callable[[pd.DataFrame], Any]


LAWS = (
    Law(
        "label is not that of the unattacked image",
        (),
        lambda r: r["label"] != r["label_before"],
    ),
    Law(
        "clean_prediction is not that of the unattacked image",
        (),
        lambda r: r["clean_prediction"] != r["prediction_before"],
    ),
    Law(
        "fooled is not what prediction and label say",
        (),
        lambda r: r["fooled"] != (r["hit"] | ~r["right"]),
    ),
    Law(
        "it was wrong without an attack and has another prediction after one",
        (),
        lambda r: ~r["met"] & (r["prediction"] != r["clean_prediction"]),
    ),
    Law(
        "by is not what fooled says",
        ("by",),
        lambda r: (r["by"] == "none") == r["fooled"],
    ),
    Law(
        "by is not what clean_prediction says",
        ("by",),
        lambda r: (r["by"] == CLEAN) == r["right"],
    ),
    Law(
        "rank is not what prediction and label say",
        ("rank", "votes"),
        lambda r: (
            (r["votes"] == 1)
            & (r["right"] | (r["attack"] == CLEAN))
            & ((r["rank"] > 0) != r["hit"])
        ),
    ),
    Law(
        "ahead is not what votes and rank say",
        ("ahead", "rank"),
        lambda r: (
            (r["ahead"] > r["rank"])
            | ((r["ahead"] > 0) != beyond_chance(r["votes_for_prediction"], r["votes_for_label"]))
        ),
    ),
    Law(
        "loss is missing",
        ("loss",),
        lambda r: r["loss"].isna(),
    ),
    Law(
        "x_l2 or x_linf is not that of the unattacked image",
        ("x_l2", "x_linf"),
        lambda r: ~r["as_long"],
    ),
    Law(
        "more votes are for the label than for the prediction",
        (),
        lambda r: r["votes_for_label"] > r["votes_for_prediction"],
    ),
    Law(
        "it has more votes than were drawn",
        ("votes",),
        lambda r: r["votes_for_prediction"] > r["votes"],
    ),
    Law(
        "the unattacked image is at a distance",
        (),
        lambda r: (r["attack"] == CLEAN) & (r["linf"] > 0),
    ),
    Law(
        "the adversarial image is outside its ball",
        (),
        lambda r: (r["attack"] != CLEAN) & (r["own"] > r["eps"] * _WITHIN),
    ),
    Law(
        "its distances are of no image: linf <= l2 <= l1 does not hold",
        (),
        lambda r: (r["linf"] > r["l2"] * _WITHIN) | (r["l2"] > r["l1"] * _WITHIN),
    ),
    Law(
        "its distances are of no image: l1 <= l0 linf does not hold",
        ("l0",),
        lambda r: r["l1"] > r["l0"] * r["linf"] * _WITHIN,
    ),
)


def consistent(rows: pd.DataFrame, attack_all: bool, where: str) -> Iterator[Finding]:
    """Hold the rows of an evaluation against the laws.

    Args:
        rows: of a run that has been checked by the schema.
        attack_all: whether images were attacked too that were wrong without.
        where: the run.
    """
    seen, file, wrong = _seen(rows, attack_all), f"{where}/{ROWS}", 0
    laws = [law for law in LAWS if set(law.needs) <= {*rows}]
    for law in laws:
        bad = rows[np.asarray(law.broken(seen), dtype=bool)]
        if len(bad):
            wrong += 1
            yield contradicted(file, "rows", f"{law.words}: {_first(bad)}.")
    if not wrong:
        yield holds(file, "rows", f"{len(rows)} rows agree under {len(laws)} laws.")


def _seen(rows: pd.DataFrame, attack_all: bool) -> pd.DataFrame:
    """Rows, with what the laws speak of."""
    clean = rows[rows["attack"] == CLEAN].drop_duplicates("index").set_index("index")
    right = rows["clean_prediction"] == rows["label"]
    others = [norm for norm in ("l0", "l1", "l2") if norm in rows]
    lengths = [name for name in ("x_l2", "x_linf") if name in rows]
    before = clean[lengths].reindex(rows["index"]).to_numpy()
    return rows.assign(
        label_before=rows["index"].map(clean["label"]),
        prediction_before=rows["index"].map(clean["prediction"]),
        right=right,
        met=right | attack_all | (rows["attack"] == CLEAN),
        as_long=np.isclose(rows[lengths].to_numpy(), before, rtol=_WITHIN - 1).all(axis=1),
        hit=rows["prediction"] != rows["label"],
        own=np.select(
            [rows["norm"] == norm for norm in others],
            [rows[norm] for norm in others],
            rows["linf"],
        ),
    )


def _first(bad: pd.DataFrame) -> str:
    """The first of some rows, and how many there are."""
    row = bad.iloc[0]
    name = row["attack"]
    if name != CLEAN:
        name = metrics.title(name, row["norm"], row["eps"])
    return f"{name}, image {row['index']}" + (f" and {len(bad) - 1} more" if len(bad) > 1 else "")
