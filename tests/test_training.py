import math

import pandas as pd
import pytest
import torch
from torch import nn, optim

from holdfast import data, training
from holdfast.attacks import FGSM, PGD
from holdfast.errors import HoldfastError, InputError, OutputError
from holdfast.goals import AgainstPrediction, cross_entropy
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.threat import Linf
from holdfast.training import (
    SGD,
    Adam,
    AdamW,
    Adversarial,
    RMSProp,
    Schedule,
    Stability,
    Standard,
    TrainingError,
    fit,
    train_data,
)
from holdfast.training.batches import order
from tests.toys import Linear, Two

SMALL = Architecture(name="mlp", shape=(1, 8, 8), classes=10)


def digits(limit=256):
    return data.load("digits", "train", limit=limit)


def streams(count):
    return Stream.of(0, torch.arange(count))


def by_hand(z0, z1, label):
    """Cross-entropy of two logits."""
    return math.log(math.exp(z0) + math.exp(z1)) - (z0, z1)[label]


X, Y = torch.tensor([[0.4], [0.8]]), torch.tensor([0, 1])


def test_standard_by_hand():
    loss, logs = Standard()(Two(), X, Y, streams(2))
    expected = (by_hand(0.4, -0.2, 0) + by_hand(0.8, -0.4, 1)) / 2
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(logs["accuracy"].detach()) == 0.5


def test_stability_by_hand_and_both_gradients_flow():
    model, sigma, gamma = Two(), 0.3, 0.7
    loss, logs = Stability(sigma=sigma, gamma=gamma)(model, X, Y, streams(2))
    noise = sigma * streams(2).fold("stability").normal((1,))[:, 0]
    clean = (by_hand(0.4, -0.2, 0) + by_hand(0.8, -0.4, 1)) / 2
    stability = 0.0
    for pixel, shift in zip((0.4, 0.8), noise.tolist(), strict=True):
        p = math.exp(pixel) / (math.exp(pixel) + math.exp(-0.5 * pixel))
        z0, z1 = pixel + shift, -0.5 * (pixel + shift)
        stability += (p * by_hand(z0, z1, 0) + (1 - p) * by_hand(z0, z1, 1)) / 2
    assert float(logs["clean"].detach()) == pytest.approx(clean, rel=1e-6)
    assert float(logs["stability"].detach()) == pytest.approx(stability, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(clean + gamma * stability, rel=1e-5)
    # The derivative of the whole, target included, against a difference quotient.
    (grad,) = torch.autograd.grad(loss, model.a)
    step = 1e-3
    above, below = (
        float(Stability(sigma=sigma, gamma=gamma)(Two(1.0 + h), X, Y, streams(2))[0].detach())
        for h in (step, -step)
    )
    assert float(grad) == pytest.approx((above - below) / (2 * step), rel=1e-3)


def test_stability_draws_fresh_noise_for_every_stream():
    objective = Stability(sigma=0.3)
    first, again = (objective(Two(), X, Y, streams(2))[0] for _ in range(2))
    other, _ = objective(Two(), X, Y, streams(2).fold("train", 1))
    assert first == again != other


def test_adversarial_by_hand():
    """On one pixel FGSM moves to the side where the label's logit is smaller."""
    objective = Adversarial(attack=FGSM(Linf(0.1)), weight=0.25)
    loss, logs = objective(Two(), X, Y, streams(2))
    # Logits (x, -x/2): class 0 loses as x falls, class 1 loses as x grows.
    adversarial = (by_hand(0.3, -0.15, 0) + by_hand(0.9, -0.45, 1)) / 2
    clean = (by_hand(0.4, -0.2, 0) + by_hand(0.8, -0.4, 1)) / 2
    assert float(logs["adversarial"].detach()) == pytest.approx(adversarial, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(0.75 * clean + 0.25 * adversarial, rel=1e-5)


def test_no_label_leaks_through_the_attack():
    """EAT C.2: with predicted labels the training images do not depend on the true ones."""
    seen = []

    class Watch(Linear):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    model, x = Watch(torch.randn(4, 9)), torch.rand(5, 1, 3, 3)

    def trained_on(goal, y):
        seen.clear()
        Adversarial(attack=FGSM(Linf(0.2), goal=goal))(model, x, y, streams(5))
        return seen[-1]

    labels = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 2, 3, 0, 1])
    predicted = [trained_on(AgainstPrediction(cross_entropy), y) for y in labels]
    leaking = [trained_on(cross_entropy, y) for y in labels]
    assert torch.equal(*predicted)
    assert not torch.equal(*leaking)


def test_the_attack_runs_in_evaluation_mode_and_training_goes_on():
    modes = []

    class Watch(Two):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    model = Watch().train()
    Adversarial(attack=PGD(Linf(0.1), steps=2, early_stop=False))(model, X, Y, streams(2))
    assert modes == [False, False, True]
    assert model.training


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stability(sigma=0.0),
        lambda: Stability(sigma=0.1, gamma=-1.0),
        lambda: Adversarial(attack=FGSM(Linf(0.1)), weight=1.5),
        lambda: Schedule(epochs=0),
        lambda: Schedule(epochs=1, batch_size=0),
        lambda: Schedule(epochs=1, lr=0.0),
        lambda: Schedule(epochs=1, weight_decay=-1.0),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [
        (Adam(beta1=0.8), lambda p: optim.Adam(p, lr=0.01, betas=(0.8, 0.999), weight_decay=0.1)),
        (AdamW(beta2=0.9), lambda p: optim.AdamW(p, lr=0.01, betas=(0.9, 0.9), weight_decay=0.1)),
        (SGD(), lambda p: optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1)),
        (
            SGD(momentum=0.5, nesterov=True),
            lambda p: optim.SGD(p, lr=0.01, momentum=0.5, nesterov=True, weight_decay=0.1),
        ),
        (
            RMSProp(alpha=0.9, momentum=0.5),
            lambda p: optim.RMSprop(p, lr=0.01, alpha=0.9, momentum=0.5, weight_decay=0.1),
        ),
    ],
)
def test_the_trainer_is_the_plain_loop(tmp_path, optimizer, kind):
    """Against a loop written out: same order, same learning rates, same weights."""
    images = digits()
    schedule = Schedule(epochs=2, batch_size=100, optimizer=optimizer, lr=0.01, weight_decay=0.1)
    network, expected = SMALL.build(0), SMALL.build(0)
    fit(network, images, Standard(), schedule, architecture=SMALL, out=tmp_path)
    loop = kind(expected.parameters())
    step = 0
    for epoch in range(2):
        examples = order(0, epoch, 256)
        assert sorted(examples.tolist()) == list(range(256))
        for batch in examples.split(100):
            for group in loop.param_groups:
                group["lr"] = 0.01 * 0.5 * (1 + math.cos(math.pi * step / 6))
            loss = nn.functional.cross_entropy(expected(images.x(batch)), images.y[batch])
            loop.zero_grad()
            loss.backward()
            loop.step()
            step += 1
    for ours, theirs in zip(network.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_log_is_written(tmp_path):
    log = fit(
        SMALL.build(0),
        digits(),
        Stability(sigma=0.2),
        Schedule(epochs=3),
        architecture=SMALL,
        out=tmp_path,
    )
    assert list(log["epoch"]) == [1, 2, 3]
    assert {"loss", "clean", "stability", "accuracy", "noisy_accuracy"} <= set(log.columns)
    written = pd.read_csv(tmp_path / "metrics.csv")
    pd.testing.assert_frame_equal(written, log, check_dtype=False)
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_global_randomness_is_left_alone_and_does_not_matter(tmp_path):
    made = Architecture(name="D", shape=(1, 8, 8), classes=10)  # has dropout

    def weights(out):
        network = made.build(0)
        fit(network, digits(), Standard(), Schedule(epochs=1), architecture=made, out=out)
        return network.state_dict()

    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = weights(tmp_path / "a")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    second = weights(tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_finished_run_is_never_changed(tmp_path):
    schedule = Schedule(epochs=1)
    train_data(SMALL, digits(), Standard(), schedule, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "run").rglob("*"))}
    said = []

    class Listen(training.run.Progress):
        def say(self, text):
            said.append(text)

    train_data(SMALL, digits(), Standard(), schedule, tmp_path / "run", progress=Listen())
    assert {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "run").rglob("*"))} == before
    assert "complete" in said[0]
    with pytest.raises(OutputError, match="epochs = 1, and now it is 2"):
        train_data(SMALL, digits(), Standard(), Schedule(epochs=2), tmp_path / "run")


def test_divergence_names_step_and_term(tmp_path):
    with pytest.raises(TrainingError, match=r"loss is .* at step"):
        fit(
            SMALL.build(0),
            digits(),
            Standard(),
            Schedule(epochs=50, optimizer=SGD(), lr=1e15),
            architecture=SMALL,
            out=tmp_path,
        )
    assert issubclass(TrainingError, HoldfastError)
