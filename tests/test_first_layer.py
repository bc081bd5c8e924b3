"""Noise behind the first layer: its Lipschitz constant is a bound, and its certificate holds."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import nn

from holdfast.certify import ClopperPearson, certify_images, renyi_radius
from holdfast.certify.config import CertificationConfig
from holdfast.certify.run import certify_data
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.declarations import is_stochastic
from holdfast.defenses import FirstLayerNoise, GaussianNoise, lipschitz_bound
from holdfast.errors import InputError, ModelError
from holdfast.files import read_json
from holdfast.models import ARCHITECTURES, Architecture, Normalize
from holdfast.models.checkpoint import save_model
from holdfast.random import Stream, drawing_from
from holdfast.report.subjects import read_subjects
from tests.toys import Wrapped, images


def dense(layer, shape):
    """The layer's whole matrix, (outputs, inputs), in float64."""
    layer = layer.double()
    basis = torch.eye(math.prod(shape), dtype=torch.float64).view(-1, *shape)
    with torch.no_grad():
        return (layer(basis) - layer(torch.zeros_like(basis))).flatten(1).T


class TestTheConstant:
    @given(st.data())
    @settings(max_examples=40)
    def test_a_convolutions_is_above_its_norm_and_not_far(self, data):
        """Against the matrix itself, for all strides, paddings, dilations and groups."""
        draw, small = data.draw, st.integers(1, 3)
        groups = draw(st.integers(1, 2))
        kernel = (draw(small), draw(small))
        dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
        torch.manual_seed(draw(st.integers(0, 99)))
        layer = nn.Conv2d(
            groups * draw(small),
            groups * draw(small),
            kernel,
            stride=(draw(small), draw(small)),
            padding=(draw(st.integers(0, 4)), draw(st.integers(0, 2))),
            dilation=dilation,
            groups=groups,
        )
        shape = (layer.in_channels, draw(st.integers(5, 8)), draw(st.integers(5, 7)))
        true = float(torch.linalg.matrix_norm(dense(layer, shape), 2))
        bound = lipschitz_bound(layer, shape)
        assert true <= bound
        if layer.stride == (1, 1) and dilation == (1, 1):
            assert bound <= true * 1.6 or max(kernel) == 1

    def test_it_is_exact_where_nothing_is_at_the_border(self):
        """On large images the border no longer matters, and neither does it for 1×1 kernels."""
        torch.manual_seed(0)
        one = nn.Conv2d(3, 5, 1)
        matrix = one.weight[:, :, 0, 0].detach().double()
        exact = float(torch.linalg.matrix_norm(matrix, 2))
        assert lipschitz_bound(one, (3, 9, 9)) == pytest.approx(exact, rel=1e-8)
        strided = nn.Conv2d(2, 4, 2, stride=2)  # patches that do not overlap: a matrix on each
        exact = float(torch.linalg.matrix_norm(strided.weight.detach().flatten(1).double(), 2))
        assert lipschitz_bound(strided, (2, 8, 8)) == pytest.approx(exact, rel=1e-8)
        total = nn.Conv2d(1, 1, 5, bias=False)
        nn.init.ones_(total.weight)
        assert 25 <= lipschitz_bound(total, (1, 40, 40)) < 25 * (1 + 1e-8)
        assert float(torch.linalg.matrix_norm(dense(total, (1, 28, 28)), 2)) < 25

    def test_a_power_iteration_stays_below(self):
        torch.manual_seed(1)
        layer = nn.Conv2d(1, 8, 5, padding=2)
        matrix = dense(layer, (1, 10, 10))
        x = torch.randn(100, dtype=torch.float64)
        bound = lipschitz_bound(layer, (1, 10, 10))
        for _ in range(50):
            x = matrix.T @ (matrix @ x / x.norm())
            assert float((matrix @ x).norm() / x.norm()) <= bound

    def test_a_linear_layers_is_its_norm(self):
        layer = nn.Linear(30, 20)
        exact = float(torch.linalg.svdvals(layer.weight.detach().double())[0])
        assert exact < lipschitz_bound(layer, (30,)) < exact * (1 + 1e-8)

    def test_no_two_images_are_moved_further_apart(self):
        torch.manual_seed(2)
        for name in ("A", "B", "D", "malade-cnn", "small", "lenet"):
            network = ARCHITECTURES[name]((1, 28, 28), 10).eval()
            layer = FirstLayerNoise(network, 0.1, (1, 28, 28))
            x, y = images(64, (1, 28, 28)), images(64, (1, 28, 28), seed=1)
            moved = (layer.before(x) - layer.before(y)).flatten(1).norm(dim=1)
            assert (moved <= layer.lipschitz * (x - y).flatten(1).norm(dim=1)).all()

    def test_what_is_not_known_is_refused(self):
        with pytest.raises(InputError, match="circular"):
            lipschitz_bound(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), (1, 8, 8))
        with pytest.raises(InputError, match="3 channels"):
            lipschitz_bound(nn.Conv2d(3, 1, 3), (1, 8, 8))


def first_then(weight, rest):
    """Flatten, a linear layer, and a linear classifier of its outputs."""
    layer, last = nn.Linear(*weight.T.shape, bias=False), nn.Linear(*rest.T.shape, bias=False)
    layer.weight.data, last.weight.data = weight, rest
    return nn.Sequential(nn.Flatten(), layer, last).eval()


class TestTheNoise:
    def test_it_is_behind_the_first_layer_and_the_rest_is_the_network(self):
        network = ARCHITECTURES["small"]((1, 8, 8), 10).eval()
        normal = nn.Sequential(Normalize([0.5], [0.25]), nn.Sequential(network)).eval()
        model, x = FirstLayerNoise(normal, 0.3, (1, 8, 8)), images(3, (1, 8, 8))
        assert is_stochastic(model)
        assert torch.allclose(model.after(model.before(x)), normal(x))
        alone = FirstLayerNoise(network, 0.3, (1, 8, 8)).lipschitz
        assert model.lipschitz == pytest.approx(4 * alone, rel=1e-8)
        with torch.no_grad(), drawing_from(Stream.of(0, torch.arange(3))):
            logits = model(x)
        with torch.no_grad(), drawing_from(Stream.of(0, torch.arange(3))):
            assert torch.equal(logits, model.after(GaussianNoise(0.3)(model.before(x))))

    def test_networks_whose_first_layer_is_not_told(self):
        for network in (
            Wrapped(lambda x: x.flatten(1)),
            nn.Sequential(nn.ReLU(), nn.Linear(2, 2)),
            nn.Sequential(nn.Flatten()),
            type("Own", (nn.Sequential,), {"forward": lambda self, x: x})(nn.Linear(2, 2)),
        ):
            with pytest.raises(ModelError, match="first"):
                FirstLayerNoise(network, 0.3, (1, 8, 8))
        with pytest.raises(InputError, match="sigma"):
            FirstLayerNoise(nn.Linear(2, 2), 0.0, (2,))


class Standardized(nn.Conv2d):
    """Scales its weights before it uses them, as timm's standardizing convolutions do."""

    def forward(self, x):
        return self._conv_forward(x, 100 * self.weight, self.bias)


class TestLayersThatAreNotWhatTheirWeightsSay:
    """The bound is read off ``weight``, which must be what computes."""

    def refused(self, first, words):
        with pytest.raises(ModelError, match=words):
            FirstLayerNoise(nn.Sequential(first, nn.Flatten()), 0.3, (1, 8, 8))

    def test_a_forward_of_its_own(self):
        self.refused(Standardized(1, 2, 3), "Standardized has a forward of its own")

    def test_a_forward_put_on_the_layer(self):
        layer = nn.Conv2d(1, 2, 3)
        layer.forward = lambda x: 100 * nn.Conv2d.forward(layer, x)
        self.refused(layer, "a forward of its own")

    def test_a_hook_that_sets_the_weights(self):
        """Before the first pass, the old spectral norm's ``weight`` is not what it will be."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = nn.utils.spectral_norm(nn.Conv2d(1, 2, 3))
        self.refused(layer, "a hook")

    def test_a_parametrized_layer_is_what_it_says(self):
        layer = nn.utils.parametrizations.spectral_norm(nn.Linear(64, 5)).eval()
        model = FirstLayerNoise(nn.Sequential(nn.Flatten(), layer), 0.3, (1, 8, 8))
        exact = float(torch.linalg.svdvals(layer.weight.detach().double())[0])
        assert model.lipschitz == pytest.approx(exact, rel=1e-8)


class TestTheCertificate:
    def test_a_scaled_rotation_has_the_certificate_of_noise_on_the_image(self):
        """Behind x -> 5 Q x noise of 5 σ is noise of σ on the image, and Λ is 5."""
        torch.manual_seed(3)
        rotation = torch.linalg.qr(torch.randn(36, 36))[0]
        network, x = first_then(5 * rotation, torch.randn(3, 36)), images(6)
        how = {"votes": 3000, "bound": "renyi", "interval": ClopperPearson}
        behind = certify_images(network, x, sigma=5 * 0.4, noise="first-layer", **how)
        before = certify_images(network, x, sigma=0.4, **how)
        assert (abs(behind.p1 - before.p1) < 0.08).all()
        by_hand = renyi_radius(behind.p1, behind.p2, 0.4)
        certain = ~behind.abstained
        assert certain.sum() >= 3
        assert behind.radius[certain] == pytest.approx(by_hand[certain], rel=1e-5, abs=2e-6)
        assert (behind.radius <= by_hand).all()

    def test_it_never_exceeds_the_true_radius(self):
        """Of a linear classifier the smoothed one is Φ of the margin, and its boundary a plane."""
        torch.manual_seed(4)
        weight, rest = torch.randn(20, 36) / 6, torch.randn(2, 20)
        network, x = first_then(weight, rest), images(60)
        found = certify_images(
            network, x, sigma=0.5, votes=2000, confidence=0.999, noise="first-layer"
        )
        normal = (rest[1] - rest[0]).double()
        margin = (x.flatten(1).double() @ weight.T.double() @ normal).abs()
        true = (margin / (weight.T.double() @ normal).norm()).numpy()
        p = norm.cdf(margin / (0.5 * normal.norm()))
        assert (found.p1 <= p).all()
        assert (found.radius <= true).all()
        assert found.radius.max() > 0.1 * true.max()

    def test_it_is_rounded_down_after_the_division(self):
        found = certify_images(
            first_then(torch.eye(36) * 3, torch.randn(3, 36)),
            images(4),
            sigma=1.0,
            votes=500,
            bound="renyi",
            interval=ClopperPearson,
            noise="first-layer",
        )
        exact = renyi_radius(found.p1, found.p2, 1.0) / (3 * (1 + 1e-9))
        assert (found.radius <= exact).all()
        assert (found.radius * 1e6).round() == pytest.approx(found.radius * 1e6, abs=1e-6)


def test_what_comes_before_the_noise_is_not_said_to_come_after(tmp_path):
    network = nn.Sequential(Normalize([0.5], [0.25]), nn.Flatten(), nn.Linear(36, 3)).eval()
    x = images(4)
    how = CertificationConfig(sigma=0.3, noise="first-layer", votes=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certify_data(network, Data.of(x, network(x).argmax(dim=1)), how, "net", tmp_path / "run")


def test_a_network_that_cannot_be_bounded_leaves_no_folder(tmp_path):
    network, x = Wrapped(lambda x: x.flatten(1)[:, :3]), images(4)
    how = CertificationConfig(sigma=0.3, noise="first-layer", votes=20)
    data = Data.of(x, network(x).argmax(dim=1))
    with pytest.raises(ModelError, match="noise after the first layer"):
        certify_data(network, data, how, "net", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_from_the_command_line_to_the_report(tmp_path, monkeypatch, capsys):
    """Ceiling and floor of one classifier stand together, apart from noise on the image."""
    monkeypatch.chdir(tmp_path)
    made = Architecture(name="small", shape=(1, 8, 8), classes=10)
    save_model(tmp_path / "net.safetensors", made.build(), made)
    common = ["--model", "net.safetensors", "--images", "4", "--quiet", "--sigma", "0.3"]
    attack = ["evaluate", *common, "--norm", "l2", "--attacks", "fgsm", "--votes", "4"]
    for place in ([], ["--noise", "first-layer"]):
        tag = "-".join(["x", *place])
        assert run([*attack, *place, "--samples", "2", "--out", f"eval{tag}"]) == 0
        noise = f"with {place[-1] if place else 'gaussian'} noise of 0.3, clean accuracy"
        assert noise in " ".join(capsys.readouterr().out.split())
        assert run(["certify", *common, *place, "--votes", "20", "--out", f"cert{tag}"]) == 0
    runs = sorted(tmp_path.glob("*x*/"))
    (subject,) = read_subjects(runs)
    assert [len(c.evaluations) + len(c.certifications) for c in subject.classifiers] == [2, 2]
    assert [c.noise for c in subject.classifiers] == [("first-layer", 0.3), ("gaussian", 0.3)]
    assert (
        subject.classifiers[0].title == "smoothed classifier, noise behind the first layer σ = 0.3"
    )
    assert run(["report", *map(str, runs)]) == 0
    about = read_json(tmp_path / "certx---noise-first-layer" / "run.json")
    assert about["settings"]["noise"] == "first-layer"
    without = [option for option in attack if option not in ("--sigma", "0.3")]
    assert run([*without, "--noise", "first-layer"]) == 2
    assert "needs --sigma" in capsys.readouterr().err
