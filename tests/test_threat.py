import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from holdfast.errors import HoldfastError, InputError
from holdfast.random import Stream
from holdfast.tensors import norm, unit
from holdfast.threat import L0, L1, L2, Linf, dual, l1
from tests.cases import THREATS

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
L1_EPS = 0.7
SHAPES = [(3,), (1, 4, 4), (3, 5, 2), (2, 3, 2, 2)]


@st.composite
def situations(draw, kinds=(Linf, L2, L1, L0)):
    """A threat, clean images in the box, and any two points."""
    shape = draw(st.sampled_from(SHAPES))
    dtype = draw(st.sampled_from(DTYPES))
    size = math.prod(shape)
    kind = draw(st.sampled_from(kinds))
    largest = {Linf: 1.0, L2: math.sqrt(size), L1: float(size), L0: float(size)}[kind]
    eps = draw(st.sampled_from([0.0, 1e-3, 0.03, 0.3, 1.0])) * largest
    eps = float(math.ceil(eps)) if kind is L0 else eps
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    clean = torch.rand(4, *shape, generator=generator)
    if draw(st.booleans()):
        clean = clean.round()  # in the corners of the box
    far = draw(st.sampled_from([0.1, 1.0, 30.0]))
    points = clean + far * torch.randn(2, 4, *shape, generator=generator)
    return kind(eps), clean.to(dtype), points[0].to(dtype), points[1].to(dtype)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", [Linf, L2, L1, L0])
@pytest.mark.parametrize(
    "eps", ["1", b"1", None, True, 1j, [1], torch.tensor(1.0), 10**400, math.nan, -1, -math.inf]
)
def test_a_size_is_a_number_of_at_least_0(kind, eps):
    with pytest.raises(HoldfastError, match=r"^eps is "):
        kind(eps)


@pytest.mark.usefixtures("unchecked")
def test_a_size_is_recorded_as_python_writes_it():
    assert repr(Linf(np.float64(0.1))) == "Linf(eps=0.1)"
    assert repr(L2(np.float32(0.5))) == "L2(eps=0.5)"
    assert repr(L0(3)) == "L0(eps=3)"
    assert Linf(math.inf).eps == math.inf


@given(situations())
def test_projection_is_feasible(situation):
    threat, x0, x, _ = situation
    projected = threat.project(x, x0)
    assert projected.dtype == x0.dtype
    assert ((projected >= 0) & (projected <= 1)).all()
    assert (threat.distance(projected, x0) <= threat.eps).all()  # to the last bit


@given(situations(kinds=(Linf, L2, L1)))
def test_what_lies_beyond_the_ball_is_brought_onto_its_edge(situation):
    """No room is given away but what rounding may need: a unit in the last place of each pixel."""
    threat, _, x, _ = situation
    x0 = torch.full_like(x, 0.5)
    threat = type(threat)(min(threat.eps, 0.4))  # so that the box cuts nothing off
    beyond = threat.distance(x, x0) > threat.eps
    lost = threat.eps - threat.distance(threat.project(x, x0), x0)[beyond]
    pixels = torch.finfo(x0.dtype).eps * (threat.diameter(x0) + 4 * threat.eps)
    sums = 8 * torch.finfo(torch.float64).eps * x0[0].numel() * max(1.0, float(x.abs().max()))
    assert (lost <= pixels + sums).all()


@given(situations())
def test_projection_is_idempotent(situation):
    threat, x0, x, _ = situation
    once = threat.project(x, x0)
    # A feasible point moves by no more than the rounding that put it on the edge of the ball.
    rounding = 2 * torch.finfo(x0.dtype).eps * max(1.0, threat.eps, float(x.abs().max()))
    assert (once.double() - threat.project(once, x0).double()).abs().max() <= rounding


@given(situations(kinds=(Linf, L2, L1)))  # a ball in ℓ0 is not convex
def test_projection_is_non_expansive(situation):
    threat, x0, x, other = situation
    before = norm(x.double() - other.double(), 2)
    after = norm(threat.project(x, x0).double() - threat.project(other, x0).double(), 2)
    # Each of d pixels of both points is rounded, at the size of the point that is projected.
    scale = max(1.0, float(x.abs().max()), float(other.abs().max()))
    rounding = 4 * torch.finfo(x0.dtype).eps * math.sqrt(x0[0].numel()) * scale
    assert (after <= before + rounding).all()


@given(situations())
def test_a_point_within_is_left_alone(situation):
    threat, x0, x, _ = situation
    inside = threat.project(x0 + 0.01 * (threat.project(x, x0) - x0), x0)
    if float(threat.distance(inside, x0).max()) < threat.eps / 2 and threat.eps > 0.02:
        moved = (threat.project(inside, x0).double() - inside.double()).abs().max()
        assert moved <= 2 * torch.finfo(x0.dtype).eps


@given(situations())
def test_the_balls_around_images_are_those_of_the_threat(situation):
    """To the last bit, and those of chosen images as well."""
    threat, clean, x, _ = situation
    balls = threat.around(clean)
    projected = threat.project(x, clean)
    assert torch.equal(balls.project(x), projected)
    chosen = torch.tensor([2, 0])
    assert torch.equal(balls.take(chosen).project(x[chosen]), projected[chosen])


@given(situations())
def test_random_starts_are_feasible(situation):
    threat, x0, _, _ = situation
    start = threat.sample(x0, Stream.of(3, torch.arange(4)))
    assert start.dtype == x0.dtype
    assert ((start >= 0) & (start <= 1)).all()
    assert (threat.distance(start, x0) <= threat.eps).all()


@pytest.mark.parametrize("kind", THREATS.values())
@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1.0, 1e25, 1e38])
def test_steepest_has_norm_one_and_reaches_the_dual_norm(kind, scale):
    """The linearised score rises by ‖g‖_q, 1/p + 1/q = 1: Hölder's bound, attained.

    In ℓ0 a step of norm 1 changes one component, by 1.
    """
    threat = kind(1.0)
    grad = torch.randn(5, 2, 4, generator=torch.Generator().manual_seed(1)) * scale
    step = threat.steepest(grad).double()
    dual = {math.inf: 1, 2.0: 2, 1.0: math.inf, 0.0: math.inf}[threat.p]
    assert torch.allclose(norm(step, threat.p), torch.ones(5, dtype=torch.float64), rtol=1e-5)
    rise = (step * grad.double()).flatten(1).sum(dim=1)
    assert torch.allclose(rise, norm(grad.double(), dual), rtol=1e-4)


@pytest.mark.parametrize("kind", THREATS.values())
def test_without_a_limit_the_box_alone_cuts(kind):
    threat, x0 = kind(math.inf), torch.rand(4, 3, 5)
    x = x0 + 3 * torch.randn(4, 3, 5)
    assert torch.equal(threat.project(x, x0), x.clamp(0, 1))
    start = threat.sample(x0, Stream.of(3, torch.arange(4)))
    assert ((start >= 0) & (start <= 1)).all()
    assert (threat.distance(start, x0) > 0).all()


@pytest.mark.parametrize("kind", THREATS.values())
def test_steepest_of_nothing_is_nothing_and_nan_becomes_nothing(kind):
    grad = torch.zeros(3, 4)
    grad[1] = torch.nan
    grad[2] = torch.tensor([torch.inf, 0, 0, 0])
    step = kind(1.0).steepest(grad)
    assert torch.equal(step[:2], torch.zeros(2, 4))
    assert torch.equal(step[2], torch.tensor([1.0, 0, 0, 0]))


def test_l1_projection_is_the_nearest_point():
    """Against SciPy's constrained optimisation, where the box binds and where it does not."""
    generator = torch.Generator().manual_seed(0)
    for trial in range(12):
        x0 = torch.rand(1, 5, generator=generator, dtype=torch.float64)
        if trial % 2:
            x0 = x0.round()
        x = x0 + torch.randn(1, 5, generator=generator, dtype=torch.float64)
        start, target = x0.numpy()[0], x.numpy()[0]
        # d = up - down with both at least 0 makes the ℓ1 ball linear.
        best = minimize(
            lambda v, s=start, t=target: ((s + v[:5] - v[5:] - t) ** 2).sum(),
            np.zeros(10),
            jac=lambda v, s=start, t=target: np.concatenate(
                [2 * (s + v[:5] - v[5:] - t), -2 * (s + v[:5] - v[5:] - t)]
            ),
            bounds=[(0, 1 - s) for s in start] + [(0, s) for s in start],
            constraints={"type": "ineq", "fun": lambda v: L1_EPS - v.sum()},
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        ).x
        nearest = start + best[:5] - best[5:]
        projected = L1(L1_EPS).project(x, x0).numpy()[0]
        assert np.allclose(projected, nearest, atol=1e-5)


def test_l1_projection_finds_the_shift_by_newtons_steps(monkeypatch):
    """On its own piece the sum is a line: halving alone would be off by 2^-14 by then."""
    rng = torch.Generator().manual_seed(0)
    clean = torch.rand(500, 200, generator=rng, dtype=torch.float64)
    points = clean + torch.randn(500, 200, generator=rng, dtype=torch.float64)
    exact = L1(3.0).project(points, clean)
    monkeypatch.setattr(l1, "_HALVINGS", 14)
    assert torch.allclose(L1(3.0).project(points, clean), exact, rtol=0, atol=1e-14)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_a_projection_does_not_depend_on_the_batch(norm):
    """Not even in the last bit, though that in ℓ1 is searched for, and soon found for some."""
    rng = torch.Generator().manual_seed(0)
    clean = torch.rand(200, 10, generator=rng, dtype=torch.float64)
    away = torch.randn(200, 10, generator=rng, dtype=torch.float64)
    points = clean + torch.linspace(0, 1, 200)[:, None] * away
    threat = THREATS[norm](2.0)
    alone = [threat.project(a[None], b[None]) for a, b in zip(points, clean, strict=True)]
    assert torch.equal(threat.project(points, clean), torch.cat(alone))


@given(situations(kinds=(L0,)))
def test_l0_projection_is_the_nearest_point(situation):
    """Of all choices of components, each of which then goes as near as the box allows."""
    threat, x0, x, _ = situation
    clean, points = (t.double().flatten(1)[:, :9] for t in (x0, x))
    count = int(min(threat.eps, clean.shape[1]))
    choices = torch.tensor(list(combinations(range(clean.shape[1]), count)), dtype=torch.int64)
    inside = points.clamp(0, 1)
    gain = (points - clean).square() - (points - inside).square()
    most = gain[:, choices].sum(dim=2).amax(dim=1)  # nearer than x0 by so much, squared
    found = L0(count).project(points, clean)
    nearest = (points - clean).square().sum(dim=1) - most
    assert torch.allclose((points - found).square().sum(dim=1), nearest)


@given(situations(kinds=(L0,)))
def test_in_l0_what_is_not_changed_is_left_to_the_last_bit(situation):
    threat, x0, x, _ = situation
    changed = (threat.project(x, x0) != x0).flatten(1).sum(dim=1)
    moved = (x.clamp(0, 1) != x0).flatten(1).sum(dim=1)
    assert torch.equal(changed, moved.clamp(max=int(threat.eps)))


def test_each_image_has_its_own_number_of_changes():
    x0, x = torch.zeros(3, 1, 2, 3), torch.arange(18.0).view(3, 1, 2, 3) / 18
    found = L0(1).project_each(x, x0, torch.tensor([0.0, 2.0, math.inf]))
    assert (found != 0).flatten(1).sum(dim=1).tolist() == [0, 2, 6]
    assert torch.equal(found[1].flatten()[:4], torch.zeros(4))  # the largest two stay


def test_in_l0_any_components_are_drawn():
    x0 = torch.full((20_000, 5), 0.5)
    start = L0(2).sample(x0, Stream.of(0, torch.arange(len(x0))))
    changed = start != x0
    assert (changed.sum(dim=1) == 2).all()
    assert torch.allclose(changed.float().mean(dim=0), torch.tensor(0.4), atol=0.01)
    assert float(start[changed].mean()) == pytest.approx(0.5, abs=0.01)
    assert float(start[changed].var()) == pytest.approx(1 / 12, abs=0.01)


def test_l0_counts():
    with pytest.raises(InputError, match="whole number"):
        L0(0.3)


@pytest.mark.parametrize(("kind", "square"), [(Linf, 1 / 3), (L2, 1 / 4), (L1, 1 / 6)])
def test_starts_are_uniform_in_the_ball(kind, square):
    """By moments of the uniform law on two axes: the radius, 2/3 in all norms, and E x² of each."""
    x0 = torch.full((20_000, 2), 0.5)
    delta = (kind(0.4).sample(x0, Stream.of(0, torch.arange(len(x0)))) - 0.5) / 0.4
    assert float(norm(delta, kind.p).mean()) == pytest.approx(2 / 3, abs=0.01)
    assert float(delta.square().mean()) == pytest.approx(square, abs=0.005)
    assert delta.mean(dim=0).abs().max() < 0.025


@pytest.mark.parametrize("kind", THREATS.values())
@pytest.mark.parametrize("shape", SHAPES)
def test_opposite_corners_of_the_box_are_its_diameter_apart(kind, shape):
    """And no point of a ball lies further away than that, nor than its size."""
    corner = torch.zeros(2, *shape)
    diameter = kind(1.0).diameter(corner)
    assert kind(1.0).distance(1 - corner, corner).tolist() == pytest.approx([diameter] * 2)
    assert kind(math.inf).reach(corner) == kind(1e9).reach(corner) == diameter
    assert kind(1.0).reach(corner) == 1


@pytest.mark.parametrize("kind", THREATS.values())
def test_without_a_limit_the_norm_stays(kind):
    assert kind(0.5 if kind is not L0 else 2).unlimited() == kind(math.inf)


@given(st.floats(1, 1e3))
def test_exponents_are_dual(p):
    """1/p + 1/q = 1, and the dual of the dual is the norm itself."""
    assert 1 / p + 1 / dual(p) == pytest.approx(1)
    assert dual(dual(p)) == pytest.approx(p)
    assert (dual(1.0), dual(math.inf)) == (math.inf, 1.0)


def test_distances():
    x, y = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.4]])
    assert float(Linf(1).distance(x, y)) == pytest.approx(0.4)
    assert float(L2(1).distance(x, y)) == pytest.approx(0.5)
    assert float(L1(1).distance(x, y)) == pytest.approx(0.7)
    assert float(L0(1).distance(x, y)) == 2
    assert L2(1).distance(x.half(), y.half()).dtype == torch.float64


@pytest.mark.parametrize("kind", THREATS.values())
@pytest.mark.parametrize("eps", [-0.1, math.nan])
def test_a_ball_has_a_size(kind, eps):
    with pytest.raises(InputError, match="eps is"):
        kind(eps)


def test_unit_keeps_direction():
    x = torch.tensor([[3e-30, 4e-30], [0.0, 0.0]])
    assert torch.allclose(unit(x, 2), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
