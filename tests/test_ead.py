import math
from dataclasses import replace

import pytest
import torch

from holdfast import goals, losses
from holdfast.attacks import EAD, against_randomness, least_elastic_net, least_l1
from holdfast.cli import registry
from holdfast.counting import Counted
from holdfast.errors import InputError, UnknownNameError
from holdfast.gradients import Average
from holdfast.tensors import norm
from holdfast.threat import L1, L2
from tests.budget import last_look
from tests.digits import trained
from tests.toys import Plateau, Saturated, images, two_class

FREE = L1(math.inf)
SHORT = EAD(FREE, steps=40, searches=4)


def elastic_net(x, x0, beta):
    return beta * norm(x - x0, 1) + norm(x - x0, 2).square()


@pytest.mark.parametrize(
    ("rule", "theirs", "beta", "shrinkage"),
    [(least_l1, "L1", 4.0, 0.04), (least_elastic_net, "EN", 0.01, 0.01)],
)
def test_nothing_closer_is_found_by_foolbox_with_as_many_calls(rule, theirs, beta, shrinkage):
    """Foolbox shrinks by β whatever α is, as the paper.

    For the least ℓ1 norm it gets the same weight, α β = 0.01 · 4; for the elastic net the same β,
    which is what both say they minimise. It asks the model twice in a step, once where the gradient
    is taken and once at the point reached, and we ask once.
    """
    foolbox = pytest.importorskip("foolbox")
    model, x, y = trained()
    ours = EAD(FREE, steps=60, beta=beta, rule=rule)(model, x, y)
    peer, *_ = foolbox.attacks.EADAttack(
        steps=30, regularization=shrinkage, decision_rule=theirs, abort_early=False
    )(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)
    assert (model(ours).argmax(dim=1) != y).all()
    found = (model(peer).argmax(dim=1) != y) & peer.flatten(1).any(dim=1)  # black marks failure
    ours, peer = rule(ours - x, beta), rule(peer - x, beta)
    assert ours.median() <= peer[found].median()


def test_with_the_shrinkage_of_the_paper_points_are_as_near_as_foolbox_s():
    """The same at every step, in both; a step here asks the model once, foolbox's twice."""
    foolbox = pytest.importorskip("foolbox")
    model, x, y = trained()
    ours = EAD(FREE, steps=60, shrinkage=0.01)(model, x, y)
    peer, *_ = foolbox.attacks.EADAttack(
        steps=60, regularization=0.01, decision_rule="L1", abort_early=False
    )(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)
    found = (model(peer).argmax(dim=1) != y) & peer.flatten(1).any(dim=1)  # black marks failure
    assert (model(ours).argmax(dim=1) != y).all()
    assert norm(ours - x, 1).median() <= 1.02 * norm(peer - x, 1)[found].median()


def test_one_step_shrinks_by_what_is_given_whatever_its_length():
    x, grad = torch.full((1, 1, 1, 3), 0.5), torch.tensor([[[[1.0, -4.0, 0.2]]]])
    for alpha in (0.01, 0.04):
        attack = EAD(FREE, step_size=alpha, steps=2, shrinkage=0.02)
        moved, _ = attack.descend(x, grad, x, x, 0)
        expected = x - grad.sign() * (alpha * grad.abs() - 0.02).clamp(min=0)
        assert torch.allclose(moved, expected)


@pytest.mark.parametrize("beta", [0.0, 0.3, 2.0])
def test_the_optimum_of_the_elastic_net_is_reached(beta):
    """Stationary on a plane: sign(δ) (2 |δ| + β) = c w where δ is not 0, |c w| <= β elsewhere.

    So δ = S_β(c w) / 2 with the one c that reaches the plane; the box does not bind.
    """
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x = images(3, margin=0.45)
    score = x.flatten(1) @ normal
    model = two_class(normal, float(score.min()) - 0.2)
    gap = (score - score.min() + 0.2).double()
    low, high = torch.zeros(3).double(), torch.full((3,), 1e3).double()
    for _ in range(60):
        c = (low + high) / 2
        delta = ((c[:, None] * normal.abs() - beta).clamp(min=0) / 2) * normal.sign()
        enough = delta @ normal.double() >= gap
        low, high = torch.where(enough, low, c), torch.where(enough, c, high)
    best = beta * norm(delta, 1) + norm(delta, 2).square()
    attack = EAD(FREE, steps=120, searches=6, beta=beta, rule=least_elastic_net)
    x_adv = attack(model, x, torch.ones(3, dtype=torch.int64))
    assert (model(x_adv).argmax(dim=1) == 0).all()
    assert (elastic_net(x_adv, x, beta) >= best * (1 - 1e-3)).all()
    assert (elastic_net(x_adv, x, beta) <= best * 1.04).all()


def test_the_rules_choose_among_the_same_points():
    model, x, y = trained()
    attack = replace(SHORT, beta=0.3)
    sparse = attack(model, x, y)
    net = replace(attack, rule=least_elastic_net)(model, x, y)
    assert (norm(sparse - x, 1) <= norm(net - x, 1)).all()
    assert (elastic_net(net, x, 0.3) <= elastic_net(sparse, x, 0.3)).all()
    assert not torch.equal(sparse, net)
    assert repr(attack.rule) == "least_l1"
    assert repr(least_elastic_net) == "least_elastic_net"


def test_a_larger_beta_changes_fewer_pixels():
    model, x, y = trained()
    few, many = (replace(SHORT, beta=beta)(model, x, y) for beta in (4.0, 0.01))
    assert norm(few - x, 0).median() < norm(many - x, 0).median() / 3
    assert FREE.distance(few, x).median() < FREE.distance(many, x).median()
    assert L2(1.0).distance(few, x).median() > L2(1.0).distance(many, x).median()


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_logits_plays_no_part(scale):
    model, x, y = trained()
    scaled = SHORT(Saturated(model, scale), x, y)
    assert torch.allclose(FREE.distance(scaled, x), FREE.distance(SHORT(model, x, y), x), rtol=0.03)


def test_confidence_and_targets():
    model, x, y = trained()
    goal = goals.toward((y + 3) % 10, losses.towards_margin)
    x_adv = replace(SHORT, goal=goal, confidence=1.0)(model, x, y)
    assert (losses.towards_margin(model(x_adv), y, (y + 3) % 10) > 1 - 1e-4).all()


def test_the_number_of_calls():
    model, x, y = trained()
    every, few, wrong = (Counted(model, torch.arange(len(x))) for _ in range(3))
    attack = replace(SHORT, threat=L1(1.2))
    fooled = model(attack(every, x, y)).argmax(dim=1) != y
    assert last_look(every.forwards - (1 + 4 * 40), fooled)
    assert (every.backwards == 1 + 4 * 40).all()
    stopped = replace(attack, early_stop=True)(few, x, y)
    assert torch.equal(model(stopped).argmax(dim=1) != y, fooled)
    assert torch.equal(stopped[~fooled], x[~fooled])
    assert 0 < int(fooled.sum()) < len(x)
    assert (few.forwards[fooled] < 1 + 4 * 40).all()
    assert torch.equal(SHORT(wrong, x, (y + 1) % 10), x)
    assert (wrong.forwards == 1).all()


def test_averaged_gradients_plug_in():
    """A planted weakness: the gradient at the image is exactly 0; the boundary is at 0.2."""
    assert against_randomness(SHORT, 5) == replace(SHORT, gradient=Average(samples=5))
    x = torch.full((4, 1, 1, 2), 0.5)
    model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(4, dtype=torch.int64)
    assert torch.equal(SHORT(model, x, y), x)
    x_adv = replace(SHORT, gradient=Average(samples=6, noise=0.2))(model, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()


def test_the_command_line_names_the_rule():
    assert registry.attack("ead(rule=elastic_net, beta=0.1)", L1(2.0)) == EAD(
        L1(2.0), rule=least_elastic_net, beta=0.1
    )
    with pytest.raises(UnknownNameError, match="rule"):
        registry.attack("ead(rule=l7)", L1(2.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EAD(L2(0.1)),
        lambda: EAD(FREE, steps=0),
        lambda: EAD(FREE, searches=0),
        lambda: EAD(FREE, step_size=0.0),
        lambda: EAD(FREE, beta=-0.1),
        lambda: EAD(FREE, shrinkage=-0.1),
        lambda: EAD(FREE, confidence=math.inf),
    ],
)
def test_parameters(make):
    with pytest.raises(InputError):
        make()
