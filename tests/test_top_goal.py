"""The goal of pushing the label out of the first k classes, against closed forms."""

import math
import pickle
import warnings
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import L2, EvaluationConfig, Linf, goals, losses
from holdfast.attacks import (
    APGD,
    BPDA,
    DDN,
    FMN,
    IFGSM,
    MIM,
    NES,
    PGD,
    DeepFool,
    SecondOrder,
    Square,
    Worst,
)
from holdfast.attacks.adaptive import Variant, combined
from holdfast.attacks.engine.aimed import aimed_at
from holdfast.bundle import verify
from holdfast.cli import registry
from holdfast.cli.evaluated import show_evaluation
from holdfast.data import Data
from holdfast.errors import InputError, InputTypeError, OutputError, UnknownNameError
from holdfast.evaluation import evaluate_data
from holdfast.evaluation.sizes import smaller_sizes
from holdfast.tensors import rank_of
from holdfast.training import Schedule, Validation
from tests.toys import Linear, images, random_linear, small_network


@st.composite
def ranked(draw):
    """Logits with ties, in any order."""
    classes = draw(st.integers(2, 7))
    values = st.lists(st.integers(-3, 3), min_size=classes, max_size=classes)
    logits = torch.tensor(draw(st.lists(values, min_size=1, max_size=6)), dtype=torch.float64)
    y = torch.tensor([draw(st.integers(0, classes - 1)) for _ in logits])
    return logits, y, draw(st.integers(1, classes - 1))


@given(ranked())
def test_it_is_its_formula_and_reached_where_the_label_has_that_rank(situation):
    logits, y, k = situation
    value, reached = goals.TopMargin(k)(nn.Flatten(), logits, y)(logits)
    for z, label, found in zip(logits.tolist(), y.tolist(), value.tolist(), strict=True):
        gaps = sorted((one - z[label] for j, one in enumerate(z) if j != label), reverse=True)
        below = sum(min(gap, 0) for gap in gaps[:k])
        assert found == (gaps[k - 1] if gaps[k - 1] > 0 else below)
    assert torch.equal(reached, rank_of(logits, y) >= k)
    assert torch.equal(reached, value > 0)  # as FMN and its like ask of a goal


@given(ranked())
def test_it_is_the_margin_at_1_and_falls_with_k(situation):
    logits, y, _ = situation
    values = [losses.top_margin(logits, y, top=k) for k in range(1, logits.shape[1])]
    assert torch.equal(values[0], losses.margin(logits, y))
    for nearer, further in pairwise(values):
        assert (further <= nearer).all()


@given(ranked())
def test_its_gradient_raises_what_is_not_ahead_yet_and_lowers_the_label(situation):
    logits, y, k = situation
    leaf = logits.clone().requires_grad_()
    (grad,) = torch.autograd.grad(losses.top_margin(leaf, y, top=k).sum(), leaf)
    assert torch.allclose(grad.sum(dim=1), torch.zeros(len(y), dtype=torch.float64))
    if k > 1:
        rank, own = rank_of(logits, y), losses.of_class(grad, y)  # what is level counts too
        lacking = torch.where(rank >= k, 1, k - rank)
        assert torch.equal(own, -lacking.double())
        assert torch.equal((grad > 0).sum(dim=1), lacking)


def test_attacks_with_k_1_are_those_on_the_margin():
    model, x = small_network(classes=6), images(9)
    y = model(x).argmax(dim=1)
    for kind in (PGD, MIM, APGD):
        one, other = (
            kind(Linf(0.05), steps=5, goal=goal)(model, x, y, seed=3)
            for goal in (goals.TopMargin(1), goals.margin)
        )
        assert torch.equal(one, other)


def of_their_own_pixels(gaps, each=4):
    """A linear model whose classes share no pixels, an image in mid-box, and its label 0.

    The image's logits are 0 of the label, and -gaps of the others.
    """
    classes = len(gaps) + 1
    generator = torch.Generator().manual_seed(5)
    weight = torch.zeros(classes, classes, each)
    weight[range(classes), range(classes)] = torch.randn(each, generator=generator).sign()
    x = torch.full((1, 1, classes, each), 0.5)
    wanted = torch.cat([torch.zeros(1), -gaps])
    weight = weight.flatten(1)
    return Linear(weight, wanted - weight @ x.flatten()), x, torch.tensor([0])


@pytest.mark.parametrize("k", [1, 2, 5, 11])
@pytest.mark.parametrize(
    "attack",
    [
        PGD(Linf(0.1), steps=40, random_start=False),
        MIM(Linf(0.1), steps=40),
        IFGSM(Linf(0.1), steps=40),
        APGD(Linf(0.1), steps=100, restarts=3),
    ],
)
def test_in_linf_it_is_reached_from_the_least_size_on(k, attack):
    """Each pixel helps: a class at a gap of g is level at g / (2 ‖w‖₁), whatever the others do."""
    gaps = 0.1 + 0.03 * torch.randperm(11, generator=torch.Generator().manual_seed(2))
    model, x, y = of_their_own_pixels(gaps)
    least = float(gaps.sort().values[k - 1]) / (2 * 4)
    for eps, reached in ((0.99 * least, False), (1.02 * least, True)):
        sized = replace(attack, threat=Linf(eps), goal=goals.TopMargin(k))
        assert (rank_of(model(sized(model, x, y, seed=1)), y) >= k).item() == reached


@pytest.mark.parametrize("k", [1, 3, 8])
def test_in_l2_too_and_the_nearest_points_lie_there(k):
    """To k classes, all at a gap of g, it is g √(k / (k + 1)) / ‖w‖₂.

    The label falls by k / (k + 1) of the gap, and each of them rises by the rest.
    """
    model, x, y = of_their_own_pixels(torch.tensor([0.5] * k + [0.9] * (11 - k)))
    least, goal = 0.5 * math.sqrt(k / (k + 1)) / 2, goals.TopMargin(k)
    for eps, reached in ((0.99 * least, False), (1.02 * least, True)):
        attack = PGD(L2(eps), steps=100, random_start=False, goal=goal)
        assert (rank_of(model(attack(model, x, y, seed=1)), y) >= k).item() == reached
    for attack in (
        FMN(L2(math.inf), steps=300, goal=goal),
        DDN(L2(math.inf), steps=300, goal=goal),
    ):
        x_adv = attack(model, x, y, seed=1)
        assert rank_of(model(x_adv), y) >= k
        assert 1 - 1e-5 <= (x_adv - x).norm() / least <= 1.05


@pytest.mark.parametrize(
    "attack",
    [
        PGD(Linf(0.1), steps=10, goal=goals.TopMargin(5)),
        PGD(Linf(0.1), steps=10, restarts=3, goal=goals.TopMargin(5)),
        APGD(Linf(0.1), steps=10, goal=goals.TopMargin(5)),
        MIM(Linf(0.1), steps=10, goal=goals.TopMargin(5)),
        SecondOrder(Linf(0.1), steps=5, samples=2, goal=goals.TopMargin(5)),
        Square(Linf(0.1), queries=60, goal=goals.TopMargin(5)),
        NES(Linf(0.1), steps=3, samples=4, goal=goals.TopMargin(5)),
    ],
)
def test_an_image_meets_the_same_in_any_batch(attack):
    model, x = random_linear(20, 36).double(), images(6).double()
    y = model(x).argmax(dim=1)
    whole = attack(model, x, y, seed=4)
    for part in ([0, 1], [5], [4, 2, 3]):
        alone = attack(model, x[part], y[part], seed=4, index=torch.tensor(part))
        assert torch.allclose(alone, whole[part], atol=1e-12)
    assert torch.equal(pickle.loads(pickle.dumps(attack))(model, x, y, seed=4), whole)


def test_early_stop_stops_where_the_label_leaves_and_not_before():
    model, x = random_linear(20, 36), images(8)
    y = model(x).argmax(dim=1)
    seen = []
    attack = PGD(Linf(0.2), steps=30, goal=goals.TopMargin(5), random_start=False)
    x_adv = attack(model, x, y, callback=seen.append)
    stopped = [(step, place) for step in seen for place in step.position[step.reached].tolist()]
    assert len(stopped) > 4
    for step, place in stopped:
        at = step.x[step.position == place]
        assert rank_of(model(at), y[[place]]) >= 5
        assert torch.equal(at[0], x_adv[place])
    for step in seen:
        assert (rank_of(model(step.x), y[step.position]) >= 5).equal(step.reached)
    wrong_first = [((model(s.x).argmax(dim=1) != y[s.position]) & ~s.reached).any() for s in seen]
    assert any(wrong_first)  # on the way the first class had been lost, and it went on


def test_the_command_line_writes_what_python_writes():
    ours = PGD(Linf(0.1), steps=3, goal=goals.TopMargin(5))
    written = registry.attack("pgd(steps=3, goal=top_margin(top=5))", Linf(0.1))
    assert written == ours
    assert repr(written) == repr(ours)
    assert "goal=top_margin(top=5)" in repr(ours)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: goals.TopMargin(0), "top is 0, but must be at least 1"),
        (lambda: goals.TopMargin(2.0), "top is 2.0, but must be a whole number"),
        (lambda: goals.TopMargin(True), "top is True, but must be a whole number"),
        (lambda: registry.attack("pgd(goal=top_margin)", Linf(0.1)), "top_margin needs top"),
        (lambda: registry.attack("pgd(goal=top_margin(k=5))", Linf(0.1)), "has no parameter k"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_k_is_told(make, said):
    with pytest.raises((InputError, InputTypeError, UnknownNameError), match=said):
        make()


@pytest.mark.parametrize("k", [4, 5])
def test_as_many_classes_as_the_model_has_is_too_many(k):
    model, x, y = small_network(), images(3), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match=f"top is {k}, but of 4 classes .* give at most 3"):
        PGD(Linf(0.1), steps=1, goal=goals.TopMargin(k))(model, x, y)


CLASSES, K = 100, 5
PLAIN = EvaluationConfig(hidden=False, audit=0.0, keep_images=0)


@pytest.fixture(scope="module")
def hundred():
    """A linear model of 100 classes, images whose labels it puts first to tenth, as data."""
    model, x = random_linear(CLASSES, 36, seed=3), images(40, margin=0.2)
    order = model(x).argsort(dim=1, descending=True)
    rank = torch.arange(40) % 8 * (torch.arange(40) % 2)
    y = order.gather(1, rank[:, None])[:, 0]
    return model, x, y, Data.in_memory("toy", tuple(map(str, range(CLASSES))), x, y)


def evaluated(hundred, attacks, config=PLAIN, out=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate_data(hundred[0], hundred[-1], attacks, config, "model", out)


@pytest.mark.parametrize("eps", [0.01, 0.02, 0.04])
def test_it_leaves_less_among_five_than_an_attack_on_the_first(hundred, eps):
    attacks = [
        ("margin", PGD(Linf(eps), goal=goals.margin)),
        ("five", PGD(Linf(eps), goal=goals.TopMargin(K))),
    ]
    first, five = evaluated(hundred, attacks).cells
    assert five["robust_top5"] < first["robust_top5"] <= first["clean_top5"]
    assert ("top" in first, five["top"]) == (False, K)
    assert five["robust_accuracy"] >= first["robust_accuracy"]  # which is about the first class


def test_what_is_wrong_at_the_top_is_attacked_while_it_is_among_five(hundred):
    model, x, y, _ = hundred
    attacks = [("five", PGD(Linf(0.5), goal=goals.TopMargin(K)))]
    found = evaluated(hundred, attacks)
    rank = found.rows[found.rows["attack"] == "clean"]["rank"].to_numpy()
    assert ((rank > 0) & (rank < K)).any()
    assert found.cells[0]["robust_top5"] == 0 < found.cells[0]["clean_top5"]
    x_adv = attacks[0][1](model, x, y, seed=0)
    assert (rank_of(model(x_adv), y) >= K).all()


def test_sizes_do_not_take_over_what_lost_the_first_class_alone(hundred):
    attacks = [("five", PGD(Linf(eps), goal=goals.TopMargin(K))) for eps in (0.01, 0.02, 0.04)]
    apart = evaluated(hundred, attacks).cells
    shared = evaluated(hundred, attacks, replace(PLAIN, share_sizes=True)).cells
    assert [cell["robust_top5"] for cell in shared] == [cell["robust_top5"] for cell in apart]
    assert apart[-1]["robust_top5"] < apart[0]["robust_top5"]
    assert smaller_sizes(attacks) == {}


def test_a_run_is_taken_up_again_verified_and_known_by_its_k(hundred, tmp_path):
    attacks = [("five", PGD(Linf(0.02), steps=5, goal=goals.TopMargin(K)))]
    found = evaluated(hundred, attacks, out=tmp_path / "run")
    whole = evaluated(hundred, attacks, out=tmp_path / "run")
    assert whole.cells == found.cells
    other = [("five", PGD(Linf(0.02), steps=5, goal=goals.TopMargin(3)))]
    with pytest.raises(OutputError):
        evaluated(hundred, other, out=tmp_path / "run")
    assert verify(tmp_path / "run").contradictions == []
    batches = evaluated(hundred, attacks, replace(PLAIN, batch_size=7))
    ranks = [one.rows["rank"].to_numpy() for one in (found, batches)]
    assert (ranks[0] == ranks[1]).all()


def test_variants_go_on_until_the_label_has_left(hundred):
    """Though the first of them stops where the first class is lost."""
    model, x, y, _ = hundred
    attack, plain = PGD(Linf(0.04), goal=goals.TopMargin(K)), PGD(Linf(0.04), goal=goals.margin)
    variants = [Variant("", "plain", plain), Variant("", "bpda", BPDA(attack))]
    whole = combined(attack, variants, stochastic=False)
    assert whole.aim == goals.TopMargin(K)
    left = rank_of(model(whole(model, x, y, seed=0)), y) < K
    alone = rank_of(model(attack(model, x, y, seed=0)), y) < K
    assert left.sum() <= alone.sum() < len(y)


def test_what_an_attack_aims_at_is_the_least_that_its_parts_do():
    threat, five = Linf(0.1), goals.TopMargin(5)
    aims = {
        PGD(threat): 1,
        PGD(threat, goal=five): 5,
        BPDA(PGD(threat, goal=goals.Minus(five, 0.5, goals.reconstruction_error(abs)))): 5,
        Worst((PGD(threat, goal=five), APGD(threat, goal=goals.TopMargin(7))), aim=five): 5,
        Worst((PGD(threat, goal=five), PGD(threat)), aim=five): 1,
        Worst((PGD(threat, goal=five),)): 1,  # it stops by its own aim
        DeepFool(threat): 1,
    }
    assert {attack: aimed_at(attack) for attack in aims} == aims


def test_it_says_so_where_it_aims_at_five(hundred, capsys):
    def printed(*kinds):
        attacks = [(name, PGD(Linf(0.02), steps=2, goal=goal)) for name, goal in kinds]
        show_evaluation(evaluated(hundred, attacks), json=False)
        return " ".join(capsys.readouterr().out.split())

    first, five = ("margin", goals.margin), ("five", goals.TopMargin(K))
    assert "upper limit" in printed(first)
    assert "aimed at" not in printed(first)
    assert "upper limit" in (both := printed(first, five))
    assert "aimed at" in both
    assert "upper limit" not in printed(five)
    assert "upper limit" in printed(("three", goals.TopMargin(3)))


def test_workers_find_the_same(hundred):
    model, _, _, toy = hundred
    attacks = [("five", APGD(Linf(0.05), steps=10, goal=goals.TopMargin(K)))]
    config = replace(PLAIN, batch_size=10)
    alone, shared = (
        evaluate_data(model, toy, attacks, config, "model", workers=count) for count in (None, 2)
    )
    assert (alone.rows["rank"].to_numpy() == shared.rows["rank"].to_numpy()).all()


def test_in_training_it_leaves_less_of_the_held_out_images_among_five(hundred):
    model, _, _, held = hundred
    fabric = Schedule(epochs=1, accelerator="cpu").launch()
    left = [
        Validation(data=held, attack=PGD(Linf(0.05), goal=goal), top=K).measure(model, 0, fabric)
        for goal in (goals.margin, goals.TopMargin(K))
    ]
    assert left[1]["val_robust_top5"] < left[0]["val_robust_top5"]
    assert left[1]["val_robust_accuracy"] >= left[0]["val_robust_accuracy"]
