import pytest
import torch
from torch import nn

from holdfast import goals
from holdfast.attacks import PGD
from holdfast.defenses import Binarise, GaussianNoise, StraightThrough
from holdfast.errors import GradientError, InputError, ModelError
from holdfast.gradients import Average
from holdfast.threat import Linf
from tests.toys import Wrapped, images, small_network


def robust(model, x, y):
    return float((model(x).argmax(dim=1) == y).float().mean())


def test_binarised_pixels():
    x = torch.tensor([[0.0, 0.5, 0.50001, 1.0]])
    assert Binarise()(x).tolist() == [[0.0, 0.0, 1.0, 1.0]]
    assert Binarise(0.2)(x).tolist() == [[0.0, 1.0, 1.0, 1.0]]
    assert Binarise()(x.double()).dtype == torch.float64
    assert "0.5" in repr(Binarise())
    with pytest.raises(InputError):
        Binarise(1.2)


def test_forward_is_the_layer_to_the_last_bit_and_backward_the_surrogate():
    layer = Wrapped(lambda x: (x * 7).round() / 7)
    x = images(5).requires_grad_()
    for surrogate, slope in ((None, 1.0), (lambda x: 3 * x, 3.0), (nn.Tanh(), None)):
        wrapped = StraightThrough(layer) if surrogate is None else StraightThrough(layer, surrogate)
        out = wrapped(x)
        assert torch.equal(out, layer(x))
        (grad,) = torch.autograd.grad(out.sum(), x)
        expected = 1 - x.tanh() ** 2 if slope is None else torch.full_like(x, slope)
        assert torch.allclose(grad, expected)
    with torch.no_grad():
        assert torch.equal(StraightThrough(layer)(x), layer(x))


def test_a_surrogate_of_another_shape_is_refused():
    with pytest.raises(ModelError, match="surrogate"):
        StraightThrough(Binarise(), nn.Flatten())(images(2))


def test_pgd_breaks_a_threshold_when_the_gradient_passes_straight_through():
    network, x = small_network(), images(30)
    plain = nn.Sequential(Binarise(), network)
    wrapped = nn.Sequential(StraightThrough(Binarise()), network)
    y = plain(x).argmax(dim=1)
    attack = PGD(Linf(0.3), steps=20)
    with pytest.raises(GradientError, match="BPDA"):
        attack(plain, x, y)
    x_adv = attack(wrapped, x, y)
    assert robust(plain, x, y) == 1.0
    assert robust(plain, x_adv, y) < 0.2


def test_bpda_with_eot_breaks_a_noisy_threshold():
    network, x = small_network(), images(30)
    layers = GaussianNoise(0.1), StraightThrough(Binarise())
    model = nn.Sequential(*layers, network)
    y = network(Binarise()(x)).argmax(dim=1)
    attack = PGD(
        Linf(0.3), steps=20, goal=goals.margin, gradient=Average(samples=8), early_stop=False
    )
    x_adv = attack(model, x, y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert sum(robust(model, x, y) for _ in range(10)) / 10 > 0.5
        assert sum(robust(model, x_adv, y) for _ in range(10)) / 10 < 0.2


def test_layers_declare_what_they_are():
    assert not Binarise().differentiable
    assert Binarise().purifies
    assert StraightThrough(Binarise()).differentiable
