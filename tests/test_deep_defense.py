import copy
import math

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from holdfast import data
from holdfast.attacks import FGSM, DeepFool
from holdfast.errors import InputError
from holdfast.models import Architecture, Centred
from holdfast.random import Stream
from holdfast.tensors import norm
from holdfast.threat import L2, Linf
from holdfast.training import (
    SGD,
    Adversarial,
    Constant,
    DeepDefense,
    Schedule,
    Standard,
    Total,
    fit,
)
from tests.toys import Linear, Saturated, Wrapped, images, random_linear, smooth


def streams(count):
    return Stream.of(0, torch.arange(count))


def gradients(loss, model):
    grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    names = [name for name, _ in model.named_parameters()]
    return dict(zip(names, grads, strict=True))


class TwoParameters(nn.Module):
    """Logits (0, w·x + b) of a one-pixel image: the boundary is at x = -b / w."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = (nn.Parameter(torch.tensor(v, dtype=torch.float64)) for v in (w, b))

    def forward(self, x):
        f = self.w * x.flatten(1)[:, 0] + self.b
        return torch.stack([torch.zeros_like(f), f], dim=1)


@pytest.mark.parametrize("overshoot", [0.0, 0.02])
def test_loss_and_gradient_by_hand(overshoot):
    """DeepFool is exact here: ‖Δ‖ / ‖x‖ = (1 + η) |x + b/w| / x."""
    w, b, weight, c, d = 2.0, -1.0, 3.0, 1.5, 0.8
    x = torch.tensor([[0.9], [0.2], [0.6], [0.4]], dtype=torch.float64)
    y = torch.tensor([1, 0, 0, 1])  # two rightly classified, one misclassified on either side
    model = TwoParameters(w, b)
    loss, logs = DeepDefense(weight=weight, c=c, d=d, overshoot=overshoot)(model, x, y, streams(4))
    expected, by_w, by_b, ratios = 0.0, 0.0, 0.0, []
    for pixel, label in zip(x[:, 0].tolist(), y.tolist(), strict=True):
        f = w * pixel + b
        p = 1 / (1 + math.exp(-f))
        side, rate = (1 if f > 0 else -1), (1 + overshoot) / pixel
        ratio = rate * side * (pixel + b / w)
        factor = -c if (f > 0) == label else d
        term = weight * math.exp(factor * ratio)
        expected += (-math.log(p if label else 1 - p) + term) / 4
        by_w += ((p - label) * pixel + term * factor * rate * side * -b / w**2) / 4
        by_b += ((p - label) + term * factor * rate * side / w) / 4
        ratios.append(ratio)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-9)
    assert float(logs["rho"].detach()) == pytest.approx(sum(ratios) / 4, rel=1e-9)
    grads = gradients(loss, model)
    assert float(grads["w"]) == pytest.approx(by_w, rel=1e-7)
    assert float(grads["b"]) == pytest.approx(by_b, rel=1e-7)


def test_a_batch_is_the_mean_of_its_images():
    """λ means the same for every batch size, and no image sees its batch mates."""
    model, objective = smooth().train(), DeepDefense(c=2.0)
    x, y = images(6, (6,)).double(), torch.tensor([0, 1, 2, 0, 1, 2])
    whole, _ = objective(model, x, y, streams(6))
    each = [
        objective(model, x[i : i + 1], y[i : i + 1], streams(6).take(torch.tensor([i])))[0]
        for i in range(6)
    ]
    assert float(whole.detach()) == pytest.approx(float(torch.stack(each).mean().detach()))


def planes(model, x, a, b):
    """Distance of x from the boundary between the classes a and b of a linear model."""
    z, w = model(x)[0].detach(), model.weight.detach()
    return float((z[a] - z[b]).abs() / (w[a] - w[b]).norm())


def test_a_misclassified_image_goes_to_its_label_and_a_right_one_to_its_nearest_boundary():
    """Class 0 is predicted; class 1 is near, class 2 further: three different lengths."""
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    model = Linear(weight, torch.tensor([1.0, 0.4, 0.1], dtype=torch.float64))
    x = torch.tensor([[0.5, 0.4]], dtype=torch.float64)
    assert model(x).argmax() == 0
    near, far = planes(model, x, 0, 1), planes(model, x, 0, 2)
    assert near < 0.5 * far
    size = float(x.norm())
    for label, length, factor in ((0, near, -2.0), (1, near, 3.0), (2, far, 3.0)):
        y = torch.tensor([label])
        objective = DeepDefense(weight=1.0, c=2.0, d=3.0, steps=1)
        _, logs = objective(model, x, y, streams(1))
        assert float(logs["rho"].detach()) == pytest.approx(length / size, rel=1e-9)
        regularizer = math.exp(factor * length / size)
        assert float(logs["regularizer"].detach()) == pytest.approx(regularizer, rel=1e-9)


@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_gradient_agrees_with_finite_differences_through_the_whole_iteration(p, steps):
    model, objective = smooth().train(), DeepDefense(weight=2.0, c=1.5, d=0.7, p=p, steps=steps)
    x = 0.1 + 0.8 * torch.rand(6, 6, generator=torch.Generator().manual_seed(3)).double()
    right = model(x).argmax(dim=1)
    y = torch.where(torch.arange(6) % 2 == 0, right, (right + 1) % 3)

    def loss():
        return objective(model, x, y, streams(6))[0]

    grads, plain = (
        gradients(loss(), model),
        gradients(Standard()(model, x, y, streams(6))[0], model),
    )
    generator = torch.Generator().manual_seed(4)
    for name, parameter in model.named_parameters():
        way = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        values = []
        for sign in (1, -1):
            parameter.data += sign * 1e-6 * way
            values.append(float(loss().detach()))
            parameter.data -= sign * 1e-6 * way
        slope = (values[0] - values[1]) / 2e-6
        assert float((grads[name] * way).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6)
        assert not torch.allclose(grads[name], plain[name], rtol=1e-2)


def test_the_gradient_is_that_of_all_class_gradients_kept():
    """Against the loop written out: one gradient for each class, every one with its graph."""
    model, x = smooth(classes=4).train(), images(5, (6,), seed=2).double()
    model[3].bias.data -= model(x).mean(dim=0).detach()  # boundaries within the box
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    start = x.clone().requires_grad_()
    z = model(start)
    grads = torch.stack(
        [torch.autograd.grad(z[:, k].sum(), start, create_graph=True)[0] for k in range(4)], dim=1
    )
    f, w = z - z.gather(1, y[:, None]), grads - grads[torch.arange(5), y][:, None]
    far = f.abs() / w.norm(dim=2)
    far = far.scatter(1, y[:, None], torch.inf).amin(dim=1)
    assert 0 < far.min() < far.max() < math.sqrt(6)
    expected = (-2.0 * far / x.norm(dim=1)).exp().mean()
    _, logs = DeepDefense(weight=1.0, c=2.0, steps=1)(model, x, y, streams(5))
    assert float(logs["regularizer"].detach()) == pytest.approx(float(expected.detach()))
    ours, theirs = gradients(logs["regularizer"], model), gradients(expected, model)
    for name, grad in ours.items():
        if theirs[name].abs().max() > 1e-12:
            assert torch.allclose(grad, theirs[name], rtol=1e-7)


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_the_step_is_that_of_the_loop_over_classes(p):
    """To 1e-9, in several steps: every class has its own gradient, and all keep their graph."""
    model, x = smooth(classes=4), images(5, (6,), seed=2).double()
    model[1].weight.data *= 3  # boundaries that one step does not reach
    model[3].bias.data -= model(x).mean(dim=0).detach()  # and that are within the box
    with torch.no_grad():
        y = model(x).argmax(dim=1)
    objective = DeepDefense(weight=1.0, c=2.0, p=p, steps=4, overshoot=0.02)
    _, logs = objective(model, x, y, streams(5))
    lengths, most = [], 0
    for image, label in zip(x, y.tolist(), strict=True):
        total, steps = torch.zeros(6, dtype=torch.float64), 0
        while steps < 4 and model((image + 1.02 * total)[None]).argmax() == label:
            total, steps = total + looped_step(model, image + 1.02 * total, label, p), steps + 1
        lengths.append(1.02 * torch.linalg.vector_norm(total, p))
        most = max(most, steps)
    assert most > 1
    expected = (-2.0 * torch.stack(lengths) / norm(x, p)).exp().mean()
    assert float(logs["regularizer"].detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    ours, theirs = gradients(logs["regularizer"], model), gradients(expected, model)
    for name, grad in ours.items():
        assert torch.allclose(grad, theirs[name], rtol=1e-9, atol=1e-12)


def looped_step(model, at, label, p):
    """DeepFool's step for one image by a loop over the classes, differentiable throughout."""
    at = at if at.requires_grad else at.clone().requires_grad_()
    z, ways = model(at[None])[0], []
    for k in range(len(z)):
        if k != label:
            f = z[k] - z[label]
            (w,) = torch.autograd.grad(f, at, create_graph=True)
            length = torch.linalg.vector_norm(w, 1 if p == math.inf else 2)
            direction = w.sign() if p == math.inf else w / length
            ways.append((f.abs() / length) * direction)
    return min(ways, key=lambda way: float(torch.linalg.vector_norm(way.detach(), p)))


@pytest.mark.parametrize("layer", ["1", "3"])
def test_the_regulariser_moves_one_layer_and_the_classification_loss_all(layer):
    model, x = smooth().train(), images(6, (6,)).double()
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    plain, whole, part = (
        gradients(objective(model, x, y, streams(6))[0], model)
        for objective in (Standard(), DeepDefense(c=2.0), DeepDefense(c=2.0, layer=layer))
    )
    for name in plain:
        expected = whole if name.split(".")[0] == layer else plain
        assert torch.allclose(part[name], expected[name], rtol=1e-12)
        assert not torch.allclose(whole[name], plain[name], rtol=1e-2)


def test_a_layer_is_found_behind_wrappers_and_by_no_wrong_name():
    inner, x, y = smooth().train(), images(3, (6,)).double(), torch.tensor([0, 1, 2])
    expected = gradients(DeepDefense(layer="3")(inner, x, y, streams(3))[0], inner)
    fabric = Fabric(accelerator="cpu", devices=1)
    wrapped = fabric.setup(copy.deepcopy(inner))
    found = gradients(DeepDefense(layer="3")(wrapped, x, y, streams(3))[0], wrapped.module)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert all(parameter.requires_grad for parameter in wrapped.parameters())
    both = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.ModuleDict({"a": nn.Linear(2, 2)})})
    pair = nn.ModuleDict({"c": both, "d": copy.deepcopy(both)})
    for model, layer, said in (
        (inner, "fc1", r"choose from extra, .*extra\.3"),
        (inner, "", "no layer ''"),
        (inner, "0", "no parameters"),
        (pair, "a", r"may be extra\.c\.a or extra\.d\.a"),
    ):
        with pytest.raises(InputError, match=said):
            DeepDefense(layer=layer)(_With(model, inner), x, y, streams(3))


class _With(nn.Module):
    """A model with more modules than it uses."""

    def __init__(self, extra, model):
        super().__init__()
        self.add_module("extra", extra)
        self.__dict__["used"] = model

    def forward(self, x):
        return self.used(x)


def test_it_runs_in_evaluation_mode_and_training_goes_on():
    """Dropout does not reach Δ, and batch normalisation counts the classification's pass alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
        )
        x, y = images(8, (6,)), torch.arange(8) % 3
        first, second = (DeepDefense()(model, x, y, streams(8))[1] for _ in range(2))
    assert all(layer.training for layer in model.modules())
    assert int(model[1].num_batches_tracked) == 2
    assert first["loss"] != second["loss"]  # the mask of dropout in the classification loss
    model.eval()
    frozen = DeepDefense()(model, x, y, streams(8))[1]
    assert torch.equal(
        frozen["regularizer"], DeepDefense()(model, x, y, streams(8))[1]["regularizer"]
    )


class Attentive(nn.Module):
    """Attention between the rows of an image, fused as in timm's transformers."""

    def __init__(self):
        super().__init__()
        self.rows, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x):
        query, key, value = self.rows(x).chunk(3, dim=-1)
        heard = nn.functional.scaled_dot_product_attention(query, key, value)
        return self.head(heard.mean(dim=(1, 2)))


def test_it_trains_fused_attention_of_which_there_is_no_second_derivative():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attentive()
    x, y = images(4, (1, 8, 8)), torch.tensor([0, 1, 2, 0])
    loss, _ = DeepDefense(c=1.0, d=1.0, steps=2)(model, x, y, streams(4))
    grad = gradients(loss, model)["rows.weight"]
    assert grad.isfinite().all()
    assert grad.any()


def test_it_trains_convolutions_with_overlapping_pooling():
    """DD supplement 7: unpooling must sum where windows overlap; double backward does."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.MaxPool2d(3, stride=1), nn.Flatten(), nn.Linear(48, 3)
        ).double()
    x, y = images(4, (1, 8, 8)).double(), torch.tensor([0, 1, 2, 0])
    objective, parameter = DeepDefense(c=1.0, d=1.0, steps=2), model[0].weight
    grad = gradients(objective(model, x, y, streams(4))[0], model)["0.weight"]
    way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double()
    values = []
    for sign in (1, -1):
        parameter.data += sign * 1e-7 * way
        values.append(float(objective(model, x, y, streams(4))[0].detach()))
        parameter.data -= sign * 1e-7 * way
    slope = (values[0] - values[1]) / 2e-7
    assert float((grad * way).sum()) == pytest.approx(slope, rel=1e-4)


def finite(loss, model):
    grads = [grad for grad in gradients(loss, model).values() if grad is not None]
    return bool(loss.isfinite()) and all(bool(grad.isfinite().all()) for grad in grads)


def test_nothing_is_nan_where_gradients_vanish():
    model, x = Saturated(random_linear(3, 36), 0.0), images(4)
    loss, logs = DeepDefense()(model, x, torch.tensor([0, 1, 2, 0]), streams(4))
    assert finite(loss, model)
    assert float(logs["regularizer"].detach()) == 1  # e^0: nothing was moved


def test_a_black_image_is_in_neither_sum():
    model, y = random_linear(3, 36), torch.tensor([0, 1, 2])
    x = images(3)
    x[1] = 0
    objective = DeepDefense(c=1.0, d=1.0)
    loss, logs = objective(model, x, y, streams(3))
    kept = torch.tensor([0, 2])
    _, others = objective(model, x[kept], y[kept], streams(3).take(kept))
    assert finite(loss, model)
    assert torch.allclose(logs["regularizer"], others["regularizer"] * 2 / 3)


def test_behind_a_centred_layer_the_length_is_that_of_the_centred_image():
    """The same function of the image that names no mean has the same Δ, over ‖x‖."""
    inner, y = random_linear(3, 36), torch.tensor([1])
    x, mean = images(1), 0.3 * images(2)[1]
    centred, unnamed = (
        nn.Sequential(Centred(mean), inner),
        Wrapped(lambda x: inner(255 * (x - mean))),
    )
    rho, over_x = (
        float(DeepDefense(c=2.0)(model, x, y, streams(1))[1]["rho"].detach())
        for model in (centred, unnamed)
    )
    assert rho == pytest.approx(over_x * float(norm(x, 2) / norm(x - mean, 2)), rel=1e-5)
    assert rho != pytest.approx(over_x, rel=1e-2)


def test_the_exponent_stops_where_an_image_is_nearly_black():
    model = TwoParameters(1.0, 0.5)
    x, y = torch.full((1, 1), 1e-6, dtype=torch.float64), torch.tensor([0])  # ‖Δ‖/‖x‖ = 5·10^5
    loss, logs = DeepDefense()(model, x, y, streams(1))
    assert float(logs["regularizer"].detach()) == pytest.approx(math.exp(10))
    plain = gradients(Standard()(model, x, y, streams(1))[0], model)
    found = gradients(loss, model)
    assert all(torch.equal(found[name], plain[name]) for name in plain)
    right, _ = DeepDefense()(model, x, 1 - y, streams(1))  # e^-∞ is 0
    assert finite(right, model)


def test_combined_with_adversarial_training():
    """DD supplement 2: the cross-entropy on FGS examples is added."""
    model, x = smooth().train(), images(6, (6,)).double()
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    adversarial = Adversarial(attack=FGSM(Linf(0.1)))
    base = Total((Standard(), adversarial))
    combined = DeepDefense(base=base)(model, x, y, streams(6))[0]
    alone, logs = DeepDefense()(model, x, y, streams(6))
    on_fgs = adversarial(model, x, y, streams(6))[0]
    assert torch.allclose(combined, alone + on_fgs)
    assert {"regularizer", "rho", "accuracy"} <= set(logs)
    assert torch.allclose(
        base(model, x, y, streams(6))[1]["loss"], combined - 15 * logs["regularizer"]
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"weight": -1.0},
        {"c": 0.0},
        {"d": -5.0},
        {"p": 1.0},
        {"steps": 0},
        {"classes": 0},
        {"overshoot": -0.1},
    ],
)
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        DeepDefense(**wrong)
    with pytest.raises(InputError):
        Total(())


def test_fine_tuning_raises_rho_and_keeps_the_accuracy(tmp_path):
    """DD table 1 in small: against fine-tuning without the regulariser."""
    train, test = data.load("digits", "train"), data.load("digits")
    x, y = test.x(torch.arange(len(test))), test.y
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reference = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64, 48),
            nn.ReLU(),
            nn.Linear(48, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        )
    named = Architecture(name="mlp", shape=(1, 8, 8), classes=10)
    first = Schedule(epochs=20, batch_size=32, rate=Constant())
    fit(reference, train, Standard(), first, architecture=named, out=tmp_path / "reference")
    schedule = Schedule(
        epochs=5, batch_size=32, optimizer=SGD(), lr=5e-3, weight_decay=5e-4, rate=Constant()
    )
    found = {}
    for name, objective in (("clean", Standard()), ("deep", DeepDefense())):
        network = copy.deepcopy(reference)
        fit(network, train, objective, schedule, architecture=named, out=tmp_path / name)
        network.eval()
        delta = DeepFool(L2(math.inf))(network, x, y) - x
        rho = float((norm(delta, 2) / norm(x, 2)).mean())
        found[name] = rho, float((network(x).argmax(dim=1) == y).float().mean())
    assert found["deep"][0] > 1.2 * found["clean"][0]
    assert found["deep"][1] >= found["clean"][1] - 0.01
