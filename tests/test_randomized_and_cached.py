"""What is random for a whole batch, and gradients of static sources that are computed once."""

import contextlib
import math

import numpy as np
import pytest
import torch
from torch import nn

from holdfast import data
from holdfast.attacks import FGSM, PGD, RFGSM, On
from holdfast.defenses import GaussianNoise
from holdfast.errors import DamagedFileError, InputError
from holdfast.goals import cross_entropy, toward_least_likely
from holdfast.models import Architecture
from holdfast.random import Stream
from holdfast.threat import L2, Linf
from holdfast.training import (
    AtRandomSize,
    CachedFGSM,
    EnsembleAdversarial,
    GradientCache,
    OneAtRandom,
    OneByOne,
    Schedule,
    against_prediction,
    fit,
    gradient_cache,
)
from holdfast.training.randomized import half_normal, scaled, uniform
from tests.toys import images, small_network

MLP = Architecture(name="mlp", shape=(1, 8, 8), classes=10)
FGSM_3 = FGSM(Linf(0.3))


def streams(count, step=0):
    return Stream.of(0, torch.arange(count)).fold("train", step)


# Draws


def test_the_source_is_one_for_the_batch_whoever_holds_which_part_of_it():
    """Two processes of a distributed run hold halves of the batch, and draw the same."""
    draw = OneAtRandom(attacks=tuple(PGD(Linf(0.1), steps=n) for n in range(1, 5)))
    chosen = [draw.chosen(streams(8, step)) for step in range(400)]
    for half in (torch.arange(4), torch.arange(4, 8)):
        assert chosen == [draw.chosen(streams(8, step).take(half)) for step in range(400)]
    counts = np.bincount(chosen, minlength=4)
    assert len(counts) == 4
    # Four standard deviations of a binomial around 100.
    assert np.abs(counts - 100).max() < 4 * math.sqrt(400 * 0.25 * 0.75)


def test_the_trainer_draws_a_source_for_each_step_and_a_resumed_run_the_same(tmp_path):
    images_, schedule = data.load("digits", "train", limit=128), Schedule(epochs=2, batch_size=8)
    other = MLP.build(7).eval()
    objective = EnsembleAdversarial(FGSM_3, [On(other, FGSM_3, name="other")])

    def run(out, stop=None):
        drawn = []

        def watched(model, x, y, rng):
            if stop is not None and len(drawn) == stop:
                raise KeyboardInterrupt
            drawn.append(objective.attack.chosen(rng.fold("attack")))
            return objective(model, x, y, rng)

        network = MLP.build(0)
        out.mkdir(exist_ok=True)
        with contextlib.suppress(KeyboardInterrupt):
            fit(
                network,
                images_,
                watched,
                schedule,
                architecture=MLP,
                out=out,
                checkpoint_seconds=0,
            )
        return drawn, network

    whole, expected = run(tmp_path / "whole")
    assert 4 < sum(whole[:16]) < 12  # within the first epoch already
    assert whole[:16] != whole[16:]
    first, _ = run(tmp_path / "broken", stop=11)
    rest, resumed = run(tmp_path / "broken")
    assert first + rest == whole
    for ours, theirs in zip(resumed.parameters(), expected.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_uniform_and_half_normal_sizes():
    places = (np.arange(20_000) + 0.5) / 20_000
    drawn = np.array([half_normal(u) for u in places])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # P(|t| <= ε/2) = P(|t| <= one deviation), given |t| <= two.
    expected = math.erf(1 / math.sqrt(2)) / math.erf(math.sqrt(2))
    assert np.mean(drawn <= 0.5) == pytest.approx(expected, abs=1e-3)
    assert half_normal(0.0) == pytest.approx(0, abs=1e-12)
    assert uniform(0.3) == 0.3


def test_the_size_is_drawn_for_each_batch_and_the_steps_shrink_with_it():
    attack = AtRandomSize(attack=FGSM_3)
    model, x = small_network(), images(4, margin=0.3)
    y = torch.zeros(4, dtype=torch.long)
    sizes = []
    for step in range(60):
        moved = attack.perturb(model, x, y, streams(4, step)) - x
        sizes.append(moved.abs().max().item())
        assert torch.allclose(moved, sizes[-1] * moved.sign(), atol=1e-6)
    assert np.mean(sizes) == pytest.approx(0.15, abs=4 * 0.3 / math.sqrt(12 * 60))
    assert max(sizes) <= 0.3
    assert attack.threat == Linf(0.3)
    assert scaled(RFGSM(Linf(0.4), alpha=0.1), 0.5) == RFGSM(Linf(0.2), alpha=0.05)
    assert scaled(PGD(L2(1), restarts=2), 0.5) == PGD(L2(0.5), restarts=2)


def test_one_by_one_every_example_has_a_size_of_its_own_and_whoever_is_beside_it_the_same():
    attack = OneByOne(attack=AtRandomSize(attack=FGSM_3))
    model, x = small_network(), images(60, margin=0.3)
    y = torch.zeros(60, dtype=torch.long)
    moved = attack.perturb(model, x, y, streams(60)) - x
    sizes = moved.abs().flatten(1).amax(dim=1)
    assert torch.allclose(moved, sizes[:, None, None, None] * moved.sign(), atol=1e-6)
    assert len(set(sizes.tolist())) == 60
    assert sizes.mean().item() == pytest.approx(0.15, abs=4 * 0.3 / math.sqrt(12 * 60))
    assert sizes.max() <= 0.3
    some = torch.tensor([41, 7, 30])
    again = attack.perturb(model, x[some], y[some], streams(60).take(some)) - x[some]
    assert torch.allclose(again, moved[some], atol=1e-6)
    assert attack.threat == Linf(0.3)
    assert scaled(attack, 0.5).threat == Linf(0.15)
    seen = []
    attack(model, x[:3], y[:3], callback=lambda step: seen.append(step.position.tolist()))
    assert seen == [[0], [1], [2]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneAtRandom(attacks=()),
        lambda: OneAtRandom(attacks=(FGSM_3, FGSM(Linf(0.1)))),
        lambda: AtRandomSize(attack=On(small_network(), FGSM_3, name="a")),
    ],
)
def test_what_cannot_be_drawn(make):
    with pytest.raises(InputError):
        make()


# Gradients computed once


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr(gradient_cache, "_IN_FILE", 16)


def digits(limit=40):
    return data.load("digits", "train", limit=limit)


def batch(given, *index):
    index = torch.tensor(index)
    return given.x(index), given.y[index], Stream.of(5, index)


@pytest.mark.usefixtures("small_files")
def test_cached_and_uncached_training_give_the_same_weights(tmp_path):
    given, source = digits(), MLP.build(3).eval()
    known = CachedFGSM(
        threat=Linf(0.3), cache=GradientCache(source, given, tmp_path / "c", name="s")
    )
    weights = []
    for static in (On(source, FGSM_3, name="s"), known):
        network, out = MLP.build(0), tmp_path / str(len(weights))
        out.mkdir()
        objective = EnsembleAdversarial(FGSM_3, [static])
        fit(network, given, objective, Schedule(epochs=3, batch_size=8), architecture=MLP, out=out)
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize("goal", [cross_entropy, toward_least_likely])
@pytest.mark.usefixtures("small_files")
def test_a_step_along_signs_is_fgsm_on_the_source(tmp_path, goal):
    given, source = digits(), small_network((1, 8, 8), 10)
    known = GradientCache(source, given, tmp_path, name="s", goal=goal)
    x, y, rng = batch(given, 39, 0, 17, 3)
    attack = CachedFGSM(threat=Linf(0.3), cache=known)
    expected = against_prediction(FGSM(Linf(0.3), goal=goal)).perturb(source, x, y, rng)
    assert torch.equal(attack.perturb(MLP.build(), x, y, rng), expected)
    moved = AtRandomSize(attack=attack).perturb(MLP.build(), x, y, rng) - x
    size = moved.abs().max()
    assert 0 < size < 0.3
    step = (x + size * known.at(x, rng)).clamp(0, 1) - x
    assert torch.allclose(moved, step, atol=1e-6)


class Counted(nn.Module):
    """Counts the images that it is asked about."""

    def __init__(self, model):
        super().__init__()
        self.model, self.asked = model, 0

    def forward(self, x):
        self.asked += len(x)
        return self.model(x)


@pytest.mark.usefixtures("small_files")
def test_known_gradients_cost_nothing_and_changed_images_are_noticed(tmp_path):
    given, source = digits(), Counted(small_network((1, 8, 8), 10))
    known = GradientCache(source, given, tmp_path, name="s")
    x, y, rng = batch(given, 5, 21, 33, 2)
    source.asked = 0
    found = known.at(x, rng)
    assert source.asked == 0
    # The index does not matter, as where some images are held out; other images do.
    assert torch.equal(known.at(x, Stream.of(5, torch.arange(1000, 1004))), found)
    x[1] = x[1].flip(-1)
    x[2] = 0
    fresh = known.at(x, rng)
    assert source.asked == 2 * 2  # the goal's prediction, and the gradient
    assert torch.equal(fresh[[0, 3]], found[[0, 3]])
    fgsm = against_prediction(FGSM(Linf(0.01)))
    inside = 0.3 + 0.4 * x
    expected = (fgsm.perturb(source, inside, y, rng) - inside).sign()
    assert torch.equal(known.at(inside, rng), expected)


@pytest.mark.usefixtures("small_files")
def test_a_killed_computation_goes_on_at_the_missing_file(tmp_path, monkeypatch):
    given, source = digits(), Counted(small_network((1, 8, 8), 10))
    save, saved = np.save, []

    def killed(file, rows):
        file.write(b"part")
        if len(saved) == 3:  # the second file of signs
            raise KeyboardInterrupt
        file.seek(0)
        save(file, rows)
        saved.append(rows)

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        GradientCache(source, given, tmp_path, name="s")
    monkeypatch.undo()
    monkeypatch.setattr(gradient_cache, "_IN_FILE", 16)
    left = sorted(path.name for path in tmp_path.rglob("*.*"))
    assert left == ["00000.images.npy", "00000.signs.npy", "00001.images.npy"]
    source.asked = 0
    known = GradientCache(source, given, tmp_path, name="s")
    assert source.asked == 2 * 24  # the second and third file
    source.asked = 0
    again = GradientCache(source, given, tmp_path, name="s")
    assert source.asked == 0
    x, _, rng = batch(given, *range(40))
    assert torch.equal(known.at(x, rng), again.at(x, rng))
    assert repr(known) == repr(again)


def test_another_source_goal_or_data_is_another_folder(tmp_path):
    given, source = digits(), small_network((1, 8, 8), 10)
    GradientCache(source, given, tmp_path, name="s")
    GradientCache(source, given, tmp_path, name="s", goal=toward_least_likely)
    GradientCache(small_network((1, 8, 8), 10, seed=1), given, tmp_path, name="s")
    GradientCache(source, digits(30), tmp_path, name="s")
    GradientCache(source, given, tmp_path, name="another name")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("kind", ["images", "signs"])
@pytest.mark.parametrize("content", [b"", b"damaged", b"wrong shape"])
def test_a_damaged_file_is_told(tmp_path, content, kind):
    given, source = digits(), small_network((1, 8, 8), 10)
    GradientCache(source, given, tmp_path, name="s")
    (path,) = tmp_path.rglob(f"*.{kind}.npy")
    path.write_bytes(content)
    if content == b"wrong shape":
        np.save(path, np.zeros((40, 3), np.int8))
    with pytest.raises(DamagedFileError, match="remove it"):
        GradientCache(source, given, tmp_path, name="s")


def test_what_cannot_be_cached(tmp_path):
    noisy = nn.Sequential(GaussianNoise(0.1), small_network((1, 8, 8), 10))
    with pytest.raises(InputError, match="draws random numbers"):
        GradientCache(noisy, digits(), tmp_path, name="s")
    known = GradientCache(small_network((1, 8, 8), 10), digits(), tmp_path, name="s")
    with pytest.raises(InputError, match="linf alone"):
        CachedFGSM(threat=L2(1.0), cache=known)
