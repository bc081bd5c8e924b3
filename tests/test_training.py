import math
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import data, training
from holdfast.attacks import FGSM, PGD
from holdfast.errors import DamagedFileError, HoldfastError, InputError, OutputError
from holdfast.files import read_json, read_tensors
from holdfast.goals import AgainstPrediction, cross_entropy
from holdfast.models import Architecture
from holdfast.models.checkpoint import MODEL
from holdfast.random import Stream
from holdfast.threat import Linf
from holdfast.training import (
    Adversarial,
    Schedule,
    Stability,
    Standard,
    TrainingError,
    fit,
    train_data,
)
from holdfast.training.checkpoint import CHECKPOINT
from tests.cases import OBJECTIVES
from tests.toys import Linear

SMALL = Architecture(name="mlp", shape=(1, 8, 8), classes=10)


def digits(limit=256):
    return data.load("digits", "train", limit=limit)


def streams(count):
    return Stream.of(0, torch.arange(count))


class Two(nn.Module):
    """Two parameters: logits (a·x, b·x) of a one-pixel image."""

    def __init__(self, a=1.0, b=-0.5):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x):
        pixel = x.flatten(1)[:, 0]
        return torch.stack([self.a * pixel, self.b * pixel], dim=1)


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
    objective = Adversarial(attack=FGSM(Linf(0.1)), share=0.25)
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
        lambda: Adversarial(attack=FGSM(Linf(0.1)), share=1.5),
        lambda: Schedule(epochs=0),
        lambda: Schedule(epochs=1, batch_size=0),
        lambda: Schedule(epochs=1, lr=0.0),
        lambda: Schedule(epochs=1, weight_decay=-1.0),
    ],
)
def test_bad_parameters(make):
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_trainer_is_the_plain_loop(tmp_path, optimizer):
    """Against a loop written out: same order, same learning rates, same weights."""
    images, schedule = digits(), Schedule(epochs=2, batch_size=100, optimizer=optimizer, lr=0.01)
    network, expected = SMALL.build(0), SMALL.build(0)
    fit(network, images, Standard(), schedule, architecture=SMALL, out=tmp_path)
    kinds = {
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    }
    loop = kinds[optimizer](expected.parameters())
    step = 0
    for epoch in range(2):
        order = training.trainer._order(0, epoch, 256)
        assert sorted(order.tolist()) == list(range(256))
        for batch in order.split(100):
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


class StopHereError(Exception):
    pass


@pytest.mark.parametrize("name", ["Stability", "Adversarial"])
@pytest.mark.parametrize("stop", [1, 5, 8, 11])
def test_an_interrupted_run_ends_as_an_unbroken_one(tmp_path, name, stop):
    schedule = Schedule(epochs=3, batch_size=64)
    made = Architecture(name="A", shape=(1, 9, 9), classes=10)  # convolutions and dropout
    x, y = torch.rand(256, 1, 9, 9), torch.arange(256) % 10
    images, objective = data.Data.of(x, y), OBJECTIVES[name]
    whole = train_data(made, images, objective, schedule, {}, tmp_path / "whole")

    calls = 0

    def breaks(model, x, y, rng):
        nonlocal calls
        calls += 1
        if calls > stop:
            raise StopHereError
        return objective(model, x, y, rng)

    broken = made.build(0)
    (tmp_path / "out").mkdir()
    with pytest.raises(StopHereError):
        fit(
            broken,
            images,
            breaks,
            schedule,
            architecture=made,
            out=tmp_path / "out",
            checkpoint_seconds=0,
        )
    resumed = made.build(0)
    fit(resumed, images, objective, schedule, architecture=made, out=tmp_path / "out")
    for expected, found in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, found)
    logs = [(tmp_path / folder / "metrics.csv").read_text() for folder in ("whole", "out")]
    assert logs[0] == logs[1]


COMMAND = [
    sys.executable,
    "-m",
    "holdfast",
    "train",
    "--model",
    "D",
    "--epochs",
    "12",
    "--batch-size",
    "16",
    "--objective",
    "stability",
    "--sigma",
    "0.3",
    "--quiet",
    "--checkpoint-seconds",
    "0.2",
    "--out",
]


def test_a_killed_process_resumes(tmp_path):
    """SIGKILL at three moments of a real process; the finished weights are those of a whole run."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*COMMAND, str(tmp_path / "whole")], check=True, env=environment)
    out = tmp_path / "killed"
    kills = 0
    for patience in (0.3, 0.7, 1.1):
        process = subprocess.Popen([*COMMAND, str(out)], env=environment)
        while process.poll() is None and not (out / CHECKPOINT).exists():
            time.sleep(0.02)
        time.sleep(patience)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run([*COMMAND, str(out)], check=True, env=environment)
    assert kills
    whole, _ = read_tensors(tmp_path / "whole" / MODEL)
    killed, _ = read_tensors(out / MODEL)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert read_json(out / "run.json")["complete"]
    assert not (out / CHECKPOINT).exists()
    assert not list(out.glob(".*.tmp"))


def test_a_finished_run_is_never_changed(tmp_path):
    schedule = Schedule(epochs=1)
    train_data(SMALL, digits(), Standard(), schedule, {}, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "run").rglob("*"))}
    said = []

    class Listen(training.run.Progress):
        def say(self, text):
            said.append(text)

    train_data(SMALL, digits(), Standard(), schedule, {}, tmp_path / "run", progress=Listen())
    assert {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "run").rglob("*"))} == before
    assert "complete" in said[0]
    with pytest.raises(OutputError, match="epochs = 1, and now it is 2"):
        train_data(SMALL, digits(), Standard(), Schedule(epochs=2), {}, tmp_path / "run")


def test_divergence_names_step_and_term(tmp_path):
    with pytest.raises(TrainingError, match=r"loss is .* at step"):
        fit(
            SMALL.build(0),
            digits(),
            Standard(),
            Schedule(epochs=50, optimizer="sgd", lr=1e30),
            architecture=SMALL,
            out=tmp_path,
        )
    assert issubclass(TrainingError, HoldfastError)


def test_a_damaged_checkpoint_is_told(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(DamagedFileError, match="damaged"):
        fit(
            SMALL.build(0),
            digits(),
            Standard(),
            Schedule(epochs=1),
            architecture=SMALL,
            out=tmp_path,
        )
