"""Checks by other attacks, on images that were left robust: none of them should fall."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from holdfast.attacks import APGD, BPDA, FGSM, PGD, Ascent, On, SecondOrder, SparseRS, Square
from holdfast.attacks.engine.active import Tree
from holdfast.attacks.engine.starts import in_ball
from holdfast.auditing.asked import Some
from holdfast.auditing.check import Finding, NotRun
from holdfast.auditing.shares import at_least
from holdfast.evaluation.auditing.check import of_model
from holdfast.evaluation.auditing.subject import Subject
from holdfast.goals import dlr, margin
from holdfast.tensors import unit
from holdfast.types import Images, Model, Threat

#: How much too high a robust accuracy may be, and how much before the check fails.
_LIMIT, _FAILS = 0.01, 0.05


@of_model(
    "C8",
    "Random points of the ball fool nothing that the attacks left",
    limit=0.0,
    fails=0.02,
    why="Noise is the weakest attack of all: what it finds, any attack should have found.",
    then="Mend the attack; where answers jump, average the gradient.",
    weight=7.5,
)
def random_points(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.3: brute force and random noise at the same size; C9 too.

    By how much the accuracy is too high at least, after ten points of the ball for each image (four
    where votes decide), half of them at its corners.
    """
    points = 4 if subject.stochastic else 10
    some = subject.some_left(points * 2.5 * subject.votes, most=32)
    rng = subject.rng(some, "random")
    fallen = torch.zeros(len(some), dtype=torch.bool, device=some.x.device)
    for number in range(points):
        point = subject.threat.sample(some.x, rng.fold(number))
        if number % 2:  # a corner of the cube, a point of the sphere
            away = subject.threat.steepest(point - some.x)
            point = subject.threat.project(some.x + subject.threat.reach(some.x) * away, some.x)
        stream = rng.fold("ask", number)
        with subject.alone():
            fallen |= subject.predictions(point, stream) != some.y
    return subject.too_high(fallen, f"{points} random points")


@of_model(
    "C4",
    "A single step fools nothing that the attacks left",
    limit=_LIMIT,
    fails=_FAILS,
    why="Many steps reach whatever one step reaches; where they do not, the loss is not smooth.",
    then="Begin at random points, give more restarts, and look at the loss surface.",
    weight=2,
)
def single_step(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.6: iterative attacks are no weaker than single-step ones.

    By how much the accuracy is too high at least, after one step of the margin's gradient.
    """
    some = subject.some_left(subject.cost(2), most=32)
    attack = subject.adapted(FGSM(subject.metric, goal=margin))
    return subject.too_high(subject.fallen(attack, some, "C4"), "one step along the gradient")


@of_model(
    "C12",
    "Another loss fools nothing that the attacks left",
    limit=_LIMIT,
    fails=_FAILS,
    why="Which loss works best hangs on the model.",
    then="Run the suite, --attacks worst-case, or PGD with goal=margin.",
    weight=11.5,
)
def another_loss(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.9; Tramèr et al. 2020: several losses, targeted ones too.

    By how much the accuracy is too high at least, after APGD of 20 steps from a random start on DLR
    or, where that was ascended before, on the margin. In ℓ1, where a slope averaged over noise
    shows more components that matter, after ten steps of S-O on the margin.
    """
    if subject.threat.p == 1:
        averaged = SecondOrder(subject.metric, steps=10, samples=2, goal=margin)
        some = subject.some_left(subject.cost(25))
        fallen = subject.fallen(subject.adapted(averaged), some, "C12")
        return subject.too_high(fallen, "S-O on the margin")
    known = subject.ledger.losses
    goal, name = (margin, "the margin") if "dlr" in known else (dlr, "DLR")
    some = subject.some_left(subject.cost(21))
    attack = subject.adapted(APGD(subject.metric, steps=20, goal=goal, random_start=True))
    return subject.too_high(subject.fallen(attack, some, "C12"), f"APGD on {name}")


@of_model(
    "C3",
    "Without a limit every image falls",
    limit=0.05,
    fails=0.2,
    why="In a ball that holds every image, an attack that leaves any has not seen where to go.",
    then="Look for the layer whose gradient lies, and go round it by BPDA or transfer.",
    weight=11,
)
def unlimited(subject: Subject) -> Finding:
    """Carlini et al. 2019, section 5.2; Pintor et al. 2022, indicator 6: unconstrained failure.

    The share of images left that stand, with 95 % confidence at least, in a ball as large as the
    box against PGD of 20 steps on the margin from the image, less what one who guesses has right.
    """
    some = subject.some_left(subject.cost(20), most=12)
    attack = subject.adapted(PGD(subject.box, steps=20, goal=margin, random_start=False))
    standing = ~subject.fallen(attack, some, "C3")
    count, number = int(standing.sum()), len(some)
    return Finding(
        max(0.0, at_least(count, number) - subject.ledger.chance),
        f"{count} of {number} images left stand a gradient attack without a limit",
    )


@of_model(
    "A-square",
    "Random search fools nothing that the attacks left",
    limit=_LIMIT,
    fails=_FAILS,
    why="It sees no gradient, so what it finds the gradients hid.",
    then="Add square, in l0 sparse-rs, with more queries; look for the layer whose gradient lies.",
    weight=30,
)
def random_search(subject: Subject) -> Finding:
    """AutoAttack's flag that Square lowers the accuracy; Carlini et al. 2019, section 5.7.

    By how much the accuracy is too high at least, after 100 queries of Square or, in ℓ0, 40 of
    Sparse-RS: what asks for steps of some length does not run there, and this must.
    """
    if subject.threat.p == 1:
        raise NotRun("no random search is defined in l1.")
    sparse = subject.threat.p == 0
    queries = 40 if sparse else 100
    some = subject.some_left(subject.cost(queries, backwards=False))
    search = (SparseRS if sparse else Square)(subject.threat, queries=queries)
    fallen = subject.fallen(subject.adapted(search), some, "square")
    return subject.too_high(fallen, f"random search ({type(search).__name__})")


@of_model(
    "T-identity",
    "With the identity's gradient past its first layers the model stands as well",
    limit=_LIMIT,
    fails=_FAILS,
    why="A layer in front that takes images to images can hide the gradient of all behind it.",
    then="Set differentiable = False on the layer, so that every attack goes round it by BPDA.",
    weight=12,
)
def past_the_first_layers(subject: Subject) -> Finding:
    """Athalye et al. 2018, section 4.1; Tramèr et al. 2020: BPDA beside any preprocessor.

    By how much the accuracy is too high at least, after PGD of 20 steps with the identity's
    gradient in place of that of the outermost layers that keep an image's shape.
    """
    declared = ("differentiable", "purifies", "stochastic")  # met by every attack already
    front = [
        layer
        for layer in in_front(subject)
        if all(getattr(layer, name, None) is None for name in declared)
    ]
    if not front:
        raise NotRun("no layer takes an image to an image of its shape.")
    some = subject.some_left(subject.cost(20))
    for layer in front:
        layer.differentiable = False  # type: ignore[assignment]
    try:
        attack = subject.adapted(BPDA(PGD(subject.metric, steps=20, goal=margin)))
        fallen = subject.fallen(attack, some, "identity")
    finally:
        for layer in front:
            del layer.differentiable
    names = ", ".join(dict.fromkeys(type(layer).__name__ for layer in front))
    return subject.too_high(fallen, f"PGD with the identity's gradient past {names}")


def in_front(subject: Subject) -> list[nn.Module]:
    """The outermost layers whose output has the shape of the images, in the order of the pass."""
    some = subject.some(1, most=1, fewest=1)
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()

    def hook(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        given = [one.shape for one in (*inputs, output) if isinstance(one, Tensor)]
        if len(inputs) == 1 and given == [some.x.shape] * 2:
            found.append(layer)
            inside.update(set(layer.modules()) - {layer})

    handles = [
        layer.register_forward_hook(hook)
        for layer in subject.bare.modules()
        if layer is not subject.bare and not isinstance(layer, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad(), subject.alone():
            subject.logits(some.x, subject.rng(some, "front"))
    finally:
        for handle in handles:
            handle.remove()
    return [layer for layer in dict.fromkeys(found) if layer not in inside]


@dataclass(frozen=True)
class _Raw:
    """The gradient itself, its largest entry scaled to 1; no sign."""

    def __call__(
        self, grad: Images, memory: Tree, threat: Threat, step: int
    ) -> tuple[Images, Tree]:
        """The direction along ``grad``."""
        return unit(grad, torch.inf), memory


@of_model(
    "T-raw",
    "Another direction along the gradient fools nothing that the attacks left",
    limit=_LIMIT,
    fails=_FAILS,
    why="Signs are one way to follow a gradient, and on a rough loss not the best.",
    then="Add APGD, or PGD with momentum (mim).",
    weight=12,
)
def another_direction(subject: Subject) -> Finding:
    """Tramèr et al. 2020: several optimisers, the sign, the raw gradient, momentum.

    By how much the accuracy is too high at least, after 20 steps along the gradient scaled to its
    largest entry, from a random start.
    """
    some = subject.some_left(subject.cost(20))
    attack = Ascent(
        threat=subject.metric,
        steps=20,
        step_size=subject.metric.reach(some.x) / 4,
        start=in_ball,
        goal=margin,
        direction=_Raw(),
    )
    fallen = subject.fallen(subject.adapted(attack), some, "raw")
    return subject.too_high(fallen, "steps along the raw gradient")


@of_model(
    "T-transfer",
    "What fools a copy learnt from the answers fools nothing that the attacks left",
    limit=_LIMIT,
    fails=_FAILS,
    why="A copy has gradients that the model does not hide, and much of what fools it transfers.",
    then="Distil a source from the model (holdfast.training.distill), and give it as --source.",
    weight=25,
)
def by_transfer(subject: Subject) -> Finding:
    """Papernot et al. 2016; Carlini et al. 2019, section 5.7: transfer, here from a surrogate.

    By how much the accuracy is too high at least, after what PGD of 40 steps finds on a small
    network that was trained on the model's own answers at the images and at noisy ones.
    """
    draws, threat = 20, subject.metric
    learning = subject.any
    asked = draws * len(learning)
    some = subject.some_left(2.5 * subject.votes + asked / 8, most=32, fewest=8)
    source = surrogate(subject, learning, draws)
    attack = On(source, PGD(threat, steps=40, goal=margin), name="copy")
    return subject.too_high(subject.fallen(attack, some, "transfer"), "transfer from a copy")


def surrogate(subject: Subject, some: Some, draws: int) -> Model:
    """A small convolutional network that imitates the model around some images."""
    rng = subject.rng(some, "surrogate")
    images, answers = [], []
    for number in range(draws):
        size = (number % 4) / 2 * subject.metric.reach(some.x)
        noise = rng.fold(number).uniform(some.x.shape[1:], some.x.dtype) * 2 - 1
        x = (some.x + size * noise).clamp(0, 1)
        with torch.no_grad(), subject.alone():
            answers.append(subject.logits(x, rng.fold(number)).argmax(dim=1))
        images.append(x)
    x, y = torch.cat(images), torch.cat(answers)
    classes = int(y.max()) + 1
    shape = some.x.shape[1:]
    if len(shape) != 3:
        raise NotRun("the images are not (C, H, W).")
    with subject.alone():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(shape[0], 16, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(8),
            nn.Flatten(),
            nn.Linear(1024, 64),
            nn.ReLU(),
            nn.Linear(64, max(classes, subject.ledger.classes)),
        ).to(x.device)
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for step in range(150):
            chosen = torch.arange(step * 64, step * 64 + 64, device=x.device) % len(x)
            loss = nn.functional.cross_entropy(network(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()
