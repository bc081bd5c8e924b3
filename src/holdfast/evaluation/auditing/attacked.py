"""Checks of how far the attacks got, by the rows that they wrote: no pass through the model."""

import re

import numpy as np
import scipy

from holdfast import metrics
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.shares import at_least
from holdfast.evaluation.auditing.check import of_rows
from holdfast.evaluation.auditing.ledger import Ledger
from holdfast.results import CLEAN

#: Gradients that an image should have seen before it is called robust.
_STEPS = 20

#: Images below which a share says too little.
_ENOUGH = 10


@of_rows(
    "C2",
    "What falls at a size falls at every larger one",
    limit=0.05,
    fails=0.2,
    why="A larger ball holds the smaller one, so an attack that finds less in it searches badly.",
    then="Give the attack more steps or restarts at the larger sizes.",
)
def monotone(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 5.2: the attack's success rises with its budget.

    The share of images that some attack fooled at a size and none at the next larger one.
    """
    if ledger.settings.get("share_sizes"):
        raise NotRun("the sizes shared their work: what fell at one was not attacked again.")
    worst = 0.0
    sizes = 0
    attacked = ledger.rows[(ledger.rows["attack"] != CLEAN) & np.isfinite(ledger.rows["eps"])]
    for _, part in attacked.groupby("norm"):
        fooled = part.pivot_table(index="index", columns="eps", values="fooled", aggfunc="max")
        table = fooled.dropna().astype(bool).to_numpy()
        sizes = max(sizes, table.shape[1])
        lost = (table[:, :-1] & ~table[:, 1:]).mean(axis=0)
        worst = max(worst, *lost) if len(lost) else worst
    if sizes < 2:
        raise NotRun("every attack was run at one size.")
    return Finding(
        float(worst), f"{100 * worst:.1f} % of the images fell at a size and not at the next larger"
    )


@of_rows(
    "C14",
    f"Each image left has seen {_STEPS} gradients or more",
    limit=0.0,
    fails=0.7,
    why="A single step or a few say little about the worst case.",
    then="Run PGD with 40 steps or more, or the suite, --attacks worst-case.",
)
def steps_taken(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, sections 4.4 and 5.5: an iterative attack, with enough iterations.

    1 less the median number of gradients that an image left robust has seen, over 20; draws that a
    stochastic model's gradient averages over count as one.
    """
    if not len(ledger.last):
        raise NotRun("no attack left anything robust.")
    draws = ledger.settings.get("samples", 1) if ledger.settings.get("stochastic") else 1
    seen = float(ledger.last.groupby("index")["backwards"].sum().median()) / max(draws, 1)
    if seen == 0:
        return Finding(1.0, "no attack followed the model's own gradients on the images left")
    said = f"gradients that an image left has seen: {seen:.0f}"
    return Finding(max(0.0, 1 - seen / _STEPS), said)


@of_rows(
    "C14-length",
    "The steps together reach across the ball",
    limit=1.0,
    fails=1.0,
    why="Steps that cannot leave the middle of the ball have not searched it.",
    then="Leave step_size out: 2.5 eps / steps is used.",
)
def reach(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 5.5: hyperparameters of the attack; the step size among them.

    ε over the length of all steps, of the attack of which it is smallest.
    """
    size = ledger.size
    if size is None:
        raise NotRun("no attack left anything robust.")
    ratios = []
    for attack in ledger.settings["attacks"]:
        text = str(attack["attack"])
        number = re.search(r"\bsteps=(\d+), step_size=([\d.e+-]+)", text)
        if number is None:
            if re.search(r"steps=|queries=", text):  # its steps are its own to choose
                raise NotRun("the attacks choose their own steps.")
            continue
        ratios.append(size.eps / max(int(number[1]) * float(number[2]), 1e-12))
    if not ratios:
        raise NotRun("no attack has a step size.")
    return Finding(
        min(ratios), f"the steps add up to {1 / min(ratios):.2g} times the ball's radius"
    )


@of_rows(
    "C5",
    "No attack without gradients finds what those with gradients miss",
    limit=0.03,
    fails=0.1,
    why="Whoever sees the gradient sees more; if less is found with it, it misleads.",
    then="Look for a layer whose gradient lies, and go round it by BPDA or transfer.",
)
def white_box_is_stronger(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 5.7; AutoAttack's flag that Square lowers the accuracy.

    The share of images that fell to attacks without gradients alone, less that of images that fell
    to attacks with gradients alone; 0 unless McNemar's test tells them apart at 5 %. In ℓ0 random
    search is as strong: which components to change together no slope tells.
    """
    if ledger.size is not None and ledger.size.norm == "l0":
        raise NotRun("in l0 a search without gradients is no weaker than one that follows them.")
    here = ledger.here
    here = here[here["eps"] == (ledger.size.eps if ledger.size else 0)]
    if not len(here):
        raise NotRun("no attack left anything robust.")
    follows = here.groupby("attack")["backwards"].transform("sum") > 0
    late = here["by"].isin(ledger.late) & here["fooled"] if "by" in here else here["fooled"] & False
    without = (here["fooled"] & (~follows | late)).groupby(here["index"]).any()
    by_gradient = (here["fooled"] & follows & ~late).groupby(here["index"]).any()
    if follows.all() and not ledger.late:
        raise NotRun("every attack follows gradients.")
    if not follows.any():
        raise NotRun("no attack follows gradients.")
    more = int((without & ~by_gradient).sum())
    # A cascade's gradients come first, so what fell to them was never shown to the others.
    fewer = 0 if ledger.late else int((by_gradient & ~without).sum())
    clear = more > fewer and scipy.stats.binom.sf(more - 1, more + fewer, 0.5) < 0.05
    value = (more - fewer) / len(without) if clear else 0.0
    return Finding(
        value, f"{more} of {len(without)} images fell to attacks without gradients alone"
    )


@of_rows(
    "I1-rows",
    "The attacks' gradients were there",
    limit=0.05,
    fails=0.2,
    why="Where the gradient is 0 or absent an attack stands still, and what stands still stands.",
    then="Ascend another loss (goal=margin), or give the layer a surrogate gradient (BPDA).",
)
def gradients_were_there(ledger: Ledger) -> Finding:
    """Pintor et al. 2022, indicator 1: unavailable gradients; along the whole path here.

    The share of images left for which every attack that looked for gradients saw none.
    """
    looked = ledger.last[(ledger.last["backwards"] > 0) | ledger.last["blind"]]
    if not len(looked):
        raise NotRun("no attack looked for gradients on the images left.")
    blind = looked.groupby("index")["blind"].all()
    return Finding(
        float(blind.mean()), f"for {blind.sum()} of {len(blind)} images left no gradient was seen"
    )


@of_rows(
    "H-downhill",
    "The loss rose on the images left",
    limit=0.25,
    fails=0.5,
    why="An ascent that ends lower than it began was led astray.",
    then="Compare the gradient with finite differences, and look for the layer that differs.",
)
def uphill(ledger: Ledger) -> Finding:
    """Carlini et al. 2019, section 5.8, and Pintor et al. 2022: the loss along the attack rises.

    The smallest share, over the attacks that follow gradients, of moved images whose loss ended
    below that of the clean image.
    """
    if "loss" not in ledger.clean:
        raise NotRun("the rows hold no loss.")
    before = ledger.clean["loss"]
    shares: list[tuple[float, int]] = []
    moved = ledger.last[(ledger.last["l2"] > 0) & (ledger.last["backwards"] > 0)]
    for _, part in moved.groupby("attack"):
        if len(part) >= _ENOUGH:
            fell = part["loss"].to_numpy() < before[part["index"]].to_numpy()
            shares.append((float(fell.mean()), len(part)))
    if not shares:
        raise NotRun(f"fewer than {_ENOUGH} images left were moved.")
    share, number = min(shares)
    return Finding(share, f"the loss fell on {share * number:.0f} of {number} images left")


@of_rows(
    "I5",
    "What fools the source fools the target",
    limit=0.8,
    why="Where nothing transfers, the source says nothing about the target.",
    then="Attack the target itself, or train the source on the target's own answers.",
)
def transfers(ledger: Ledger) -> Finding:
    """Pintor et al. 2022, indicator 5: transfer failure.

    Of attacks crafted on another model: the share of right images that they left right.
    """
    crafted = metrics.crafted_elsewhere(ledger.settings)
    rows = ledger.here[ledger.here["attack"].isin(crafted)]
    if not len(rows):
        raise NotRun("no attack was crafted on another model.")
    others = ledger.here[~ledger.here["attack"].isin(crafted)]
    if others["fooled"].mean() > rows["fooled"].mean():
        raise NotRun("attacks on the model itself left fewer.")
    left = float((~rows["fooled"]).mean())
    standing = at_least(int((~rows["fooled"]).sum()), len(rows))
    return Finding(standing, f"{100 * left:.0f} % of the right images stood what was transferred")
