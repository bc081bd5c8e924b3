"""Orthogonal adversarial directions: EAT's lemmas, and counts on models where they are known."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from holdfast.diagnose import adversarial_directions, fraction_with_at_least, regular_hadamard
from holdfast.diagnose.hadamard import ORDERS
from holdfast.diagnose.subspace import l2_directions, linf_directions
from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.threat import L1, L2, Linf
from tests.toys import images, small_network, two_class


def gram(directions):
    flat = directions.flatten(2).double()
    return flat @ flat.transpose(1, 2)


def stream(count, seed=0):
    return Stream.of(seed, torch.arange(count))


@pytest.mark.parametrize("order", ORDERS)
def test_a_regular_hadamard_matrix(order):
    matrix = regular_hadamard(order)
    assert torch.equal(matrix.abs(), torch.ones(order, order))
    assert torch.equal(matrix @ matrix.T, order * torch.eye(order))
    assert torch.equal(matrix.sum(dim=1), torch.full((order,), math.sqrt(order)).double())


def test_an_order_without_a_matrix():
    for order in (0, 2, 8, 9, 144):
        with pytest.raises(InputError, match=str(order)):
            regular_hadamard(order)


@given(order=st.sampled_from(ORDERS), beyond=st.integers(0, 150), seed=st.integers(0, 99))
def test_linf_directions_are_as_lemma_7_says(order, beyond, seed):
    size = order + beyond  # need not be a multiple of the order
    whole = size // order * order
    grad = torch.randn(2, 1, size, generator=torch.Generator().manual_seed(seed))
    grad[:, :, : size // 3] = 0
    directions = linf_directions(grad, order, stream(2, seed))
    assert set(directions.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert torch.equal(gram(directions), whole * torch.eye(order).expand(2, -1, -1).double())
    assert ((directions == 0).flatten(2).sum(dim=2) == size - whole).all()
    sign = torch.where(grad < 0, -1.0, 1.0)
    aligned = (sign[:, None] * directions).flatten(2).sum(dim=2)
    assert torch.equal(aligned, torch.full((2, order), whole / math.sqrt(order)))
    if whole == size:  # the bound of lemma 6 is met
        assert float(aligned.min()) == pytest.approx(size * order**-0.5)


def test_no_orthogonal_signs_are_better_aligned_than_lemma_6_says():
    """All pairs of orthogonal sign vectors in 4 dimensions, and all quadruples."""
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4)))
    for count in (2, 3, 4):
        best = 0.0
        for chosen in itertools.combinations(range(16), count):
            rows = signs[list(chosen)]
            if torch.equal(rows @ rows.T, 4 * torch.eye(count)):
                best = max(best, float((rows @ signs[15]).min()) / 4)
        assert best <= count**-0.5
        assert (best == count**-0.5) == (count == 4)  # where a regular Hadamard matrix exists


def test_the_mean_over_permutations_is_as_lemma_7_says():
    draws, size, order = 4000, 12, 4
    grad = torch.arange(1.0, size + 1).expand(draws, 1, size) * torch.tensor([1.0, -1.0]).repeat(6)
    products = (linf_directions(grad, order, stream(draws)) * grad[:, None]).flatten(2).sum(dim=2)
    expected = float(grad[0].abs().sum()) / math.sqrt(order)
    error = products.std(dim=0) / math.sqrt(draws)
    assert ((products.mean(dim=0) - expected).abs() < 4 * error).all()
    assert (error > 0.05).all()  # the order of the pixels matters, and differs between images


@given(order=st.integers(1, 20), beyond=st.integers(0, 30), seed=st.integers(0, 99))
def test_l2_directions_meet_the_bound(order, beyond, seed):
    grad = torch.randn(3, 1, order + beyond, generator=torch.Generator().manual_seed(seed))
    directions = l2_directions(grad, order, stream(3, seed))
    assert torch.allclose(gram(directions), torch.eye(order).double(), atol=1e-5)
    products = (directions * grad[:, None]).flatten(2).sum(dim=2)
    length = grad.flatten(1).norm(dim=1, keepdim=True)
    assert torch.allclose(products, (length / math.sqrt(order)).expand_as(products), atol=1e-5)


@pytest.mark.parametrize("draw", [linf_directions, l2_directions])
def test_directions_depend_on_the_image_alone(draw):
    grad = images(3) - 0.5
    together = draw(grad, 16, stream(3))
    assert torch.allclose(together[1:2], draw(grad[1:2], 16, stream(3).take(torch.tensor([1]))))
    assert not torch.allclose(together, draw(grad, 16, stream(3, seed=1)))
    assert draw(torch.zeros_like(grad), 16, stream(3)).isfinite().all()
    for order in (0, 49):
        with pytest.raises(InputError):
            draw(grad, order, stream(3))


def plane(distance, norm):
    """36 pixels; class 1 begins at this distance from grey in the dual norm."""
    normal = torch.ones(36) / (6.0 if norm == 2 else 36.0)
    normal[::3] *= -1
    return two_class(normal, float(normal.sum()) / 2 + distance), torch.full((1, 1, 6, 6), 0.5)


@pytest.mark.parametrize(("threat", "norm"), [(L2, 2), (Linf, math.inf)])
def test_behind_a_plane_all_k_fool_or_none(threat, norm):
    model, x = plane(0.09, norm)
    counts = adversarial_directions(model, x, torch.tensor([0]), threat(0.45), (1, 4, 16, 36))
    assert counts.tolist() == [[1, 4, 16, 0]]  # 0.45 / √k against 0.09


def test_the_fraction_of_images_with_at_least_k():
    counts = torch.tensor([[1, 4, 0], [1, 0, 0], [0, 0, 0], [1, 2, 9]])
    fractions = fraction_with_at_least(counts).tolist()
    assert fractions == [0.75, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]
    assert fraction_with_at_least(torch.zeros(2, 1, dtype=torch.int64)).tolist() == [0.0]


def test_counts_do_not_depend_on_the_batch():
    model, x = small_network(), images(6)
    y = model(x).argmax(dim=1)
    together = adversarial_directions(model, x, y, Linf(0.3), (4, 16))
    one = adversarial_directions(model, x[2:3], y[2:3], Linf(0.3), (4, 16), index=torch.tensor([2]))
    assert 0 < int(together.sum()) < 6 * 20
    assert torch.equal(together[2:3], one)


def test_what_has_no_directions():
    model, x = small_network(), images(2)
    y = model(x).argmax(dim=1)
    with pytest.raises(InputError, match="l1"):
        adversarial_directions(model, x, y, L1(1.0))
    for endless in (Linf(float("inf")), L2(float("inf"))):
        with pytest.raises(InputError, match="eps is inf"):
            adversarial_directions(model, x, y, endless)
    with pytest.raises(InputError, match="image 1"):
        adversarial_directions(model, x, torch.tensor([int(y[0]), (int(y[1]) + 1) % 4]), L2(1.0))
