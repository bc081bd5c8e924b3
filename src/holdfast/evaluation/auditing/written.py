"""Checks of what an evaluation wrote: no pass through the model."""

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.shares import at_least
from holdfast.evaluation.auditing.check import of_rows
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.results import CLEAN
from holdfast.threat import BALLS

#: Settings without which a robust accuracy means nothing.
_STATED = ("attacks", "data", "data_fingerprint", "images", "model", "seed", "shape")


@of_rows(
    "C1",
    "The threat model and all settings are recorded",
    limit=0,
    fails=0,
    why="A robust accuracy is about one ball, one attacker and one set of images.",
    then="Repeat the evaluation with this version.",
    overstates=False,
)
def stated(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 3: the threat model, and what it takes to repeat an evaluation.

    Counts the settings that the record lacks, and the cells without a norm or a size.
    """
    missing = [name for name in _STATED if name not in ledger.settings]
    cells = ledger.rows[ledger.rows["attack"] != CLEAN][metrics.CELL].drop_duplicates()
    vague = int((~cells["norm"].isin(list(BALLS)) | cells["eps"].isna()).sum())
    said = "every attack has a norm, a size, its settings and a seed"
    if missing or vague:
        lacking = [*missing, *(["a norm or a size"] if vague else [])]
        said = f"the record lacks {', '.join(lacking)}"
    return Finding(len(missing) + vague, said)


@of_rows(
    "C10",
    "Every number is what the rows say, image by image",
    limit=1e-9,
    fails=1e-9,
    why="A worst case is over the attacks on each image, never over their averages.",
    then="Put the run folder's copy back, or repeat the evaluation.",
    overstates=False,
)
def of_rows_alone(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 4.10: the worst case of each example, not the mean.

    The largest difference between the accuracy in a cell and that of its rows.
    """
    again = metrics.cells(ledger.rows[ledger.rows["attack"] != CLEAN])
    table = pd.DataFrame(ledger.cells)
    said = table["robust_accuracy"].astype(float)
    apart = (said.to_numpy() - again["robust_accuracy"].to_numpy())[said.notna()]
    largest = float(np.abs(apart).max()) if len(apart) else 0.0
    strongest = float(again["robust_accuracy"].min())
    worst = float(ledger.worst["robust_accuracy"].min())
    return Finding(
        largest,
        f"worst case {100 * worst:.1f} %, the strongest attack alone {100 * strongest:.1f} %"
        if largest <= 1e-9
        else f"a cell is {100 * largest:.1f} points from its rows",
    )


@of_rows(
    "C11",
    "There are enough images to read the numbers",
    limit=0.5,
    why="An interval of half the scale tells nothing.",
    then="Evaluate on more images.",
    overstates=False,
)
def enough_images(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 3.3: accuracy with its error.

    The width of the 95 % Clopper-Pearson interval of the worst case.
    """
    worst = ledger.worst
    line = worst.loc[worst["robust_accuracy"].idxmin()]
    width = float(line["high"] - line["low"])
    return Finding(width, f"the worst case's 95 % interval is {100 * width:.0f} points wide")


@of_rows(
    "C13",
    "Every adversarial image lies within its ball",
    limit=1e-6,
    fails=1e-6,
    why="What lies outside is no attack of the threat model.",
    then="Project the attack's result, and measure in float64.",
    overstates=False,
)
def within_the_ball(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 5.9: the perturbation is what it should be, measured anew.

    The largest distance in the rows over its limit, less 1.
    """
    rows = ledger.rows[ledger.rows["eps"].between(0, np.inf, inclusive="neither")]
    if not len(rows):
        raise NotRun("no attack has a limit.")
    excess = max(float((part[norm] / part["eps"]).max()) - 1 for norm, part in rows.groupby("norm"))
    return Finding(max(excess, 0.0), "the largest distance is within its limit by 1e-6")


@of_rows(
    "H-skipped",
    "Every attack that was asked for was run",
    limit=0.0,
    fails=None,
    why="What was skipped may be what would have broken the model.",
    then="Give the layer that cuts the gradient a surrogate backward pass (BPDA).",
)
def nothing_skipped(ledger: Ledger) -> Finding:
    """AutoAttack's flags: an attack that cannot run leaves the number higher than it should be.

    How many attacks, parts of one and variants were skipped or left out.
    """
    out = [*ledger.skipped, *ledger.settings.get("left_out", ())]
    said = "nothing was skipped or left out"
    return Finding(len(out), f"skipped or left out: {', '.join(out)}" if out else said)


@of_rows(
    "H-hidden",
    "The model hides nothing",
    limit=0.0,
    fails=0.5,
    why="What hides its gradient, its draws or its memory leads attacks astray without a word.",
    then="Declare what the layer does, or name a model that shows its gradients.",
)
def nothing_hidden(ledger: Ledger) -> Finding:
    """Athalye et al. 2018: obfuscated gradients, found layer by layer before the attacks.

    0.5 if the evaluation found something and its attacks go round all of it, 1 if they do not.
    """
    found = ledger.settings.get("found", ())
    if not found:
        return Finding(0.0, "the evaluation found nothing that hides")
    unmet = [one for one in found if not one["met"]]
    one = (unmet or found)[0]
    where = f"the layer {one['layer']} ({one['type']})" if one["layer"] else "the model"
    how = f"; {one['met']}" if one["met"] else "; nothing goes round it"
    return Finding(1.0 if unmet else 0.5, f"{where} {one['said']}{how}")


@of_rows(
    "H-chance",
    "The model knows more than one who guesses",
    limit=1.0,
    why="An accuracy at chance is most often a wrong normalisation or wrong labels.",
    then="Look at the images and their scale, and at the order of the classes.",
    overstates=False,
)
def above_chance(ledger: Ledger) -> Finding:
    """RobustBench's issue 105 and AutoAttack's 86: models scored on wrongly scaled images.

    Chance over the lower end of the clean accuracy's 95 % interval.
    """
    right = int((~ledger.clean["fooled"]).sum())
    number = len(ledger.clean)
    return Finding(
        ledger.chance / max(at_least(right, number), 1e-9),
        f"{right} of {number} images are right without an attack, of {ledger.classes} classes",
    )


@of_rows(
    "H-classes",
    "Every class of the images is answered",
    limit=0.0,
    fails=0.5,
    why="A class that is never answered is wrong on all its images, before any attack.",
    then="Look at the order of the classes, and whether the model has collapsed.",
    overstates=False,
)
def classes_answered(ledger: Ledger) -> Finding:
    """A sign of shifted labels or of a collapsed model, which no attack shows.

    The share of the classes with five images or more that the model never answers.
    """
    counts = ledger.clean["label"].value_counts()
    known = counts.index[counts >= 5]
    if len(known) < 2:
        raise NotRun("fewer than two classes have five images.")
    silent = sorted(set(known) - set(ledger.clean["clean_prediction"]))
    said = f"all {len(known)} classes are answered"
    return Finding(
        len(silent) / len(known),
        f"never answered: {', '.join(map(str, silent))}" if silent else said,
    )
