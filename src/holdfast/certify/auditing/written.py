"""Checks of what a certification wrote, worked out again from the votes: no pass of the model."""

import numpy as np
import pandas as pd

from holdfast import metrics
from holdfast.auditing.check import Finding, NotRun
from holdfast.certify.auditing.check import of_rows
from holdfast.certify.auditing.ledger import Ledger
from holdfast.statistics import Array

#: Settings without which a certified accuracy means nothing.
_STATED = (
    *("model", "data", "data_fingerprint", "images", "shape", "seed"),
    *("sigma", "noise", "norm", "votes", "selection_votes", "confidence", "bounds", "intervals"),
)

#: Settings that cells repeat.
_IN_CELLS = ("sigma", "noise", "norm", "votes", "confidence")

#: What rounding may move: of a limit, whose mean scores are written to nine digits, and of a radius
#: that is rounded down to a millionth.
_LIMIT, _RADIUS = 1e-7, 1.5e-6

#: Divided images below which equal votes may be chance.
_ENOUGH = 5


@of_rows(
    "S-stated",
    "Noise, votes, confidence, bound and interval are recorded",
    limit=0,
    fails=0,
    why="A certificate is about one noise, one confidence and one way from votes to a radius.",
    then="Repeat the certification with this version.",
    overstates=False,
)
def stated(ledger: Ledger) -> Finding:
    """Counts the settings, and the columns of the evidence, that the record lacks."""
    evidence = ["p1", "p2", "abstained", "draws", "votes"]
    evidence += ["choice"] if ledger.config.chooses else []
    missing = [name for name in _STATED if name not in ledger.settings]
    missing += [name for name in evidence if name not in ledger.rows]
    said = "noise, votes, confidence, bounds, intervals and the votes themselves are recorded"
    return Finding(len(missing), f"the record lacks {', '.join(missing)}" if missing else said)


@of_rows(
    "S-guaranteed",
    "The confidence limits hold with the stated confidence",
    limit=0,
    fails=1,
    why="Limits that were never guaranteed prove nothing, however many votes they rest on.",
    then="Give --intervals two-sample, clopper-pearson or sequential.",
)
def guaranteed(ledger: Ledger) -> Finding:
    """1 if an interval is there for comparison only, 2 if the record says otherwise."""
    without = [
        interval
        for interval in dict.fromkeys(interval for _, interval, _ in ledger.parts)
        if not ledger.config.limits(interval).guaranteed
    ]
    hidden = [
        cell
        for cell in ledger.cells
        if cell["interval"] in without and cell.get("guaranteed", True)
    ]
    if not without:
        return Finding(0, "every interval holds with the stated confidence")
    said = f"the limits of {', '.join(without)} do not hold with the stated confidence"
    return Finding(2 if hidden else 1, said + (", and the record says that they do" * bool(hidden)))


@of_rows(
    "S-votes",
    "Every image has the votes that were asked for, the same for all certificates",
    limit=0,
    fails=0,
    why="Votes that were left out or drawn again are a choice among results.",
    then="Put the run folder's copy back, or repeat the certification.",
)
def votes_asked_for(ledger: Ledger) -> Finding:
    """Counts the rows whose votes are not as many as the settings say."""
    config, wrong, first = ledger.config, 0, None
    for _, _, part in ledger.parts:
        drawn = ledger.counts(part["votes"]).sum(axis=1)
        bad = drawn != part["draws"].to_numpy()
        bad |= (drawn > config.votes) if config.own_votes else (drawn != config.votes)
        if "choice" in part:
            bad |= ledger.counts(part["choice"]).sum(axis=1) != ledger.chosen_by
        evidence = part.set_index("index")["votes"]
        first = evidence if first is None else first
        bad |= (first.reindex(evidence.index) != evidence).to_numpy()
        wrong += int(bad.sum())
    most = "at most " if config.own_votes else ""
    chosen = f" after {ledger.chosen_by} that chose" if ledger.chosen_by else ""
    return Finding(
        wrong,
        f"{wrong} rows have other votes than the {most}{config.votes}{chosen}"
        if wrong
        else f"every image has {most}{config.votes} votes{chosen}",
    )


@of_rows(
    "S-apart",
    "The class is chosen by draws that do not count",
    limit=0,
    fails=0,
    why="A class that is chosen by the draws that bound it has a limit that is too high.",
    then="Draw the selection votes from a stream of their own.",
)
def chosen_apart(ledger: Ledger) -> Finding:
    """Cohen et al. 2019, section 3.2.2: selection and estimation are two samplings.

    Whether all images that are divided have the very votes, or their very shares, in both.
    """
    if "choice" not in ledger.rows:
        raise NotRun("the intervals need no votes that only choose the class.")
    part = next(ledger.parts)[2]
    chosen, counted = ledger.counts(part["choice"]), ledger.counts(part["votes"])
    divided = (chosen > 0).sum(axis=1) > 1
    if divided.sum() < _ENOUGH:
        raise NotRun(f"the selection votes are divided on fewer than {_ENOUGH} images.")
    one, other = (table / table.sum(axis=1, keepdims=True) for table in (chosen, counted))
    same = int((one == other).all(axis=1)[divided].sum())
    number = int(divided.sum())
    return Finding(
        float(same == number),
        f"on {same} of {number} divided images the selection votes are those that count",
    )


@of_rows(
    "S-limits",
    "p1 and p2 are no better than the votes prove",
    limit=_LIMIT,
    fails=_LIMIT,
    why="The confidence is that of the limits: p1 must lie below the truth, and p2 above.",
    then="Work the limits out again, by holdfast.certify.certificates.",
)
def limits_proven(ledger: Ledger) -> Finding:
    """How far a lower limit lies above, or an upper one below, what the interval gives."""
    worst, where = 0.0, "every limit is what the votes prove"
    for one in ledger.certificates:
        above = one.rows["p1"].to_numpy() - one.proven.p1
        below = one.proven.p2 - one.rows["p2"].to_numpy()
        excess = np.maximum(above, below)
        if excess.max() > worst:
            worst = float(excess.max())
            where = _where(one.rows, excess, f"the limits of {one} claim {worst:.3g} too much")
    return Finding(worst, where)


@of_rows(
    "S-radius",
    "No radius is above what the votes prove, rounded down",
    limit=_RADIUS,
    fails=_RADIUS,
    why="A radius beyond the bound's is no certificate.",
    then="Work the radii out again, by holdfast.certify.certificates.",
)
def radii_proven(ledger: Ledger) -> Finding:
    """By how much a radius exceeds that of the run's own bound, from the votes, in float64."""
    worst, where = 0.0, "every radius is what the votes prove, or less"
    for one in ledger.certificates:
        excess = one.rows["radius"].to_numpy() - one.proven.radius
        if excess.max() > worst:
            worst = float(excess.max())
            where = _where(one.rows, excess, f"a radius of {one} is {worst:.3g} too large")
    return Finding(worst, where)


@of_rows(
    "S-classes",
    "Nothing is certified unless p1 exceeds p2, and it is the class of the votes",
    limit=0,
    fails=0,
    why="Where the limits overlap, or at a p1 of 1/2 with p2 = 1 - p1, another class may lead.",
    then="Abstain there: the prediction is -1.",
)
def classes_apart(ledger: Ledger) -> Finding:
    """Counts predictions where the limits overlap, written or proven, or of another class."""
    wrong = 0
    for one in ledger.certificates:
        said = one.rows["prediction"].to_numpy()
        overlap = (one.rows["p1"] <= one.rows["p2"]).to_numpy()
        other = said != one.proven.prediction
        wrong += int(((said >= 0) & (overlap | other)).sum())
    return Finding(
        wrong,
        f"{wrong} predictions are not those of the votes, or of limits that overlap"
        if wrong
        else "every prediction is that of the votes, and of limits that are apart",
    )


@of_rows(
    "S-abstained",
    "An abstention has no radius, and counts as wrong",
    limit=0,
    fails=0,
    why="Who answers nothing has not answered rightly.",
    then="Set the radius to 0 and the prediction to -1 where the classifier abstains.",
)
def abstentions(ledger: Ledger) -> Finding:
    """Counts abstentions with a radius or a prediction, and the reverse."""
    rows = ledger.rows
    none = rows["prediction"] == -1
    wrong = int(((none & (rows["radius"] > 0)) | (rows["abstained"] != none)).sum())
    return Finding(
        wrong,
        f"{wrong} abstentions have a radius or a prediction"
        if wrong
        else f"{int(none.sum())} of {len(rows)} rows abstain, and have no radius",
    )


@of_rows(
    "S-cells",
    "Certified accuracy is what the rows and settings say, image by image",
    limit=1e-9,
    fails=1e-9,
    why="Certified accuracy is over all images: of each, right and certified at that radius.",
    then="Put the run folder's copy back, or repeat the certification.",
    overstates=False,
)
def of_rows_alone(ledger: Ledger) -> Finding:
    """The largest difference between a cell of run.json and what its rows amount to.

    Of accuracy, abstentions, the curve and the radii of interest; 1 if it is said to be of other
    noise, norm, votes, confidence or number of first classes than the settings are.
    """
    told = [
        name
        for cell in ledger.cells
        for name in _IN_CELLS
        if cell.get(name, getattr(ledger.config, name)) != getattr(ledger.config, name)
    ]
    told += ["top" for cell in ledger.cells if cell.get("top", 1) != ledger.config.top]
    if told:
        return Finding(1.0, f"a cell says another {told[0]} than the settings")
    again = metrics.certification_cells(ledger.rows, list(ledger.settings.get("radii", ())))
    worst = 0.0 if len(again) == len(ledger.cells) else 1.0
    for mine, written in zip(again, ledger.cells, strict=False):
        for name in ("accuracy", "abstained"):
            worst = max(worst, abs(mine[name] - written[name]))
        for name, radius in (("curve", 0), ("at", "radius")):
            value = 1 if name == "curve" else "accuracy"
            same = [each[radius] for each in mine[name]] == [e[radius] for e in written[name]]
            apart = [
                abs(one[value] - other[value])
                for one, other in zip(mine[name], written[name], strict=False)
            ]
            worst = max(worst, *apart, 0.0) if same else 1.0
    return Finding(
        worst,
        "accuracy, abstentions and curves are what the rows say"
        if worst <= 1e-9
        else f"a cell is {100 * worst:.1f} points from its rows",
    )


@of_rows(
    "S-images",
    "There are enough images to read the numbers",
    limit=0.5,
    why="An interval of half the scale tells nothing.",
    then="Certify more images.",
    overstates=False,
)
def enough_images(ledger: Ledger) -> Finding:
    """The width of the 95 % Clopper-Pearson interval of certified accuracy, at its widest."""
    widths = []
    for _, _, part in ledger.parts:
        line = metrics.certified(part, [0.0]).iloc[0]
        widths.append(float(line["high"] - line["low"]))
    said = f"the 95 % interval of certified accuracy is {100 * max(widths):.0f} points wide"
    return Finding(max(widths), said)


@of_rows(
    "S-ceiling",
    "No more is certified than attacks left robust",
    limit=0,
    fails=0,
    why="What is proven cannot be broken: one of the two is wrong.",
    then="See that both are of one smoothed classifier, and look for what the votes rest on.",
)
def below_the_ceiling(ledger: Ledger) -> Finding:
    """By how much certified accuracy exceeds robust accuracy, at its worst, on the same images.

    Of labels that are certified among the first k classes, what is left is by how many classes the
    votes prefer to the label, whatever the attacks aimed at.
    """
    if ledger.attacked is None or ledger.holding is None:
        raise NotRun("no attack on the same smoothed classifier and images is beside it.")
    norm, top = ledger.config.norm, ledger.config.top
    shown = ledger.attacked[ledger.attacked["norm"] == norm]
    if not len(shown):
        raise NotRun(f"no attack on the same smoothed classifier is in {norm}.")
    shown = metrics.telling(shown, top)
    if not len(shown):
        raise NotRun(
            f"no attack has votes enough to tell what is left among {top} classes: 10 for each."
        )
    over = metrics.overclaimed(shown, ledger.holding.rows, norm)
    among = f" top-{top}" if top > 1 else ""
    if not len(over):
        sizes = shown["eps"].nunique()
        said = f"certified{among} accuracy is at most robust{among} accuracy at {sizes} sizes"
        return Finding(0.0, said)
    over = over.assign(by=over["certified"] - over["robust_accuracy"])
    line = over.loc[over["by"].idxmax()]
    return Finding(
        float(line["by"]),
        f"at {norm} {line['eps']:g}, {100 * line['certified']:.1f} % are certified{among}, and"
        f" attacks left {100 * line['robust_accuracy']:.1f} %",
    )


def _where(rows: pd.DataFrame, excess: Array, said: str) -> str:
    """A sentence with the image where the excess is largest."""
    count = int((excess > 1e-12).sum())
    return f"{said}, at image {rows['index'].iloc[int(excess.argmax())]} ({count} in all)"
