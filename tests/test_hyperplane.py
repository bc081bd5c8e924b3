import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from holdfast.attacks.engine.hyperplane import (
    Plane,
    across,
    nearest_plane,
    plane_at,
    ranked_classes,
    shortest_to_plane,
)
from holdfast.counting import Counted
from holdfast.random import Stream, drawing_from
from holdfast.threat import dual
from tests.toys import Saturated, images, random_linear, small_network

NORMS = [math.inf, 2.0, 1.0]


def streams(count):
    return Stream.of(0, torch.arange(count))


def solved(x, w, value, p):
    """The smallest step by SciPy, or None where plane and box do not meet."""
    size, bounds = len(x), np.stack([-x, 1 - x], axis=1)
    if p == 2:
        if (
            not -np.maximum(w * bounds[:, 0], w * bounds[:, 1]).sum()
            <= value
            <= -np.minimum(w * bounds[:, 0], w * bounds[:, 1]).sum()
        ):
            return None
        found = optimize.minimize(
            lambda d: d @ d,
            np.zeros(size),
            jac=lambda d: 2 * d,
            bounds=bounds,
            constraints={"type": "eq", "fun": lambda d: value + w @ d, "jac": lambda d: w},
            options={"ftol": 1e-11, "maxiter": 500},
        )
        assert abs(value + w @ found.x) < 1e-7
        return math.sqrt(found.fun)
    # d = up - down, both at least 0; in ℓ∞ every one of them is at most t, which is minimised.
    plane = np.concatenate([w, -w])
    limits = [*zip(np.zeros(size), bounds[:, 1], strict=True)]
    limits += [*zip(np.zeros(size), -bounds[:, 0], strict=True)]
    if p == 1:
        found = optimize.linprog(np.ones(2 * size), A_eq=plane[None], b_eq=[-value], bounds=limits)
    else:
        found = optimize.linprog(
            np.append(np.zeros(2 * size), 1),
            A_ub=np.concatenate([np.eye(2 * size), -np.ones((2 * size, 1))], axis=1),
            b_ub=np.zeros(2 * size),
            A_eq=np.append(plane, 0)[None],
            b_eq=[-value],
            bounds=[*limits, (0, None)],
        )
    return None if found.status == 2 else found.fun


@pytest.mark.parametrize("p", NORMS)
@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 9),
    fraction=st.sampled_from([-1.3, -0.9, -0.5, -0.1, 0.0, 0.2, 0.6, 0.99, 1.01]),
    corners=st.booleans(),
    blind=st.booleans(),
    scale=st.sampled_from([1.0, 1e-20, 1e20]),
)
def test_the_step_is_the_shortest_within_the_box(p, seed, size, fraction, corners, blind, scale):
    rng = np.random.default_rng(seed)
    x, w = rng.random(size), rng.normal(size=size)
    x = x.round() if corners else x
    w = w * (rng.random(size) > 0.4) if blind else w
    reach = (
        np.maximum(-w * x, w * (1 - x)).sum()
        if fraction < 0
        else np.maximum(w * x, -w * (1 - x)).sum()
    )
    value = fraction * reach  # |fraction| > 1: the plane does not meet the box
    plane = Plane(torch.tensor([value * scale]), torch.tensor(w * scale)[None])
    delta = shortest_to_plane(torch.tensor(x)[None], plane, p)[0].numpy()
    assert ((x + delta >= -1e-12) & (x + delta <= 1 + 1e-12)).all()
    assert (delta[w == 0] == 0).all()
    expected = solved(x, w, value, p) if abs(fraction) < 1 else None
    if expected is None:  # the corner nearest to the plane
        assert abs(value + w @ delta) == pytest.approx(max(abs(value) - reach, 0), abs=1e-9)
    else:
        assert value + w @ delta == pytest.approx(0, abs=1e-9)
        assert np.linalg.norm(delta, p) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("p", NORMS)
def test_away_from_the_sides_the_step_has_the_length_of_the_formula(p):
    x, w = (
        images(6, margin=0.45),
        torch.randn(6, 1, 6, 6, generator=torch.Generator().manual_seed(0)),
    )
    value = torch.tensor([0.1, -0.1, 0.02, 0.0, -0.03, 0.05])
    delta = shortest_to_plane(x, Plane(value, w), p).flatten(1)
    expected = value.abs() / w.flatten(1).norm(dual(p), dim=1)
    assert torch.allclose(delta.norm(p, dim=1).float(), expected, atol=1e-7)


def test_each_example_has_its_own_step():
    x, w = images(8), torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    plane = Plane(torch.linspace(-3, 3, 8), w)
    for p in NORMS:
        whole = shortest_to_plane(x, plane, p)
        for i in range(8):
            one = Plane(plane.value[i : i + 1], w[i : i + 1])
            assert torch.equal(shortest_to_plane(x[i : i + 1], one, p)[0], whole[i])


def test_a_plane_without_a_direction_moves_nothing():
    plane = Plane(torch.tensor([1.0, 0.0]), torch.zeros(2, 1, 6, 6))
    for p in NORMS:
        assert (shortest_to_plane(images(2), plane, p) == 0).all()


@pytest.mark.parametrize("p", NORMS)
def test_the_nearest_plane_of_a_linear_model(p):
    model, x, y = random_linear(5, 36), images(7), torch.arange(7) % 5
    others = ranked_classes(model(x), y)
    value, normal = nearest_plane(model, x, y, others, p=p, rng=streams(7))
    logits, weight = model(x).detach(), model.weight.detach()
    for i in range(7):
        options = [k for k in range(5) if k != y[i]]
        far = [
            float((logits[i, k] - logits[i, y[i]]).abs() / (weight[k] - weight[y[i]]).norm(dual(p)))
            for k in options
        ]
        k = options[int(np.argmin(far))]
        w, f = weight[k] - weight[y[i]], logits[i, k] - logits[i, y[i]]
        scale = w.abs().max()
        assert torch.allclose(normal[i].flatten(), w / scale, atol=1e-6)
        assert value[i] == pytest.approx(float(f / scale), abs=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_nearest_plane_does_not_depend_on_the_logits_scale(scale):
    model, x, y = small_network(), images(5), torch.zeros(5, dtype=torch.int64)
    others = ranked_classes(model(x), y)
    plain = nearest_plane(model, x, y, others, p=2.0, rng=streams(5))
    scaled = nearest_plane(Saturated(model, scale), x, y, others, p=2.0, rng=streams(5))
    assert torch.allclose(plain.normal, scaled.normal, atol=1e-5)
    assert torch.allclose(plain.value, scaled.value, rtol=1e-4)


def test_a_plane_costs_a_forward_pass_and_a_backward_pass_for_each_class():
    model = Counted(small_network(classes=6), torch.arange(4))
    others = torch.tensor([[1, 2, 5]] * 4)
    with drawing_from(streams(4)):
        nearest_plane(
            model, images(4), torch.zeros(4, dtype=torch.int64), others, p=2.0, rng=streams(4)
        )
    assert model.forwards.tolist() == [1] * 4
    assert model.backwards.tolist() == [3] * 4


def test_classes_are_ranked_without_the_label():
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [0.0, 5.0, 5.0, -torch.inf]])
    assert ranked_classes(logits, torch.tensor([0, 1])).tolist() == [[1 + 1, 1, 3], [2, 0, 3]]


def test_a_plane_is_restated_elsewhere():
    plane = Plane(torch.tensor([0.5]), torch.tensor([[1.0, -2.0]]))
    moved = plane_at(plane, torch.tensor([[0.0, 0.0]]), torch.tensor([[0.3, 0.1]]))
    assert moved.value.item() == pytest.approx(0.6)


@pytest.mark.parametrize("p", NORMS)
def test_a_plane_through_the_point_is_moved_ahead(p):
    x = images(2)
    plane = Plane(torch.tensor([0.0, -5.0]), torch.randn(2, 1, 6, 6))
    ahead = across(plane, x, p)
    assert -1e-4 < ahead.value[0] < 0
    assert ahead.value[1] == -5
    assert (shortest_to_plane(x, ahead, p)[0] != 0).any()
