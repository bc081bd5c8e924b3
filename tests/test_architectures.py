"""The papers' CIFAR-10 networks and MALADE's denoiser, layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from holdfast import data, models
from holdfast.errors import DamagedFileError, InputError, ModelError
from holdfast.models import DENOISERS, Architecture
from holdfast.models.checkpoint import MODEL, load_model, save_model
from holdfast.models.loading import load, load_denoiser
from holdfast.models.malade import Pointwise
from holdfast.models.wide_resnet import LEAK, Residual, Standardize
from holdfast.training import Schedule, train_data
from tests.toys import images

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def made(name, shape=CIFAR, classes=10):
    return Architecture(name=name, shape=shape, classes=classes)


def convolutions(network, shape):
    """(filters, kernel, side of the square that it makes) of every convolution, in order."""
    found = []

    def note(layer, _, output):
        assert output.shape[2] == output.shape[3]
        found.append((layer.out_channels, layer.kernel_size[0], output.shape[2]))

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(note)
    network.eval()(torch.rand(1, *shape))
    return found


STN_TABLE = [
    *((96, 5, 32), (96, 1, 32)),
    *((192, 5, 16), (192, 1, 16)),
    *((256, 3, 8), (256, 1, 8), (10, 1, 8)),
]
NIN_TABLE = [
    *((192, 5, 32), (160, 1, 32), (96, 1, 32)),
    *((192, 5, 16), (192, 1, 16), (192, 1, 16)),
    *((192, 3, 8), (192, 1, 8), (10, 1, 8)),
]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("stn-cifar10", STN_TABLE),
        ("convnet", [(32, 5, 32), (32, 5, 16), (64, 5, 8), (64, 4, 1), (10, 1, 1)]),
        ("nin", NIN_TABLE),
    ],
)
def test_the_convolutions_are_those_of_the_tables(name, table):
    assert convolutions(made(name).build(), CIFAR) == table


@pytest.mark.parametrize("name", ["stn-cifar10", "nin"])
def test_logits_are_means_over_the_last_maps(name):
    network = made(name).build().eval()
    x = images(2, CIFAR)
    maps = network[:-2](x)
    assert maps.shape == (2, 10, 8, 8)
    assert torch.allclose(network(x), maps.mean(dim=(2, 3)), atol=1e-6)


def test_dropout_and_activations_are_those_of_the_papers():
    kinds = [type(layer) for layer in models.STNCIFAR()]
    assert kinds.count(nn.ELU) == 6
    pooled = [kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.MaxPool2d]
    assert pooled == [nn.Dropout, nn.Dropout]
    assert [type(layer) for layer in models.NIN()].count(nn.Dropout) == 2
    for network in (models.STNCIFAR(), models.NIN()):
        assert {layer.p for layer in network if isinstance(layer, nn.Dropout)} == {0.5}


def test_overlapping_pools_see_what_the_authors_see():
    pool = next(layer for layer in models.STNCIFAR() if isinstance(layer, nn.MaxPool2d))
    x = torch.arange(36.0).view(1, 1, 6, 6)  # rising, so each window's maximum is its last corner
    rows = torch.tensor([2, 4, 5])  # windows from rows 0, 2 and 4; the last is cut at the side
    assert torch.equal(pool(x)[0, 0], x[0, 0][rows][:, rows])


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 8, 8), (3, 33, 40), (3, 64, 64)])
def test_networks_for_cifar_take_other_shapes(shape):
    for name in ("convnet", "nin", "stn-cifar10"):
        assert made(name, shape, 4).build()(torch.rand(1, *shape)).shape == (1, 4)


@pytest.mark.parametrize(
    ("name", "side", "words"),
    [
        ("convnet", 7, "7×7 pixels are too small for convnet"),
        ("nin", 3, "3×3 pixels are too small"),
        ("stn-cifar10", 2, "2×2 pixels are too small"),
        ("madry-cifar10", 30, "multiples of 4"),
    ],
)
def test_images_that_do_not_fit_are_refused(name, side, words):
    with pytest.raises(InputError, match=words):
        made(name, (3, side, side)).build()


@pytest.mark.parametrize("name", ["convnet", "nin", "stn-cifar10"])
def test_initial_weights_are_those_of_he(name):
    for layer in made(name).build():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 10_000:
            fan = layer.in_channels * layer.kernel_size[0] ** 2
            assert float(layer.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan), rel=0.03)
            assert not layer.bias.any()


@cache
def wide_resnet():
    return made("madry-cifar10").build().eval()


class TestWideResNet:
    """Madry et al.'s CIFAR-10 network."""

    def test_depth_widths_and_sides(self):
        expected = [(16, 3, 32)] + 10 * [(160, 3, 32)] + 10 * [(320, 3, 16)] + 10 * [(640, 3, 8)]
        assert convolutions(wide_resnet(), CIFAR) == expected

    def test_initial_weights(self):
        network = wide_resnet()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d):
                spread = math.sqrt(2 / (9 * layer.out_channels))  # as the authors' code has it
                assert float(layer.weight.detach().std()) == pytest.approx(spread, rel=0.05)
        assert float(network[-1].weight.detach().abs().max()) <= math.sqrt(3 / 640)
        assert not network[-1].bias.any()

    def test_only_the_first_unit_shares_its_activation(self):
        shared = [layer.shared for layer in wide_resnet() if isinstance(layer, Residual)]
        assert shared == [True] + 14 * [False]

    def test_standardising_by_hand(self):
        x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
        x[1] = 0.5 + 1e-5 * torch.tensor([-1.0, 1.0])  # below the floor of 1 / (255 √2)
        result = Standardize()(x)
        assert torch.allclose(result[0].flatten(), torch.tensor([-1.0, 1.0]))
        tiny = 1e-5 * 255 * math.sqrt(2)
        assert torch.allclose(result[1].flatten(), torch.tensor([-tiny, tiny]), rtol=1e-2)

    def test_standardising_is_the_same_for_every_exposure(self):
        x = images(3, CIFAR)
        assert torch.allclose(Standardize()(0.3 + 0.5 * x), Standardize()(x), atol=1e-4)

    def test_a_flat_image_has_a_gradient(self):
        x = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
        Standardize()(x).square().sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad, torch.zeros_like(x))

    @pytest.mark.parametrize("shared", [False, True])
    def test_the_shortcut_is_a_mean_between_channels_of_zero(self, shared):
        unit = Residual(2, 6, stride=2, shared=shared).eval()
        nn.init.zeros_(unit.residual[-1].weight)
        x = images(2, (2, 8, 8)) - 0.5
        source = functional.leaky_relu(x / math.sqrt(1 + 1e-3), LEAK) if shared else x
        result = unit(x)
        assert torch.allclose(result[:, 2:4], functional.avg_pool2d(source, 2), atol=1e-6)
        assert not result[:, :2].any()
        assert not result[:, 4:].any()

    def test_windows_begin_where_the_means_do(self):
        unit = Residual(2, 2, stride=2).eval()
        x = images(2, (2, 8, 8))  # positive, so the activations only scale
        for layer, corner in ((unit.residual[1], 0), (unit.residual[-1], 1)):
            nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.weight[range(2), range(2), corner, corner] = 1
        residual = unit(x) - functional.avg_pool2d(x, 2)
        assert torch.allclose(residual, x[:, :, ::2, ::2] / (1 + 1e-3), atol=1e-6)


class TestDenoiser:
    """MALADE's DAE and sDAE."""

    def test_the_layers_are_those_of_the_table(self):
        table = [(10, 5, 14), (25, 5, 7), (10, 9, 14), (1, 1, 28), (1, 5, 28)]
        network = made("malade-dae", MNIST).build()
        assert convolutions(network, MNIST) == table
        assert sum(isinstance(layer, nn.Tanh) for layer in network) == 5
        by_hand = (10 * 25 + 10) + (25 * 10 * 25 + 25) + (25 * 10 * 81 + 10) + (10 + 1) + (25 + 1)
        assert sum(p.numel() for p in network.parameters()) == by_hand

    @pytest.mark.parametrize("name", DENOISERS)
    @pytest.mark.parametrize("shape", [MNIST, CIFAR, (1, 8, 8), (1, 9, 10), (3, 5, 7), (2, 1, 3)])
    def test_denoisers_keep_the_shape(self, name, shape):
        network = made(name, shape).build()
        assert network(torch.rand(2, *shape)).shape == (2, *shape)

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize("added", [(1, 1), (0, 1), (0, 0)])
    def test_its_transposed_convolution_of_one_pixel_is_torchs(self, layout, added):
        settings = {"kernel_size": 1, "stride": 2, "output_padding": added}
        ours, torchs = Pointwise(5, 3, **settings), nn.ConvTranspose2d(5, 3, **settings)
        torchs.load_state_dict(ours.state_dict())
        found = []
        for layer, memory in ((ours.to(memory_format=layout), layout), (torchs, None)):
            x = torch.rand(4, 5, 6, 7, generator=torch.Generator().manual_seed(0))
            x = x.contiguous(memory_format=memory or torch.contiguous_format).requires_grad_()
            y = layer(x)
            slope = torch.rand(y.shape, generator=torch.Generator().manual_seed(1))
            found.append([y, *torch.autograd.grad(y, [x, *layer.parameters()], slope)])
        for mine, its in zip(*found, strict=True):
            torch.testing.assert_close(mine, its)

    def test_every_pixel_can_see_its_own(self):
        network = made("malade-dae", MNIST).build()
        x = torch.rand(1, *MNIST, requires_grad=True)
        for row, column in ((0, 0), (13, 14), (27, 27), (0, 27)):
            (grad,) = torch.autograd.grad(network(x)[0, 0, row, column], x)
            assert float(grad[0, 0, row, column].abs()) > 0

    def test_it_is_not_normalised(self):
        with pytest.raises(InputError, match="denoiser"):
            Architecture(name="malade-dae", shape=MNIST, classes=10, normalized=True)

    def test_training_and_loading_go_the_common_way(self, tmp_path):
        digits = data.load("digits", "train", limit=256)
        run = tmp_path / "run"
        architecture = made("malade-dae", (1, 8, 8))
        trained = train_data(
            architecture, digits, Reconstruct(), Schedule(epochs=4, batch_size=32, lr=1e-2), run
        )
        x = digits.x(torch.arange(64))
        fresh = architecture.build().eval()

        def loss(network):
            return float((network(x) - x).square().mean().detach())

        assert loss(trained) < 0.7 * loss(fresh)
        for spec in (run, run / MODEL):
            assert torch.allclose(load_denoiser(str(spec))(x), trained(x), atol=1e-6)

    def test_the_other_kind_is_told_in_a_sentence(self, tmp_path):
        for name in ("malade-dae", "small"):
            save_model(tmp_path / name, made(name, (1, 8, 8)).build(), made(name, (1, 8, 8)))
        with pytest.raises(ModelError, match=r"holds the denoiser malade-dae.*give a classifier"):
            load(str(tmp_path / "malade-dae"))
        with pytest.raises(ModelError, match=r"holds the classifier small.*give a denoiser"):
            load_denoiser(str(tmp_path / "small"))
        for read in (load, load_denoiser):
            with pytest.raises(InputError, match="malade-dae is an architecture without weights"):
                read("malade-dae")


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """mean (r(x) - x)²."""

    def __call__(self, model, x, y, rng) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss = (model(x) - x).square().mean()
        return loss, {"loss": loss}


@pytest.mark.parametrize("name", ["convnet", "nin", "stn-cifar10", "malade-dae"])
def test_the_layout_in_memory_changes_nothing(name, tmp_path):
    network = made(name).build().eval()
    x = images(2, CIFAR)
    expected = network(x)
    save_model(tmp_path / MODEL, network, made(name))
    loaded = load_model(tmp_path / MODEL)  # in channels_last
    assert torch.allclose(loaded(x), expected, atol=1e-5)
    assert torch.allclose(loaded(x.to(memory_format=torch.channels_last)), expected, atol=1e-5)


def test_a_denoiser_with_a_classifiers_weights_is_damaged(tmp_path):
    save_model(tmp_path / MODEL, made("small", (1, 8, 8)).build(), made("malade-dae", (1, 8, 8)))
    with pytest.raises(DamagedFileError, match="does not hold the network"):
        load_denoiser(str(tmp_path))
