import math
from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from holdfast import goals, losses
from holdfast.attacks import Restarts, Square, SquareSearch, against_randomness
from holdfast.attacks.square import _hill, _patterns
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.threat import L1, L2, Linf
from tests.toys import images, small_network, two_class


@pytest.fixture(scope="module")
def digits():
    """A network trained on the 8x8 digits, and images that it gets right."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(data.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[:1500]), y[:1500]).backward()
            optimizer.step()
    model.eval()
    x, y = x[1500:], y[1500:]
    right = model(x).argmax(dim=1) == y
    return model, x[right][:100], y[right][:100]


def robust(model, x, y):
    return int((model(x).argmax(dim=1) == y).sum())


def asked(attack, model, x, y):
    counted = Counted(model, torch.arange(len(x)))
    return attack(counted, x, y), counted.forwards, counted.backwards


def test_queries_are_the_budget_and_a_fooled_image_stops_costing(digits):
    model, x, y = digits
    seen = torch.zeros(len(x), dtype=torch.int64)

    def watch(step):
        seen[step.position] += 1

    counted = Counted(model, torch.arange(len(x)))
    x_adv = Square(Linf(0.15), queries=40)(counted, x, y, callback=watch)
    fooled = model(x_adv).argmax(dim=1) != y
    assert torch.equal(counted.forwards, seen)
    assert (counted.backwards == 0).all()
    assert (seen[~fooled] == 40).all()
    assert 0 < fooled.sum() < len(x)
    assert (seen[fooled] < 40).sum() >= fooled.sum() - 3
    spent = asked(Square(Linf(0.15), queries=40, early_stop=False), model, x[:5], y[:5])[1]
    assert spent.tolist() == [40] * 5


def test_a_wrong_image_costs_one_query_and_stays(digits):
    model, x, y = digits
    x_adv, forwards, _ = asked(Square(L2(1.0)), model, x[:4], (y[:4] + 1) % 10)
    assert torch.equal(x_adv, x[:4])
    assert forwards.tolist() == [1] * 4


def test_one_query_asks_the_image_alone(digits):
    model, x, y = digits
    x_adv, forwards, _ = asked(Square(Linf(0.5), queries=1), model, x[:4], y[:4])
    assert torch.equal(x_adv, x[:4])
    assert forwards.tolist() == [1] * 4


@pytest.mark.parametrize("threat", [Linf(0.1), L2(0.7)])
def test_squares_lie_on_the_surface_and_the_score_never_falls(threat):
    model, x = small_network((3, 9, 7)), images(4, (3, 9, 7), margin=0.4)  # the box does not bind
    y = model(x).argmax(dim=1)
    steps = []
    Square(threat, queries=60, early_stop=False)(model, x, y, callback=steps.append)
    for step in steps[1:]:
        assert torch.allclose(threat.distance(step.x, x), torch.tensor(threat.eps).double())
    points = [torch.stack([s.value for s in steps[1:k]]).amax(dim=0) for k in range(2, 60)]
    assert points[-1].gt(points[0]).all()
    if threat.name == "linf":
        for step in steps[1:]:
            assert torch.allclose((step.x - x).abs(), torch.full_like(x, threat.eps), atol=1e-6)


def test_a_change_is_one_square_per_image_at_its_own_place():
    """ℓ∞: what differs from the best point is a square of the schedule's side, in each colour."""
    model, x = small_network((3, 10, 10)), images(6, (3, 10, 10), margin=0.3)
    y, queries = model(x).argmax(dim=1), 200
    steps = []
    attack = Square(Linf(0.1), queries=queries, early_stop=False)
    attack(model, x, y, callback=steps.append)
    best, value = steps[1].x, steps[1].value
    sides, places = [], []
    for i, step in enumerate(steps[2:]):
        changed = (step.x != best).any(dim=1)
        of_10_000 = i * 10_000 // queries
        halved = sum(of_10_000 > t for t in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
        side = max(1, round(math.sqrt(0.8 / 2**halved * 100)))
        for j in range(6):
            rows, columns = changed[j].any(dim=1).nonzero(), changed[j].any(dim=0).nonzero()
            assert len(rows) > 0  # no query is spent on the point asked before
            assert int(rows.max() - rows.min()) < side
            assert int(columns.max() - columns.min()) < side
            delta = (step.x - x)[j]
            inside = delta[:, changed[j]]
            assert (inside.sign() == inside.sign()[:, :1]).all()  # one sign a colour
            places.append((i, int(rows.min()), int(columns.min())))
        sides.append(side)
        better = step.value > value
        best = torch.where(better[:, None, None, None], step.x, best)
        value = torch.where(better, step.value, value)
    assert sides[0] == 9
    assert sides[-1] == 1
    assert all(after <= before for before, after in pairwise(sides))
    last = {place[1:] for place in places if place[0] >= 160}
    assert {row for row, _ in last} == {column for _, column in last} == set(range(10))
    assert any(len({p[1:] for p in places if p[0] == i}) > 1 for i in range(160, 198))


def test_the_ball_s_optimum_on_a_linear_model_is_reached():
    """ℓ∞: the margin can fall by eps · ‖w‖₁, when every pixel has its own sign."""
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x, y = images(5, margin=0.4), torch.ones(5, dtype=torch.int64)
    score = x.flatten(1) @ normal
    reach = 0.05 * float(normal.norm(1))
    model = two_class(normal, float(score.min()) - 1.5 * reach)
    fall = score - Square(Linf(0.05), queries=800)(model, x, y).flatten(1) @ normal
    assert (fall >= 0.999 * reach).all()


def test_a_pattern_is_that_of_the_paper():
    """Equation 2 with its own indices: η_{r,s} = Σ_{k=0}^{M} 1 / (n + 1 - k)²."""
    of = (torch.float64, torch.device("cpu"))
    for tall, wide in ((2, 5), (3, 5), (1, 3), (3, 7), (4, 9)):
        n = max(tall, wide) // 2
        for r in range(1, tall + 1):
            for s in range(1, wide + 1):
                m = n - max(abs(r - tall // 2 - 1), abs(s - wide // 2 - 1))
                expected = sum(1 / (n + 1 - k) ** 2 for k in range(m + 1))
                assert float(_hill(tall, wide, *of)[r - 1, s - 1]) == pytest.approx(expected)
    above, beside = _patterns((7, 7), *of)
    assert torch.equal(above, beside.T)
    assert float(above.norm()) == pytest.approx(1)
    assert (above[:3] > 0).all()
    assert (above[3:] < 0).all()


def test_targets_are_reached(digits):
    model, x, y = digits
    target = (y[:30] + 1) % 10
    goal = goals.toward(target, losses.towards_margin)
    x_adv = Square(Linf(0.5), queries=400, goal=goal)(model, x[:30], y[:30])
    assert (model(x_adv).argmax(dim=1) == target).float().mean() > 0.8


def test_restarts_climb_again_what_is_left(digits):
    model, x, y = digits
    once, often = (Square(Linf(0.12), queries=30, restarts=k) for k in (1, 5))
    assert isinstance(once.engine(), SquareSearch)
    assert isinstance(often.engine(), Restarts)
    x_adv, forwards, _ = asked(often, model, x, y)
    assert robust(model, x_adv, y) < robust(model, once(model, x, y), y)
    assert int(forwards.max()) == 5 * 30 + 4  # between two runs one query says who is left


def test_on_a_stochastic_model_one_lucky_draw_stops_nothing():
    model = nn.Sequential(GaussianNoise(0.3), small_network())
    x, y = images(6), torch.zeros(6, dtype=torch.int64)
    attack = against_randomness(Square(Linf(0.1), queries=8, restarts=2), 5)
    whole, forwards, _ = asked(attack, model, x, y)
    assert int(forwards.min()) >= 9
    assert torch.equal(attack(model, x[2:3], y[2:3], index=torch.tensor([2])), whole[2:3])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_weaker_than_torchattacks_and_art(digits, norm):
    """At equal queries; each of theirs moves the same square of all images at once."""
    torchattacks = pytest.importorskip("torchattacks")
    model, x, y = digits
    threat = {"linf": Linf(0.12), "l2": L2(0.8)}[norm]
    ours = robust(model, Square(threat, queries=101)(model, x, y), y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attack = torchattacks.Square(
            model, {"linf": "Linf", "l2": "L2"}[norm], threat.eps, n_queries=100, verbose=False
        )
        assert ours <= robust(model, attack(x, y), y) + 3
    assert ours < len(x)


@pytest.mark.parametrize(
    "wrong", [{"queries": 0}, {"p_init": 0.0}, {"p_init": 1.5}, {"restarts": 0}]
)
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        Square(Linf(0.1), **wrong)
    with pytest.raises(InputError, match="l1"):
        Square(L1(1.0))


@pytest.mark.parametrize("shape", [(7,), (5, 3), (3, 1, 1), (1, 12, 5), (2, 6, 11)])
@pytest.mark.parametrize("threat", [Linf(math.inf), L2(math.inf), L2(0.0), Linf(0.0)])
def test_any_shape_and_any_eps(shape, threat):
    size = math.prod(shape)
    model = two_class(torch.linspace(-1, 1, size), 100.0)  # never fooled
    x, y = images(3, shape), torch.zeros(3, dtype=torch.int64)
    x_adv = Square(threat, queries=30)(model, x, y)
    assert x_adv.isfinite().all()
    assert torch.equal(x_adv, x) == (threat.eps == 0)
