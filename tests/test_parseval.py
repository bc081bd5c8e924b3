import copy
import itertools
import math

import pytest
import torch
from torch import nn

from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.training import Parseval, tightness
from holdfast.training.parseval import _squared_tightness


def stream(step=0):
    return Stream.of(0, torch.zeros(1, dtype=torch.int64)).fold("parseval", step)


def linear(rows, columns, seed=0):
    layer = nn.Linear(columns, rows).double()
    generator = torch.Generator().manual_seed(seed)
    layer.weight.data = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return layer


@pytest.mark.parametrize(("rows", "columns"), [(3, 7), (7, 3)])
def test_the_step_acts_on_the_singular_values_alone(rows, columns):
    """s ← (1 + β) s - β s³, the singular vectors staying as they are."""
    layer, beta = linear(rows, columns), 0.02
    u, s, v = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
    bias = layer.bias.detach().clone()
    Parseval(beta=beta, fraction=1.0)(layer, stream(), 0)
    expected = u @ torch.diag((1 + beta) * s - beta * s**3) @ v
    assert torch.allclose(layer.weight, expected)
    assert torch.equal(layer.bias, bias)


def test_the_step_descends_the_squared_tightness():
    """It is W - β/4 · ∂/∂W ‖W Wᵀ - I‖²_F."""
    layer, beta = linear(4, 6), 0.01
    weight = layer.weight.detach().clone().requires_grad_()
    loss = (weight @ weight.T - torch.eye(4)).square().sum()
    (grad,) = torch.autograd.grad(loss, weight)
    Parseval(beta=beta, fraction=1.0)(layer, stream(), 0)
    assert torch.allclose(layer.weight, weight - beta / 4 * grad)


def test_a_fraction_of_the_rows_moves_among_itself():
    layer = linear(10, 12)
    before = layer.weight.detach().clone()
    Parseval(beta=0.05)(layer, stream(), 0)
    (moved,) = torch.nonzero((layer.weight != before).any(dim=1), as_tuple=True)
    assert len(moved) == 3
    part = before[moved]
    assert torch.allclose(layer.weight[moved], 1.05 * part - 0.05 * part @ part.T @ part)


def test_a_convolution_is_a_matrix_of_flattened_kernels_and_groups_are_apart():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, groups=2)
        ).double()
    model = model.to(memory_format=torch.channels_last)
    before = copy.deepcopy(model)
    Parseval(beta=0.03, fraction=1.0)(model, stream(), 0)
    whole = before[0].weight.detach().flatten(1)
    expected = 1.03 * whole - 0.03 * whole @ whole.T @ whole
    assert torch.allclose(model[0].weight.flatten(1), expected)
    for rows in (slice(0, 3), slice(3, 6)):
        part = before[2].weight.detach().flatten(1)[rows]
        expected = 1.03 * part - 0.03 * part @ part.T @ part
        assert torch.allclose(model[2].weight.flatten(1)[rows], expected)
    assert torch.equal(model[1].weight, before[1].weight)


def test_repeated_steps_make_a_tight_frame():
    model = nn.Sequential(linear(5, 8), nn.ReLU(), linear(8, 5, seed=1))
    for layer in (model[0], model[2]):
        layer.weight.data /= 3
    for step in range(400):
        logs = Parseval(beta=0.1, fraction=0.6)(model, stream(step), step)
    wide, tall = tightness(model)
    assert wide < 0.2
    assert tall == pytest.approx(math.sqrt(3), rel=0.2)  # 8 rows in 5 dimensions
    assert logs["parseval_tightness"].isfinite()


def test_the_tightness_of_some_rows_estimates_that_of_all_without_bias():
    weight = linear(5, 4).weight.detach()
    gram = weight @ weight.T
    whole = (gram - torch.eye(5)).square().sum()
    for count in (2, 3, 5):
        parts = [
            _squared_tightness(gram[list(rows)][:, list(rows)], 5)
            for rows in itertools.combinations(range(5), count)
        ]
        assert torch.allclose(torch.stack(parts).mean(), whole)
    assert torch.allclose(tightness(linear(5, 4)), whole.sqrt())


def test_the_log_is_the_tightness_before_the_step():
    model = nn.Sequential(linear(4, 6), linear(3, 4, seed=1))
    expected = tightness(model).square().mean().sqrt()
    logs = Parseval(beta=1e-3, fraction=1.0)(model, stream(), 0)
    assert torch.allclose(logs["parseval_tightness"], expected)


def test_the_rows_are_a_function_of_the_stream():
    first, again, other = (linear(20, 30) for _ in range(3))
    for layer, step in ((first, 1), (again, 1), (other, 2)):
        Parseval(beta=0.1)(layer, stream(step), 0)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)


def test_frozen_weights_stay_and_a_network_without_matrices_is_refused():
    layer = linear(4, 4)
    layer.weight.requires_grad_(False)
    before = layer.weight.clone()
    with pytest.raises(InputError, match="no linear or convolutional"):
        Parseval(beta=0.1)(nn.Sequential(layer, nn.ReLU()), stream(), 0)
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"beta": 1.0}, {"beta": 0.1, "fraction": 0.0}])
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        Parseval(**wrong)
