"""What the trainer does around the objective: EMA, parts, hooks, validation, selection."""

import math

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

from holdfast import data
from holdfast.attacks import FGSM, PGD
from holdfast.errors import HoldfastError, InputError, MissingFileError, UnknownNameError
from holdfast.files import read_json, read_tensors
from holdfast.models import Architecture
from holdfast.models.checkpoint import MODEL
from holdfast.random import hash_seed
from holdfast.tensors import fingerprint
from holdfast.threat import Linf
from holdfast.training import (
    SGD,
    Adversarial,
    Constant,
    Schedule,
    Selection,
    Stability,
    Standard,
    TrainingError,
    Validation,
    fit,
    hold_out,
    start_from,
    train_data,
)
from holdfast.training.batches import order
from holdfast.training.state import CHECKPOINT
from tests.toys import Wrapped, random_linear, small_network, two_class

SMALL = Architecture(name="mlp", shape=(1, 8, 8), classes=10)
PLAIN = {"optimizer": SGD(momentum=0.0), "rate": Constant(), "accelerator": "cpu"}


def digits(limit=256):
    return data.load("digits", "train", limit=limit)


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


class Watch:
    """A hook that remembers what it is given."""

    def __init__(self, says="tightness"):
        self.says, self.weights, self.keys, self.steps, self.draws = says, [], [], [], []

    def __call__(self, network, rng, step):
        self.weights.append(weights(network))
        self.keys.append(rng.key)
        self.steps.append(step)
        self.draws.append(rng.uniform((3,))[0])
        return {self.says: torch.tensor(float(step))}


def run(out, network=None, objective=None, images=None, **options):
    """`fit` on 256 digits in steps of 64; the options of `fit` and of `Schedule` together."""
    keys = ("validation", "selection", "hooks", "checkpoint_seconds")
    fitting = {key: options.pop(key) for key in keys if key in options}
    schedule = Schedule(**{"epochs": 1, "batch_size": 64, "lr": 0.05, **PLAIN, **options})
    network = SMALL.build(0) if network is None else network
    images = digits() if images is None else images
    objective = objective or Standard()
    log = fit(network, images, objective, schedule, architecture=SMALL, out=out, **fitting)
    return network, log


def test_the_ema_is_its_formula_for_weights_and_statistics(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10))
    watch, expected = Watch(), weights(network)
    run(tmp_path, network, epochs=2, ema=0.3, hooks=[watch])
    for t, latest in enumerate(watch.weights, 1):
        d = min(0.3, (1 + t) / (10 + t))
        for name, value in expected.items():
            expected[name] = d * value + (1 - d) * latest[name] if value.dim() else latest[name]
    for name, value in network.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6), name
    assert not torch.allclose(network[1].weight, watch.weights[-1]["1.weight"], atol=1e-5)
    assert int(network[2].num_batches_tracked) == 8


def test_a_clipped_step_has_the_length_of_the_limit(tmp_path):
    start, watch = SMALL.build(0), Watch()
    batch = order(0, 0, 256)[:64]
    loss = functional.cross_entropy(start(digits().x(batch)), digits().y[batch])
    slopes = torch.autograd.grad(loss, list(start.parameters()))
    norm = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
    limit = norm / 3
    _, log = run(tmp_path, hooks=[watch], images=digits().take(batch), clip=limit)
    change = [watch.weights[0][name] - value for name, value in start.state_dict().items()]
    length = math.sqrt(sum(float(part.square().sum()) for part in change))
    assert length == pytest.approx(0.05 * limit, rel=1e-4)
    assert log["gradient_norm"][0] == pytest.approx(norm, rel=1e-4)


@pytest.mark.parametrize(("batch_size", "accumulate"), [(100, 3), (2, 4)])
def test_parts_of_a_step_change_rounding_only(tmp_path, batch_size, accumulate):
    """The noise of stability training is keyed by example, whatever the part."""
    found = [
        run(
            tmp_path / str(parts),
            objective=Stability(sigma=0.2),
            images=digits(60),
            batch_size=batch_size,
            accumulate=parts,
        )
        for parts in (1, accumulate)
    ]
    for one, other in zip(*(network.parameters() for network, _ in found), strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    pd.testing.assert_frame_equal(found[0][1], found[1][1], rtol=1e-4)


def test_the_stream_is_keyed_by_step_and_example(tmp_path):
    seen = []

    def objective(model, x, y, rng):
        seen.append((rng.key, rng.index))
        return Standard()(model, x, y, rng)

    run(tmp_path, objective=objective, accumulate=2, epochs=2)
    keys = [key for key, _ in seen]
    assert keys[0::2] == keys[1::2]  # one for both parts of a step
    assert len(set(keys)) == 8
    examples = torch.cat([index for _, index in seen[:8]])
    assert torch.equal(examples, order(0, 0, 256))


def test_a_hook_acts_after_each_step_and_joins_the_log(tmp_path):
    class Halve:
        def __call__(self, network, rng, step):
            for parameter in network.parameters():
                parameter *= 0.5
            return {"halved": torch.tensor(2.0)}

    first, second = Watch(), Watch("another")
    network, log = run(tmp_path / "a", hooks=[first, Halve(), second], lr=1e-9, epochs=2)
    assert first.steps == list(range(8))
    for before, after in zip(first.weights, second.weights, strict=True):
        for name, value in before.items():
            assert torch.equal(value * 0.5, after[name])
    start = SMALL.build(0)
    assert torch.allclose(next(network.parameters()), next(start.parameters()) / 2**8, atol=1e-6)
    assert log["halved"].tolist() == [2.0, 2.0]
    assert log["tightness"].tolist() == [1.5, 5.5]
    # Its randomness: another for each step and hook, the same in another run.
    assert len({*first.keys, *second.keys}) == 16
    again = Watch()
    run(tmp_path / "b", hooks=[again])
    assert all(torch.equal(a, b) for a, b in zip(first.draws, again.draws, strict=False))


def test_validation_on_a_network_whose_margin_is_known():
    """Right if the margin is positive, robust if it exceeds eps times the ℓ1 norm of the normal."""
    network = two_class(torch.tensor([2.0, -1.0]), 0.5)
    x = torch.rand(200, 1, 1, 2, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    side = x.flatten(1) @ torch.tensor([2.0, -1.0]) - 0.5
    y = (side > 0).long()
    y[::5] = 1 - y[::5]  # a fifth is wrong
    margin = torch.where(y == 1, side, -side)
    validation = Validation(data=data.Data.of(x, y), attack=FGSM(Linf(0.1)), batch_size=64)
    fabric = Schedule(epochs=1, accelerator="cpu").launch()
    measured = validation.measure(network.train(), 0, fabric)
    assert measured == {
        "val_accuracy": float((margin > 0).double().mean()),
        "val_robust_accuracy": float((margin > 0.1 * 3).double().mean()),
    }
    assert 0 < measured["val_robust_accuracy"] < measured["val_accuracy"] == 0.8
    assert network.training
    plain = Validation(data=data.Data.of(x, y)).measure(network, 0, fabric)
    assert plain == {"val_accuracy": 0.8}


@pytest.mark.parametrize("top", [2, 5, 9])
def test_top_k_is_what_sorting_the_answers_gives_before_the_attack_and_after_it(top):
    held, attack = digits(200), PGD(Linf(0.1), steps=5, early_stop=False)
    network = random_linear(10, 64)
    x, fabric = held.x(torch.arange(200)), Schedule(epochs=1, accelerator="cpu").launch()
    measured = Validation(data=held, attack=attack, top=top).measure(network, 0, fabric)
    x_adv = attack(network, x, held.y, seed=hash_seed(0, "val"))

    def among(images):
        return (network(images).topk(top).indices == held.y[:, None]).any(dim=1)

    assert measured[f"val_top{top}"] == float(among(x).double().mean())
    left = among(x) & among(x_adv)
    assert measured[f"val_robust_top{top}"] == float(left.double().mean())
    assert measured["val_accuracy"] < measured[f"val_top{top}"] < 1
    assert measured["val_robust_accuracy"] < measured[f"val_robust_top{top}"]
    assert measured[f"val_robust_top{top}"] < measured[f"val_top{top}"]
    only = Validation(data=held, attack=attack).measure(network, 0, fabric)
    assert only == {name: measured[name] for name in only}  # the first class is as it was
    plain = Validation(data=held, top=top).measure(network, 0, fabric)
    assert plain == {name: measured[name] for name in ("val_accuracy", f"val_top{top}")}


def test_an_answer_that_is_no_number_is_among_no_first_classes():
    fabric = Schedule(epochs=1, accelerator="cpu").launch()
    lost = Wrapped(lambda x: x.flatten(1)[:, :10] * math.nan)
    assert Validation(data=digits(50), top=5).measure(lost, 0, fabric)["val_top5"] <= 0.3


def test_more_classes_than_there_are_say_nothing():
    fabric = Schedule(epochs=1, accelerator="cpu").launch()
    with pytest.raises(InputError, match="top is 10, but of 10 classes every label is among"):
        Validation(data=digits(9), top=10).measure(random_linear(10, 64), 0, fabric)
    with pytest.raises(InputError, match="top is 0, but must be at least 1"):
        Validation(data=digits(9), top=0)
    for more, words in (
        ({"top": 10, "held_out": 5}, "give at most 9"),
        ({"top": 5}, "none are held out"),
    ):
        with pytest.raises(InputError, match=words):
            train_data(SMALL, digits(20), Standard(), Schedule(epochs=1), **more)


@pytest.mark.parametrize("ema", [None, 0.9])
def test_what_is_validated_is_what_is_handed_over(tmp_path, ema):
    images, held = hold_out(digits(), 100, 0)
    watch = Watch()
    network, log = run(
        tmp_path,
        images=images,
        lr=1.0,
        ema=ema,
        hooks=[watch],
        validation=Validation(data=held, attack=PGD(Linf(0.02), steps=2)),
    )

    def loss_and_accuracy():
        logits = network.eval()(held.x(torch.arange(100))).detach()
        accuracy = (logits.argmax(dim=1) == held.y).double().mean()
        return functional.cross_entropy(logits, held.y).item(), float(accuracy)

    loss, accuracy = loss_and_accuracy()
    assert log["val_accuracy"][0] == pytest.approx(accuracy)
    assert log["val_robust_accuracy"][0] <= accuracy
    network.load_state_dict(watch.weights[-1])
    assert (loss_and_accuracy()[0] == loss) == (ema is None)


class Scripted:
    """Cross-entropy, with a term that takes a given value in each epoch of 4 steps."""

    def __init__(self, *scores):
        self.scores, self.calls = scores, 0

    def __call__(self, model, x, y, rng):
        loss, _ = Standard()(model, x, y, rng)
        score = torch.tensor(self.scores[self.calls // 4])
        self.calls += 1
        return loss, {"score": score}


def test_the_best_epoch_is_kept_and_patience_ends_training(tmp_path):
    watch = Watch()
    network, log = run(
        tmp_path,
        objective=Scripted(0.1, 0.5, 0.3, 0.2, 0.9),
        epochs=5,
        hooks=[watch],
        selection=Selection(metric="score", patience=2),
    )
    assert log["score"].tolist() == pytest.approx([0.1, 0.5, 0.3, 0.2])  # the 0.9 is never met
    for name, value in network.state_dict().items():
        assert torch.equal(value, watch.weights[7][name])  # after the second epoch


def test_stopping_early_is_remembered(tmp_path):
    options = {"epochs": 5, "selection": Selection(metric="score", patience=1)}
    first, _ = run(tmp_path, objective=Scripted(0.5, 0.1, 0.9), **options)
    again = Scripted(0.5, 0.1, 0.9)
    second, log = run(tmp_path, SMALL.build(1), again, **options)
    assert again.calls == 0
    assert len(log) == 2
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_a_metric_that_nothing_logs_is_told_at_once(tmp_path):
    scripted = Scripted(*[0.1] * 9)
    with pytest.raises(UnknownNameError, match="did you mean 'score'"):
        run(tmp_path, objective=scripted, selection=Selection(metric="scor"))
    assert scripted.calls == 1
    with pytest.raises(UnknownNameError, match="val_robust_accuracy"):
        run(tmp_path, selection=Selection(), validation=Validation(data=digits(10)))


def breaking(at, term):
    """An objective that logs NaN as ``term`` in its call number ``at``, or has a NaN gradient."""
    calls = 0

    def objective(model, x, y, rng):
        nonlocal calls
        loss, logs = Standard()(model, x, y, rng)
        if calls == at and term == "gradient":
            loss = loss + (0 * next(model.parameters()).sum()).sqrt()  # 0, of slope 0 · ∞
        elif calls == at:
            logs = {**logs, term: torch.tensor(math.nan)}
        calls += 1
        return loss, logs

    return objective


def test_nan_names_step_term_and_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingError) as told:
        run(tmp_path, objective=breaking(6, "stability"), epochs=3)
    message = str(told.value)
    assert "stability is nan at step 6" in message
    assert f"{tmp_path / CHECKPOINT}, of step 4" in message
    with pytest.raises(TrainingError, match=r"at step 0.*no checkpoint yet"):
        run(tmp_path / "new", objective=breaking(0, "stability"))


@pytest.mark.parametrize(
    ("at", "words"),
    [(7, "is not finite after step 7"), (5, "loss is nan at step 6")],
)
def test_a_gradient_that_is_not_finite_reaches_no_checkpoint(tmp_path, at, words):
    """At an epoch's end the weights are looked at; within it the next loss tells."""
    with pytest.raises(TrainingError, match=words):
        run(tmp_path, objective=breaking(at, "gradient"), epochs=3, checkpoint_seconds=0)
    tensors, about = read_tensors(tmp_path / CHECKPOINT)
    assert about["progress"]["step"] == at
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_clipped_gradient_that_is_not_finite_is_named(tmp_path):
    with pytest.raises(TrainingError, match="gradient_norm is nan at step 1"):
        run(tmp_path, objective=breaking(1, "gradient"), clip=1.0)


def test_adversarial_training_in_bfloat16(tmp_path):
    """Fabric's own wrapper refuses the attack's backward passes; the network is left as it was."""
    network, log = run(
        tmp_path,
        objective=Adversarial(attack=PGD(Linf(0.05), steps=2, early_stop=False)),
        precision="bf16-mixed",
        epochs=3,
    )
    assert log["loss"][2] < log["loss"][0]
    assert "forward" not in vars(network)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_speed_has_a_table_of_its_own(tmp_path):
    run(tmp_path, epochs=2, validation=Validation(data=digits(10)))
    speed = pd.read_csv(tmp_path / "speed.csv")
    assert speed["epoch"].tolist() == [1, 2]
    ratio = speed["images_per_second"] * speed["seconds"]
    assert ratio.tolist() == pytest.approx([256, 256])


def test_fine_tuning_begins_with_the_given_weights(tmp_path):
    schedule = Schedule(epochs=1, lr=1e-12, **PLAIN)
    train_data(SMALL, digits(), Standard(), Schedule(epochs=1), tmp_path / "plain")
    start, architecture = start_from(tmp_path / "plain")
    assert architecture == SMALL
    before = weights(start)
    tuned = train_data(SMALL, digits(), Standard(), schedule, tmp_path / "b", start=start)
    for name, value in tuned.state_dict().items():
        assert torch.allclose(value, before[name], atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    same, _ = start_from(tmp_path / "plain" / MODEL)
    assert all(torch.equal(value, before[name]) for name, value in same.state_dict().items())
    assert read_json(tmp_path / "b" / "run.json")["settings"]["from"] == fingerprint(start)
    odd = data.Data.of(torch.rand(20, 1, 8, 8), torch.arange(20) % 3)
    with pytest.raises(InputError, match="10 classes, but the data"):
        train_data(SMALL, odd, Standard(), schedule, tmp_path / "c", start=start)
    with pytest.raises(MissingFileError, match="no network to start from"):
        start_from(tmp_path)


def test_the_run_record_says_which_epoch(tmp_path):
    network = train_data(
        SMALL,
        digits(),
        Standard(),
        Schedule(epochs=3, ema=0.9),
        tmp_path / "run",
        held_out=60,
        attack=FGSM(Linf(0.05)),
        selection=Selection(metric="loss", larger=False),
    )
    about = read_json(tmp_path / "run" / "run.json")
    assert about["best_epoch"]["epoch"] == 3  # the loss falls
    assert about["best_epoch"] == about["last_epoch"]
    assert about["settings"]["held_out"] == 60
    assert "Linf(eps=0.05)" in about["settings"]["attack"]
    _, held = hold_out(digits(), 60, 0)
    right = network(held.x(torch.arange(60))).argmax(dim=1) == held.y
    assert float(right.double().mean()) == pytest.approx(about["best_epoch"]["val_accuracy"])
    attack, out = FGSM(Linf(0.05)), tmp_path / "b"
    with pytest.raises(InputError, match="no images are held out"):
        train_data(SMALL, digits(), Standard(), Schedule(epochs=1), out, attack=attack)


class Twice(nn.Module):
    """Answers twice."""

    def __init__(self):
        super().__init__()
        self.network = small_network()

    def forward(self, x):
        return self.network(x), self.network(x)


def _frozen():
    return small_network().requires_grad_(False)


def _normalized():
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 4))


def _normalized_to_a_pixel():
    """As ResNets at 32×32 and below end."""
    return nn.Sequential(nn.Conv2d(1, 4, 6), nn.BatchNorm2d(4), nn.Flatten())


@pytest.mark.parametrize(
    ("made", "changed", "named"),
    [
        (_frozen, {}, "no weight of the network asks for a gradient"),
        (lambda: small_network().double(), {}, "weights are torch.float64 and the images torch.f"),
        (small_network, {"y": torch.arange(9)}, "label 4 is 4, but the model has 4 classes"),
        (_normalized, {}, "9 images in batches of 4 make a batch of one"),
        (_normalized_to_a_pixel, {}, "9 images in batches of 4 make a batch of one"),
        (Twice, {}, "must return logits"),
        (small_network, {"x": torch.rand(9, 1, 7, 7)}, "the model failed on images of shape"),
    ],
)
def test_what_cannot_be_trained_is_told_before_the_first_step(
    unchecked, made, changed, named, tmp_path
):
    given = {"x": torch.rand(9, 1, 6, 6), "y": torch.arange(9) % 4} | changed
    what = Architecture(name="small", shape=(1, 6, 6), classes=4)
    how = Schedule(epochs=1, batch_size=4, accelerator="cpu")
    network = made().train()
    with pytest.raises(HoldfastError, match=named):
        fit(network, data.Data.of(**given), Standard(), how, architecture=what, out=tmp_path)
    assert not list(tmp_path.iterdir())
    assert all(layer.training for layer in network.modules())


def test_a_part_of_one_image_is_told_where_it_cannot_be_normalised(tmp_path):
    what = Architecture(name="small", shape=(1, 6, 6), classes=4)
    how = Schedule(epochs=1, batch_size=4, accumulate=3, accelerator="cpu")
    given = data.Data.of(torch.rand(8, 1, 6, 6), torch.arange(8) % 4)
    with pytest.raises(InputError, match="8 images in batches of 4 of 3 parts each make a part of"):
        fit(_normalized_to_a_pixel(), given, Standard(), how, architecture=what, out=tmp_path)
    several = nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.Flatten())
    fit(several, given, Standard(), how, architecture=what, out=tmp_path)
