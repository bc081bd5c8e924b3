"""Checks that ask the smoothed classifier again: the same draws, others, and attacks."""

from functools import reduce
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

from holdfast.attacks import PGD, adapted
from holdfast.attacks.skips import hearing_skips
from holdfast.auditing.check import Finding, NotRun
from holdfast.certify.after_noise import CHANGES, change_after_noise
from holdfast.certify.auditing.check import of_model
from holdfast.certify.auditing.subject import Subject
from holdfast.certify.sampling import choose
from holdfast.certify.smoothing import certificate_stream
from holdfast.declarations import non_differentiable, purifiers
from holdfast.errors import GradientError
from holdfast.threat import L1, L2

#: Fresh draws by which an image is judged.
_DRAWS = 200

#: Fresh draws of each image where many images are judged together.
_FEW = 50

#: Of the radius, where an attack is tried: on the sphere itself rounding would decide.
_WITHIN = 0.9

#: Steps of the attack, and draws that each averages over.
_STEPS, _SAMPLES = 10, 16

#: Chance at which votes contradict a claim, over all images of a check together.
_CHANCE = 1e-3


@of_model(
    "S-seed",
    "The seed gives the votes that are written",
    limit=0.01,
    fails=0.02,
    why="Votes that nobody can draw again are of another model, other noise, or by hand.",
    then="Certify again, with the model, the images and the sigma that the record names.",
    weight=2,
)
def drawn_again(subject: Subject) -> Finding:
    """The share of votes that the run's own draws now give to other classes.

    Of a few images: those whose votes agree least, since equal votes are equal by any draws.
    """
    reproducible(subject)
    rows = next(subject.ledger.parts)[2].set_index("index")
    some = subject.divided("votes", float(rows["draws"].max()), most=4)
    written = rows.loc[some.index.numpy()]
    moved = 0.0
    for place, (counts, draws) in enumerate(
        zip(subject.ledger.counts(written["votes"]), written["draws"], strict=True)
    ):
        one = slice(place, place + 1)
        rng = certificate_stream(subject.ledger.config.seed, some.index[one].to(some.x.device))
        moved += _moved(subject.votes(some.x[one], rng, int(draws))[0], counts)
    total = int(written["draws"].sum())
    return Finding(
        moved / total, f"{moved:.0f} of {total} votes of {len(some)} images are others now"
    )


@of_model(
    "S-chosen",
    "The votes that chose the class are those of a stream of their own",
    limit=0.01,
    fails=0.02,
    why="A class that is chosen by the draws that bound it has a limit that is too high.",
    then="Draw the selection votes from a stream of their own.",
    weight=1,
)
def chosen_by_their_own(subject: Subject) -> Finding:
    """The share of selection votes that their own draws give to other classes.

    Of a few images: those whose selection votes agree least.
    """
    reproducible(subject)
    rows = next(subject.ledger.parts)[2].set_index("index")
    if "choice" not in rows:
        raise NotRun("the intervals need no votes that only choose the class.")
    n0, seed = subject.ledger.chosen_by, subject.ledger.config.seed
    some = subject.divided("choice", n0, most=16)
    rng = certificate_stream(seed, some.index.to(some.x.device))
    again = choose(subject.model, some.x, rng, n0=n0, batch_size=subject.batch_size)
    written = subject.ledger.counts(rows.loc[some.index.numpy(), "choice"])
    moved = sum(_moved(one, other) for one, other in zip(again, written, strict=True))
    return Finding(
        moved / (n0 * len(some)),
        f"{moved:.0f} of {n0 * len(some)} selection votes of {len(some)} images are others now",
    )


@of_model(
    "S-recount",
    "Fresh draws do not contradict the lower limits",
    limit=3,
    fails=3,
    why="p1 is to lie below the true share of votes: what fresh draws tell of it cannot be less.",
    then="See that sigma, model and images are those that were certified, and count again.",
    weight=3,
)
def counted_again(subject: Subject) -> Finding:
    """Exact binomial tests of p1: of each image, corrected for their number, and of all together.

    The sum of the votes of several images is the sum of draws of different probability, whose lower
    tail is no heavier than that of as many draws of their mean (Hoeffding 1956). Powers of ten by
    which the votes are rarer than by chance.
    """
    some = subject.certified(_DRAWS, most=16)
    p1, voted = subject.claimed(some, "p1"), subject.voted(some).cpu().numpy()
    counts = subject.fresh(some, some.x, _DRAWS, "recount")
    own = counts[np.arange(len(some)), voted]
    each = float(scipy.stats.binom.cdf(own, _DRAWS, p1).min()) * len(some)
    together = float(scipy.stats.binom.cdf(own.sum(), _DRAWS * len(some), p1.mean()))
    chance = min(1.0, 2 * min(each, together))
    return Finding(
        _powers(chance),
        f"{own.sum()} of {_DRAWS * len(some)} fresh votes are for the certified classes of "
        f"{len(some)} images, where the limits say {100 * p1.mean():.1f} %; that or less has a "
        f"chance of {chance:.2g} at most",
    )


@of_model(
    "S-fresh",
    "Fresh draws agree as often as those that are written",
    limit=3,
    fails=3,
    why="Votes that agree better than others of the same noise were chosen, changed or not drawn.",
    then="See that sigma, model and images are those that were certified, and count again.",
    weight=3,
)
def votes_alike(subject: Subject) -> Finding:
    """Fisher's exact tests of the votes for the label: of each image, and of all together.

    The label hangs on no draw, as the class of the votes would, so that of all votes for it the
    fresh ones are a draw without replacement. Powers of ten by which they are rarer than by chance.
    """
    ledger = subject.ledger
    if ledger.config.sequential:
        raise NotRun("how well sequential votes agree hangs on where they stopped.")
    some = subject.some(_FEW, most=32, fewest=1)
    rows = next(ledger.parts)[2].set_index("index").loc[some.index.numpy()]
    at = np.arange(len(some)), some.y.cpu().numpy()
    counts = ledger.counts(rows["votes"])
    written, own = counts[at].astype(int), subject.fresh(some, some.x, _FEW, "fresh")[at]
    law = scipy.stats.hypergeom(counts.sum(axis=1).astype(int) + _FEW, written + own, _FEW)
    each = float(np.minimum(law.cdf(own), law.sf(own - 1)).min()) * len(some)
    of_all = reduce(np.convolve, law.pmf(np.arange(_FEW + 1)[:, None]).T)
    together = min(of_all[: own.sum() + 1].sum(), of_all[own.sum() :].sum())
    chance = min(1.0, 4 * min(each, float(together)))
    return Finding(
        _powers(chance),
        f"{own.sum()} of {_FEW * len(some)} fresh votes, and {written.sum()} of "
        f"{counts.sum():.0f} that are written, are for the labels of {len(some)} images; so far "
        f"apart by a chance of {chance:.2g} at most",
    )


@of_model(
    "S-attack",
    "No attack inside the radius wins against the vote",
    limit=2,
    fails=3,
    why="Within its radius a certificate holds against every attack, but for its error.",
    then="Look at the images named: their radii, limits, and what answers there.",
    weight=6,
)
def attacked_within(subject: Subject) -> Finding:
    """PGD on averaged gradients at 0.9 of each radius; then the vote is asked, by fresh draws.

    A certificate is broken if another class, with ``top`` = k if k others, get more votes than the
    certified one by more than chance, an exact test corrected for the number of images. Each may be
    wrong with the probability that its confidence leaves: powers of ten by which as many are rarer
    than by that.
    """
    config = subject.ledger.config
    layers = (*non_differentiable(subject.bare), *purifiers(subject.bare))
    attack_costs = (_STEPS + 1) * _SAMPLES * 2 * (1 + 2 * bool(layers))
    some = subject.certified(attack_costs + 2 * _DRAWS, most=8)
    ball = L2 if config.norm == "l2" else L1
    radii, voted = subject.claimed(some, "radius"), subject.voted(some)
    x_adv = some.x.clone()
    for place, radius in enumerate(radii):
        one = slice(place, place + 1)
        attack = PGD(ball(_WITHIN * float(radius)), steps=_STEPS)
        try:
            with hearing_skips():
                x_adv[one] = adapted(attack, subject.bare, samples=_SAMPLES, votes=50)(
                    subject.model, some.x[one], voted[one], seed=subject.seed, index=some.index[one]
                )
        except GradientError as error:
            raise NotRun(f"{error}") from error
    counts = subject.fresh(some, x_adv, _DRAWS, "attacked")
    places, classes = np.arange(len(some)), voted.cpu().numpy()
    own = counts[places, classes]
    apart = np.where(np.eye(counts.shape[1])[classes] > 0, 0, counts)
    others = -np.sort(-apart, axis=1)[:, config.top - 1]  # with top, k others must win
    broken = scipy.stats.binom.sf(others - 1, others + own, 0.5) < _CHANCE / len(some)
    number = int(broken.sum())
    chance = float(scipy.stats.binom.sf(number - 1, len(some), 1 - config.confidence))
    where = ", ".join(str(each) for each in some.index[torch.from_numpy(broken)].tolist())
    return Finding(
        _powers(chance),
        f"an attack within {_WITHIN:g} of the radius won on {number} of {len(some)} images"
        + (f" ({where})" if number else ""),
    )


@of_model(
    "S-labels",
    "The labels are those of the images",
    limit=0,
    fails=0,
    why="Certified accuracy is how often the certified class is the true one.",
    then="Put the run folder's copy back, or repeat the certification.",
    weight=0.01,
    overstates=False,
)
def labels_of_the_images(subject: Subject) -> Finding:
    """Counts the rows with another label than the image of that number has; takes no pass."""
    rows = subject.ledger.rows
    own = subject.data.y.cpu().numpy()[rows["index"].to_numpy()]
    wrong = int((rows["label"].to_numpy() != own).sum())
    said = f"{wrong} rows have another label than their image"
    return Finding(wrong, said if wrong else "every row has the label of its image")


@of_model(
    "S-behind",
    "No layer changes the images after the noise, or it says that it does",
    limit=0,
    why="The certificate holds, and is about another noise than sigma says.",
    then="Let the noise be the last thing before the network, or declare the layer.",
    weight=0.05,
    overstates=False,
)
@torch.no_grad()
def nothing_behind(subject: Subject) -> Finding:
    """1 if images are clipped, standardised one by one, or rounded behind the noise, undeclared."""
    if subject.ledger.config.family.first_layer:
        raise NotRun("the noise is behind the first layer.")
    if non_differentiable(subject.network) or purifiers(subject.network):
        return Finding(0, "what changes the images after the noise is declared by its layer")
    some = subject.some(1, most=8, fewest=1)
    found = change_after_noise(subject.network, some.x)
    subject.aside += (len(CHANGES) + 3) * len(some)
    said = "nothing clips, standardises or rounds the images after the noise"
    if found is not None:
        said = f"the model {found} after the noise, and no layer declares it"
    return Finding(float(found is not None), said)


def reproducible(subject: Subject) -> None:
    """Draws of the network's own, that it declares to nobody, hang on the batch.

    Raises:
        NotRun: if there are such.
    """
    if subject.ledger.settings.get("model_answers") is None:
        raise NotRun("the network answers otherwise from time to time, by draws of its own.")


def _moved(one: NDArray[Any], other: NDArray[Any]) -> float:
    """How many votes went to other classes."""
    wide = max(len(one), len(other))
    one, other = (np.pad(counts, (0, wide - len(counts))) for counts in (one, other))
    return float(np.abs(one - other).sum()) / 2


def _powers(chance: float) -> float:
    """Of ten, by which something is rarer than certain."""
    return max(0.0, -float(np.log10(max(chance, 1e-300))))
