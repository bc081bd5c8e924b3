import math

import pytest
import torch

from holdfast import goals, losses
from holdfast.attacks import APGD, APGDT, PGD, AdaptiveAscent, EachTarget, against_randomness
from holdfast.attacks.engine.starts import at_image, in_ball
from holdfast.attacks.engine.step_sizes import checkpoints
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.goals import LeaveToward
from holdfast.gradients import Average
from holdfast.threat import L1, L2, Linf
from tests.cases import METRIC, THREATS
from tests.toys import Wrapped, images, random_linear, small_network

EPS = {"linf": 0.1, "l2": 0.6, "l1": 2.0}
in_each_norm = pytest.mark.parametrize("norm", METRIC)


def hill(top):
    """Two classes; the margin of the second is -(x - top)², largest inside the ball."""
    return Wrapped(lambda x: torch.stack([0 * x.sum(dim=1), -((x - top) ** 2).sum(dim=1)], dim=1))


def algorithm_1(model, x0, y, eps, norm, steps):
    """Algorithm 1 of the paper for one image and the margin, from the image, word for word."""

    def project(x):
        d = x - x0
        d = (
            d.clamp(-eps, eps)
            if norm == "linf"
            else d * min(1.0, eps / max(float(d.norm()), 1e-30))
        )
        return (x0 + d).clamp(0, 1)

    def f(x):
        x = x.detach().requires_grad_()
        value = losses.margin(model(x[None]), y[None])[0]
        (grad,) = torch.autograd.grad(value, x)
        return float(value.detach()), grad.sign() if norm == "linf" else grad / grad.norm()

    p = [0.0, 0.22]
    while p[-1] < 1:
        p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
    w = sorted({math.ceil(round(fraction * steps, 9)) for fraction in p})
    eta, alpha, rho = 2 * eps, 0.75, 0.75
    etas, records = {0: eta}, {0: -math.inf}
    previous, x = x0, project(x0 + eta * f(x0)[1])
    values = [f(x0)[0], f(x)[0]]
    best, x_best = max((values[0], x0), (values[1], x), key=lambda pair: pair[0])
    for k in range(1, steps):
        if k in w:
            last = w[w.index(k) - 1]
            rises = sum(values[i + 1] > values[i] for i in range(last, k))
            unchanged = etas[last] == eta and records[last] == best
            etas[k], records[k] = eta, best
            if rises < rho * (k - last) or unchanged:
                eta, x, values[k] = eta / 2, x_best, best
        z = project(x + eta * f(x)[1])
        x, previous = project(x + alpha * (z - x) + (1 - alpha) * (x - previous)), x
        values.append(f(x)[0])
        if values[-1] > best:
            best, x_best = values[-1], x
    return x_best


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("steps", [1, 12, 50])
def test_it_is_algorithm_1_for_every_image_on_its_own(norm, steps):
    model, x = small_network(classes=5).double(), images(6).double()
    y = model(x).argmax(dim=1)
    attack = APGD(
        THREATS[norm](EPS[norm]),
        steps=steps,
        random_start=False,
        goal=goals.margin,
        early_stop=False,
    )
    ours = attack(model, x, y)
    for i in range(len(x)):
        expected = algorithm_1(model, x[i], y[i], EPS[norm], norm, steps)
        assert torch.allclose(ours[i], expected, atol=1e-7)


def test_checkpoints_are_those_of_the_paper():
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(100).values()) == [22, 19, 16, 13, 10, 7, 6, 6]
    assert list(checkpoints(20)) == [5, 9, 12, 14, 16, 18, 19, 20]
    for steps in range(1, 60):
        found = checkpoints(steps)
        assert all(gap > 0 for gap in found.values())
        assert sum(found.values()) == max(found) <= steps


@in_each_norm
def test_exact_counts(norm):
    x, index = images(3), torch.arange(3)
    model = small_network(classes=3)
    y = model(x).argmax(dim=1)
    threat = THREATS[norm](1e-4)  # nothing is fooled
    points = 13 if norm == "l1" else 11
    counted = Counted(model, index)
    APGD(threat, steps=10, early_stop=False)(counted, x, y)
    assert counted.forwards.tolist() == counted.backwards.tolist() == [points] * 3
    counted = Counted(model, index)
    APGDT(threat, steps=10)(counted, x, y)
    # One look at the clean image, two targets, and one check between them.
    assert counted.forwards.tolist() == [2 * points + 2] * 3
    assert counted.backwards.tolist() == [2 * points] * 3


@in_each_norm
@pytest.mark.parametrize("goal", [goals.cross_entropy, goals.dlr], ids=str)
def test_the_point_of_the_largest_score_is_returned(norm, goal):
    model, x = small_network().double(), images(8).double()
    y = model(x).argmax(dim=1)
    values = []
    threat = THREATS[norm](EPS[norm])
    attack = APGD(threat, steps=30, goal=goal, early_stop=False)
    x_adv = attack(model, x, y, callback=lambda step: values.append((step.x, step.value)))
    inside = [value.where(threat.distance(at, x) <= threat.eps, -torch.inf) for at, value in values]
    last = 13 if norm == "l1" else 31  # an ℓ1 ascent keeps the best of its last stage
    best = torch.stack(inside[-last:]).amax(dim=0)
    assert torch.allclose(goal(model, x, y)(x_adv).value, best)


@in_each_norm
def test_early_stopping_returns_the_first_fooling_iterate(norm):
    model, x = small_network(), images(30)
    y = model(x).argmax(dim=1)
    seen = {}

    def watch(step):
        for i in torch.nonzero(step.reached)[:, 0].tolist():
            seen.setdefault(int(step.position[i]), step.x[i])

    x_adv = APGD(THREATS[norm](EPS[norm]), steps=20)(model, x, y, callback=watch)
    assert set(seen) == set(torch.nonzero(model(x_adv).argmax(dim=1) != y)[:, 0].tolist())
    assert 0 < len(seen) < 30
    for i, first in seen.items():
        assert torch.equal(x_adv[i], first)


@pytest.mark.parametrize("threat", [Linf(0.2), L2(0.4)])
@pytest.mark.parametrize("annealed", [False, True])
def test_steps_that_stop_paying_get_shorter(threat, annealed):
    """A top inside the ball: with its first step size for good it would be jumped over."""
    x, y = torch.full((4, 3), 0.5), torch.zeros(4, dtype=torch.int64)
    model = hill(x + torch.tensor([[0.05], [-0.1], [0.13], [0.0]]))
    attack = APGD(threat, steps=60, goal=goals.margin, annealed=annealed, early_stop=False)
    fixed = PGD(threat, steps=60, step_size=threat.eps, goal=goals.margin, early_stop=False)
    reach = [float(losses.margin(model(run(model, x, y)), y).min()) for run in (attack, fixed)]
    assert reach[0] > -1e-4
    assert reach[1] < -1e-3


@pytest.mark.parametrize("steps", [10, 30])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_weaker_than_torchattacks(norm, steps):
    torchattacks = pytest.importorskip("torchattacks")
    model, x = small_network(classes=5), images(60)
    y = model(x).argmax(dim=1)
    theirs = torchattacks.APGD(
        model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=EPS[norm], steps=steps
    )
    loss, _ = theirs.perturb(x, y, best_loss=True)
    threat = THREATS[norm](EPS[norm])
    x_adv = APGD(threat, steps=steps, early_stop=False)(model, x, y)
    assert losses.cross_entropy(model(x_adv), y).mean() >= loss.mean() * 0.999
    robust = [
        int((model(attack(x)).argmax(dim=1) == y).sum())
        for attack in (lambda x: APGD(threat, steps=steps)(model, x, y), lambda x: theirs(x, y))
    ]
    assert robust[0] <= robust[1]
    assert 0 < robust[1] < 60


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_target_is_no_weaker_than_torchattacks(norm):
    torchattacks = pytest.importorskip("torchattacks")
    model, x = small_network(classes=5), images(60)
    y = model(x).argmax(dim=1)
    theirs = torchattacks.APGDT(
        model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=EPS[norm], steps=10, n_classes=5
    )
    ours = APGDT(THREATS[norm](EPS[norm]), steps=10)
    robust = [
        int((model(x_adv).argmax(dim=1) == y).sum()) for x_adv in (ours(model, x, y), theirs(x, y))
    ]
    assert 0 < robust[0] <= robust[1] < 60


def test_annealing_gains_more_from_few_steps():
    model, x = small_network(classes=5), images(40)
    y = model(x).argmax(dim=1)
    reach = [
        losses.cross_entropy(
            model(APGD(L2(1.0), steps=10, annealed=flag, early_stop=False)(model, x, y)), y
        ).mean()
        for flag in (True, False)
    ]
    assert reach[0] >= reach[1]


def test_l1_steps_get_sparse_and_reach_further_than_pgd():
    model, x = small_network(classes=5), images(40)
    y = model(x).argmax(dim=1)
    ours, plain = (make(L1(2.0), steps=30, early_stop=False)(model, x, y) for make in (APGD, PGD))
    reach = [losses.cross_entropy(model(x_adv), y).mean() for x_adv in (ours, plain)]
    assert reach[0] > reach[1]
    assert ((ours - x) != 0).flatten(1).sum(dim=1).float().mean() < 12  # of 36 pixels


def test_an_l1_ascent_begins_at_the_image_unless_it_is_repeated():
    assert APGD(L1(1.0)).engine().start == APGDT(L1(1.0)).engine().attack.start == at_image
    assert APGD(L1(1.0), restarts=2).engine().attack.start == in_ball
    assert APGD(L2(1.0)).engine().start == in_ball
    assert APGD(L2(1.0), random_start=False).engine().start == at_image


def test_classes_are_made_for_in_their_order_on_the_clean_image():
    model, x = random_linear(5, 36), images(4)
    logits = model(x)
    y = logits.argmax(dim=1)
    made_for = []

    def loss(logits, y, target):
        made_for.append(target)
        return losses.towards_margin(logits, y, target)

    EachTarget(
        attack=AdaptiveAscent(threat=Linf(1e-4), steps=1), targets=2, goal=LeaveToward(loss)
    )(model, x, y)
    ranked = logits.argsort(dim=1, descending=True)
    assert torch.equal(made_for[0], ranked[:, 1])
    assert torch.equal(made_for[-1], ranked[:, 2])


def test_an_image_is_done_with_in_whatever_class_it_ends():
    model, x = small_network(classes=5), images(40)
    y = model(x).argmax(dim=1)
    wrong = (y + 1) % 5
    assert torch.equal(APGDT(Linf(0.0), steps=3, random_start=False)(model, x, wrong), x)
    few, all_others = (APGDT(Linf(0.08), targets=count, steps=10)(model, x, y) for count in (1, 9))
    fooled = [model(x_adv).argmax(dim=1) != y for x_adv in (few, all_others)]
    assert (fooled[1] >= fooled[0]).all()
    assert fooled[1].sum() > fooled[0].sum()


def test_restarts_take_it_like_any_ascent():
    model, x = small_network(), images(40)
    y = model(x).argmax(dim=1)
    once, often = (APGD(Linf(0.08), steps=2, restarts=count)(model, x, y) for count in (1, 4))
    fooled = [model(x_adv).argmax(dim=1) != y for x_adv in (once, often)]
    assert fooled[1].sum() >= fooled[0].sum()


def test_a_stochastic_model_is_attacked_through_its_average():
    for attack in (APGD(Linf(0.1), restarts=2), APGDT(L2(1.0))):
        averaged = against_randomness(attack, 7).engine().attack
        assert averaged.gradient == Average(samples=7)
        assert not averaged.early_stop


def test_no_limit_but_the_box():
    model, x = small_network(), images(4)
    y = model(x).argmax(dim=1)
    for norm in METRIC:
        x_adv = APGD(THREATS[norm](math.inf), steps=20)(model, x, y)
        assert (model(x_adv).argmax(dim=1) != y).all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: APGD(Linf(0.1), steps=0), "steps is 0"),
        (lambda: APGD(Linf(0.1), restarts=0), "restarts is 0"),
        (lambda: APGD(L1(0.1), annealed=True), "not in l1"),
        (lambda: APGDT(Linf(0.1), targets=0), "targets is 0"),
        (lambda: APGDT(Linf(0.1), restarts=0), "restarts is 0"),
    ],
)
def test_settings_out_of_range(make, words):
    with pytest.raises(InputError, match=words):
        make()
