"""The suite: attacks of different kinds, one after another on what is still robust.

An evaluation is worth what its strongest attack is worth, and which attack that is differs from
network to network and from image to image. The suite holds AutoAttack's four (APGD on the
cross-entropy, APGD-T, FAB-T and Square; in ℓ1 FMN in place of Square) and the second-order attack,
in ℓ2 DDN too, each with fewer steps than there; cheap ones come first, since an image that has
fallen costs nothing more. In ℓ0, where these are not defined, it holds σ-zero, greedy search and
Sparse-RS. With a budget of passes it holds what breaks most for a pass, see
`holdfast.attacks.budget`.
"""

import math

from torch import Tensor

from holdfast.attacks.adaptive import adapted
from holdfast.attacks.apgd import APGD, APGDT
from holdfast.attacks.budget import parts_within
from holdfast.attacks.ddn import DDN
from holdfast.attacks.engine.attack import Attack
from holdfast.attacks.engine.compose import Broken, Worst
from holdfast.attacks.engine.names import ATTACKS
from holdfast.attacks.fab import FAB
from holdfast.attacks.fmn import FMN
from holdfast.attacks.greedy import Greedy
from holdfast.attacks.second_order import SecondOrder
from holdfast.attacks.sigma_zero import SigmaZero
from holdfast.attacks.sparse_rs import SparseRS
from holdfast.attacks.square import Square
from holdfast.errors import InputError
from holdfast.goals import TopMargin, margin
from holdfast.parameters import Seed, check_arguments, check_top
from holdfast.types import Callback, Goal, Images, Labels, Model, Threat

__all__ = ["AutoAttack", "Standard", "WorstCase", "worst_case"]

#: Images that meet every part: if of so many none fell that had seemed far, 3 % of all at most do.
_PILOT = 100


@ATTACKS.named("worst-case")
def WorstCase(
    threat: Threat,
    *,
    steps: int = 40,
    targets: int = 9,
    queries: int = 2500,
    budget: int | None = None,
    pilot: int | None = None,
    top: int = 1,
) -> Worst:
    """The suite, as one attack: `Standard`, or what a budget of passes pays for.

        x_adv = A_i(x),  i = the first of A_1, A_2, ... after which f(A_i(x)) ≠ y

    An image that fell meets no further part, so that the worst case costs little more than its
    dearest part on what stands.

    With ``budget`` it is `holdfast.attacks.budget`: the parts that break most for a pass, and for
    each image no more passes than that, forward and backward together; in ℓ1 an image that falls in
    FMN's last steps takes up to ten more, which make sure of it. What it leaves and takes beside
    AutoAttack, which spends some 9,700 on an image that it leaves, is in
    docs/results/attack-strength.md. What a model calls for (`adapted`) comes on top of it: another
    variant of a part takes its passes again, an average over draws as many times.

    In a budget the dear parts must earn their keep: an image of whose margin an early part has left
    much is *far*, and falls to no later one on most networks. `holdfast.evaluate` runs every part
    on ``pilot`` images, drawn by the seed, and where none of them fell that had been far, spares
    the later parts to the other images that are. Of Square, the last, all that still stand are far:
    it is there for models that hide their gradients. The evaluation says how many of those that
    were spared would fall at most, with 95 % confidence. Where the model hides its gradients, draws
    random numbers, or has a twin, all images meet all parts, and so does a batch that is attacked
    by itself.

    When:
        For the number to report. With ``budget=1500`` while developing; with ``budget=8000``, or
        without one, for the last.

    When not:
        For a distance: `Nearest`. Inside training, where its parts stop early and cost far too
        much.

    Traps:
        What it leaves is an upper bound of robust accuracy, and no certificate. A stochastic or
        purifying model gets more variants by itself, and takes as many times longer. With a budget,
        images that are far are spared the dear parts: read how many of these the evaluation says
        would fall at most.

    Args:
        threat: the ball, with a finite ε.
        steps: see `Standard`.
        targets: see `Standard`.
        queries: see `Standard`.
        budget: passes an image; the other numbers follow from it, and cannot be given too.
        pilot: with a budget: images that meet every part before any is spared some; 100 by
            default, 0 to run all parts on all images. In ℓ0 none is spared any.
        top: see `Standard`; without a budget.

    Raises:
        InputError: if a number is out of range, the budget too small for the first part, a pilot is
            given without a budget, several classes with one, or the threat has no limit.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020, whose four attacks it holds; the recipes within a budget
        are this project's own (docs/results/attack-strength.md).

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import WorstCase
        >>> WorstCase(Linf(0.3)).names
        ('apgd-ce', 'second-order', 'apgd-t', 'fab-t', 'square')
        >>> WorstCase(Linf(0.3), budget=1500).names
        ('apgd-ce', 'odi-averaged', 'malt', 'odi-averaged-again', 'odi', 'square')
    """
    check_arguments(WorstCase, locals())
    if budget is None:
        if pilot is not None:
            raise InputError(
                f"worst-case is given a pilot of {pilot} images and no budget, but the standard "
                "suite runs all its parts on every image: give a budget too, or leave it out."
            )
        return Standard(threat, steps=steps, targets=targets, queries=queries, top=top)
    if top != 1:
        raise InputError(
            f"worst-case is given a budget of {budget} passes and top={top}, but the parts that a "
            "budget pays for aim at the first class; leave the budget out."
        )
    if (steps, targets, queries) != (40, 9, 2500):
        raise InputError(
            f"worst-case is given a budget of {budget} passes and steps, targets or queries too, "
            "which follow from a budget; leave either out."
        )
    if threat.p == 0 and pilot:
        raise InputError(
            f"worst-case is given a pilot of {pilot} images in l0, where all parts run on every "
            "image; leave it out."
        )
    _check_limit(threat)
    parts = parts_within(threat, budget)
    spares = threat.p != 0
    return Worst(
        tuple(part.attack for part in parts),
        called=tuple(part.name for part in parts),
        budget=budget,
        near=tuple(part.near for part in parts) if spares else (),
        pilot=(_PILOT if pilot is None else pilot) if spares else 0,
    )


@ATTACKS.named("standard")
def Standard(
    threat: Threat, *, steps: int = 40, targets: int = 9, queries: int = 2500, top: int = 1
) -> Worst:
    """The standard suite, as one attack: APGD, S-O, DDN, APGD-T, FAB-T, Square.

        x_adv = A_i(x),  i = the first of A_1, A_2, ... after which f(A_i(x)) ≠ y

    Its parts stay what they are, so that numbers can be compared with published ones. DDN runs in
    ℓ2 only. Square is not defined in ℓ1, where FMN takes its place. In ℓ0 the parts are σ-zero,
    greedy search and Sparse-RS.

    With ``top`` = k > 1 every part pushes the label out of the first k classes (`goals.TopMargin`).
    APGD-T and FAB-T, which go towards one class each, are not among them; FMN is, in ℓ∞ and ℓ1.

    When:
        Where numbers are to be compared with those of the same parts elsewhere; with ``top``, for
        top-k robust accuracy.

    When not:
        For your own number: `WorstCase`.

    Traps:
        Its parts have fewer steps than AutoAttack's of the same name. An image that is broken meets
        no further part, so that counts of what each part broke hang on their order. With ``top``
        the robust accuracy itself is an upper limit that may be far too high.

    Args:
        threat: the ball, with a finite ε.
        steps: of each attack that follows gradients; APGD takes twice as many, S-O and FAB-T half,
            σ-zero and greedy search five times as many.
        targets: target classes of APGD-T and FAB-T, one after another.
        queries: of Square and Sparse-RS.
        top: k, at least 1 and below the number of classes.

    Raises:
        InputError: if a number is out of range, or the threat has no limit; at the attack, if the
            model has no more than ``top`` classes.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020, with 100 steps and 5,000 queries; Li et al.,
        "Second-order adversarial attack and certifiable robustness", 2019. The parts in ℓ0 are this
        project's choice.

    Example:
        >>> from holdfast import L0, L2
        >>> from holdfast.attacks import Standard
        >>> Standard(L2(0.5)).names
        ('apgd-ce', 'second-order', 'ddn', 'apgd-t', 'fab-t', 'square')
        >>> Standard(L2(0.5), top=5).names
        ('apgd-top', 'second-order', 'ddn', 'square')
        >>> Standard(L0(10)).names
        ('sigma-zero', 'greedy', 'sparse-rs')
    """
    check_arguments(Standard, locals())
    _check_limit(threat)
    check_top(top)
    if threat.p == 0:
        return _sparse(threat, TopMargin(top) if top > 1 else margin, steps, queries)
    if top > 1:
        return _among(threat, TopMargin(top), steps, queries)
    half = max(steps // 2, 1)
    parts: dict[str, Attack] = {"apgd-ce": APGD(threat, steps=2 * steps)}
    parts["second-order"] = SecondOrder(threat, steps=half, samples=8)
    if threat.p == 2:
        parts["ddn"] = DDN(threat, steps=2 * steps, early_stop=True)
    parts["apgd-t"] = APGDT(threat, targets=targets, steps=steps, annealed=threat.p != 1)
    parts["fab-t"] = FAB(threat, targets=targets, steps=half, early_stop=True)
    if threat.p == 1:
        parts["fmn"] = FMN(threat, steps=2 * steps, early_stop=True)
    else:
        parts["square"] = Square(threat, queries=queries)
    return Worst(tuple(parts.values()), called=tuple(parts))


def _among(threat: Threat, goal: TopMargin, steps: int, queries: int) -> Worst:
    """Parts that push the label out of the first k classes; none goes towards one class."""
    half = max(steps // 2, 1)
    parts: dict[str, Attack] = {
        "apgd-top": APGD(threat, steps=2 * steps, restarts=2, goal=goal),
        "second-order": SecondOrder(threat, steps=half, samples=8, goal=goal),
    }
    if threat.p == 2:
        parts["ddn"] = DDN(threat, steps=2 * steps, goal=goal, early_stop=True)
    else:
        parts["fmn"] = FMN(threat, steps=2 * steps, goal=goal, early_stop=True)
    if threat.p != 1:
        parts["square"] = Square(threat, queries=queries, goal=goal)
    return Worst(tuple(parts.values()), aim=goal, called=tuple(parts))


def _sparse(threat: Threat, goal: Goal, steps: int, queries: int) -> Worst:
    """Parts that change few components: many of them together, one by one, and at random."""
    parts: dict[str, Attack] = {
        "sigma-zero": SigmaZero(threat, steps=5 * steps, goal=goal, early_stop=True),
        "greedy": Greedy(threat, steps=5 * steps, goal=goal, early_stop=True),
        "sparse-rs": SparseRS(threat, queries=queries, goal=goal),
    }
    return Worst(tuple(parts.values()), aim=goal, called=tuple(parts))


def _check_limit(threat: Threat) -> None:
    """Refuse a ball without a limit, in which the first point found would end the search."""
    if math.isinf(threat.eps):
        raise InputError(
            f"the threat is {threat!r}, but the suite needs a limit; give a finite eps."
        )


@ATTACKS.named("autoattack")
def AutoAttack(threat: Threat, *, steps: int = 100, targets: int = 9, queries: int = 5000) -> Worst:
    """AutoAttack's standard version by Holdfast's parts: APGD, APGD-T, FAB-T, Square.

        x_adv = A_i(x),  i = the first of A_1 ... A_4 after which f(A_i(x)) ≠ y

    The same attacks in the same order with its numbers of steps, target classes and queries, and
    not its code: robust accuracies are close to its own and not equal image by image. `WorstCase`
    breaks about as much for less than half of the passes.

    When:
        To compare with numbers that AutoAttack gave elsewhere.

    When not:
        For your own number: `WorstCase` with a budget breaks more for less. Not on a model that
        draws random numbers or purifies, which AutoAttack's standard version was not made for.

    Traps:
        These are its parts and not its code, so that accuracies are near to its own and not equal
        image by image. ART's attack of this name has other parts (DeepFool, no targeted APGD), and
        its numbers compare with neither.

    Args:
        threat: the ball, with a finite ε, in ℓ∞ or ℓ2.
        steps: of each attack that follows gradients.
        targets: target classes of APGD-T and FAB-T, one after another.
        queries: of Square.

    Raises:
        InputError: if a number is out of range, the threat has no limit, or is in ℓ1 or ℓ0, where
            Square is not defined here.

    Reference:
        Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
        parameter-free attacks", ICML 2020.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import AutoAttack
        >>> AutoAttack(Linf(8 / 255)).names
        ('apgd-ce', 'apgd-t', 'fab-t', 'square')
    """
    check_arguments(AutoAttack, locals())
    if threat.p not in (2, math.inf):
        raise InputError(
            f"autoattack is not defined in {threat.name}, but in linf and l2, as Square is: use "
            "worst-case."
        )
    _check_limit(threat)
    parts: dict[str, Attack] = {
        "apgd-ce": APGD(threat, steps=steps),
        "apgd-t": APGDT(threat, targets=targets, steps=steps, annealed=False),
        "fab-t": FAB(threat, targets=targets, steps=steps, early_stop=True),
        "square": Square(threat, queries=queries),
    }
    return Worst(tuple(parts.values()), called=tuple(parts))


def worst_case(
    model: Model,
    x: Images,
    y: Labels,
    threat: Threat,
    *,
    budget: int | None = None,
    top: int = 1,
    samples: int = 10,
    votes: int = 100,
    seed: Seed = 0,
    index: Tensor | None = None,
    callback: Callback | None = None,
) -> Broken:
    """Run the suite, and tell which attack broke which image.

        broken = worst_case(model, x, y, Linf(0.3))
        robust_accuracy = (broken.by < 0).float().mean()

    What the model declares about itself (`holdfast.declarations`) adds attacks to the suite: on a
    stochastic model gradients are averaged (EOT) and votes decide; where a layer is not
    differentiable or cleans images, every part also runs with a surrogate gradient (BPDA), and
    with a penalty on the reconstruction error (R). Parts that need a gradient where none reaches
    the images are skipped with a warning, and Square goes on. What a model hides without a
    declaration is looked for by `holdfast.evaluation.adapt`, which makes an attack of any.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        x: (N, C, H, W) clean images in [0, 1].
        y: (N,) true classes.
        threat: the ball, with a finite ε.
        budget: passes an image, see `WorstCase`; the standard suite by default.
        top: how many of the first classes the label is pushed out of, see `Standard`; not with a
            budget.
        samples: draws that a gradient averages over on a stochastic model.
        votes: draws that decide a stochastic model's prediction.
        seed: the same seed gives the same images, whatever the batch size, but for rounding.
        index: (N,) identity of each image, which keys its random numbers; 0 ... N - 1.
        callback: receives every iteration.

    Returns:
        The images, and for each which attack of ``names`` broke it, -1 where none did. An image
        that the model gets wrong by itself counts as broken by the first.

    Raises:
        InputError, InputTypeError, ModelError: as every attack.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import worst_case
        >>> broken = worst_case(model, x, y, Linf(0.3), seed=0)
        >>> float((broken.by < 0).float().mean())  # robust accuracy
        0.0
    """
    suite = adapted(WorstCase(threat, budget=budget, top=top), model, samples=samples, votes=votes)
    assert isinstance(suite, Worst)
    return suite.run(model, x, y, seed=seed, index=index, callback=callback)
