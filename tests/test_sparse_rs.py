"""Sparse-RS: its budget, its exchanges by the schedule, and what no gradient shows."""

import math
from collections import Counter
from itertools import combinations

import pytest
import torch
from torch import nn

from holdfast import goals, losses
from holdfast.attacks import Restarts, SigmaZero, SparseRS, SparseSearch
from holdfast.attacks.sparse_rs import _subset
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.threat import L0, L2
from tests.digits import trained
from tests.toys import images, small_network, two_class


def robust(model, x, y):
    return int((model(x).argmax(dim=1) == y).sum())


def fewest_left(normal, x, k):
    """The most that the score of a plane can fall by k components."""
    room = torch.where(normal > 0, x.flatten(1), 1 - x.flatten(1))
    return (normal.abs() * room).topk(k, dim=1).values.sum(dim=1)


def test_the_components_that_lower_a_linear_score_most_are_found():
    normal = torch.randn(12, generator=torch.Generator().manual_seed(2))
    x, y = images(6, (1, 3, 4), margin=0.2), torch.ones(6, dtype=torch.int64)
    score = x.flatten(1) @ normal
    model = two_class(normal, float(score.min()) - 100)  # never fooled
    for k in (1, 3):
        attack = SparseRS(L0(k), queries=600)
        fall = score - attack(model, x, y).flatten(1) @ normal
        assert torch.allclose(fall, fewest_left(normal, x, k), atol=1e-5)


def test_each_point_has_k_components_in_corners_and_exchanges_as_many_as_the_schedule_says():
    model, x = small_network((3, 6, 6)), images(4, (3, 6, 6), margin=0.2)
    x[:, :, 0] = 0.0  # of a component in a corner there is one other
    x[:, :, 1] = 1.0
    y, k, queries, steps = model(x).argmax(dim=1), 30, 200, []
    attack = SparseRS(L0(k), queries=queries, alpha_init=0.5, early_stop=False)
    x_adv = attack(model, x, y, callback=steps.append)
    best, value = steps[1].x, steps[1].value
    assert torch.equal(steps[0].x, x)
    exchanged = []
    for i, step in enumerate(steps[1:], start=1):
        assert ((step.x != x).flatten(1).sum(dim=1) == k).all()
        assert ((step.x == x) | (step.x == 0) | (step.x == 1)).all()
        of_10_000 = (i - 1) * 10_000 // queries
        falls = (0, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
        divisor = (1, 2, 4, 5, 6, 8, 10, 12, 15, 20)[sum(of_10_000 > one for one in falls)]
        if i > 1:
            left = ((best != x) & (step.x == x)).flatten(1).sum(dim=1)
            taken = ((best == x) & (step.x != x)).flatten(1).sum(dim=1)
            assert (left == max(int(0.5 / divisor * k), 1)).all()
            assert torch.equal(left, taken)
            exchanged.append(int(left[0]))
        better = step.value > value
        best = torch.where(better[:, None, None, None], step.x, best)
        value = torch.where(better, step.value, value)
    assert torch.equal(x_adv, best)
    assert (exchanged[0], exchanged[-1]) == (7, 1)


def test_a_subset_is_uniform():
    """Each of the 10 pairs of 5 is as likely: 600 of 6,000, within 5 deviations of 23.2."""
    draw = torch.rand(6000, 2, generator=torch.Generator().manual_seed(0))
    pairs = Counter(tuple(sorted(pair)) for pair in _subset(draw, 5).tolist())
    assert set(pairs) == set(combinations(range(5), 2))
    assert all(abs(count - 600) < 5 * math.sqrt(6000 * 0.1 * 0.9) for count in pairs.values())
    ends = torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])  # 1.0 is what rounding may make
    assert _subset(ends, 3).sort(dim=1).values.tolist() == [[0, 1, 2]] * 2


def test_queries_are_the_budget_and_a_fooled_image_stops_costing():
    model, x, y = trained(60)
    counted = Counted(model, torch.arange(len(x)))
    x_adv = SparseRS(L0(2), queries=40)(counted, x, y)
    fooled = model(x_adv).argmax(dim=1) != y
    assert 0 < fooled.sum() < len(x)
    assert (counted.backwards == 0).all()
    assert (counted.forwards[~fooled] == 40).all()
    assert (counted.forwards[fooled] < 40).sum() >= fooled.sum() - 3
    wrong = Counted(model, torch.arange(4))
    assert torch.equal(SparseRS(L0(2))(wrong, x[:4], (y[:4] + 1) % 10), x[:4])
    assert wrong.forwards.tolist() == [1] * 4


def test_it_breaks_what_a_gradient_attack_cannot_see():
    model, x, y = trained(60)
    hidden = nn.Sequential(_Coarse(), model).eval()
    blind = SigmaZero(L0(4), steps=60, early_stop=True)(hidden, x, y)
    seen = SparseRS(L0(4), queries=300)(hidden, x, y)
    assert robust(hidden, blind, y) > 50
    assert robust(hidden, seen, y) < 20


class _Coarse(nn.Module):
    """Four grey levels, and a gradient of 0."""

    def forward(self, x):
        return (4 * x).round() / 4 + 0 * x


def test_more_queries_and_restarts_break_more():
    model, x, y = trained(60)
    once, longer = (SparseRS(L0(1), queries=k) for k in (15, 150))
    often = SparseRS(L0(1), queries=15, restarts=8)
    assert isinstance(once.engine(), SparseSearch)
    assert isinstance(often.engine(), Restarts)
    few = robust(model, once(model, x, y), y)
    assert robust(model, longer(model, x, y), y) < few
    assert robust(model, often(model, x, y), y) < few


def test_targets_are_reached():
    model, x, y = trained(20)
    target = (y + 1) % 10
    goal = goals.toward(target, losses.towards_margin)
    x_adv = SparseRS(L0(30), queries=600, goal=goal)(model, x, y)
    assert (model(x_adv).argmax(dim=1) == target).float().mean() > 0.8


@pytest.mark.parametrize("shape", [(7,), (5, 3), (1, 1, 1), (2, 6, 11)])
@pytest.mark.parametrize("eps", [0.0, 1.0, 3.0, 7.0, 1000.0])
def test_any_shape_and_any_size(shape, eps):
    size = math.prod(shape)
    model = two_class(torch.linspace(-1, 1, size), 100.0)  # never fooled
    x, y = images(3, shape), torch.zeros(3, dtype=torch.int64)
    x_adv = SparseRS(L0(eps), queries=30)(model, x, y)
    changed = (x_adv != x).flatten(1).sum(dim=1)
    assert (changed == min(int(eps), size)).all()


@pytest.mark.parametrize(
    "wrong", [{"queries": 0}, {"alpha_init": 0.0}, {"alpha_init": 1.5}, {"restarts": 0}]
)
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        SparseRS(L0(3), **wrong)


def test_other_norms_and_no_limit_are_refused():
    with pytest.raises(InputError, match="not defined in l2"):
        SparseRS(L2(1.0))
    with pytest.raises(InputError, match="give a finite eps"):
        SparseRS(L0(math.inf))
