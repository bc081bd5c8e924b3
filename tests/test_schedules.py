"""Learning rates, optimisers, selection and the held-out split: pure functions, by hand."""

import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn, optim

from holdfast.cli import schedules
from holdfast.data import Data
from holdfast.errors import InputError, InputTypeError
from holdfast.models import Architecture
from holdfast.training import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    MultiStep,
    OneCycle,
    Processes,
    RMSProp,
    Schedule,
    Selection,
    Standard,
    StepDecay,
    WarmUp,
    fit,
    hold_out,
)
from holdfast.training.rates import too_late

RATES = [
    Constant(),
    Cosine(),
    StepDecay(every=3),
    MultiStep(at=(2, 4), factor=0.5),
    OneCycle(),
    WarmUp(rate=Cosine(), epochs=1.5),
]


@pytest.mark.parametrize(
    ("rate", "done", "factor"),
    [
        (Constant(), 7.5, 1.0),
        (Cosine(), 0.0, 1.0),
        (Cosine(), 5.0, 0.5),
        (Cosine(), 2.5, (1 + math.sqrt(0.5)) / 2),
        (StepDecay(every=2, factor=0.5), 1.99, 1.0),
        (StepDecay(every=2, factor=0.5), 2.0, 0.5),
        (StepDecay(every=2, factor=0.5), 9.0, 0.0625),
        (MultiStep(at=(4, 8)), 3.99, 1.0),
        (MultiStep(at=(4, 8)), 4.0, 0.1),
        (MultiStep(at=(4, 8)), 8.0, 0.01),
        (OneCycle(peak=0.3, start=0.04, end=0.0), 0.0, 0.04),
        (OneCycle(peak=0.3, start=0.04, end=0.0), 1.5, 0.52),
        (OneCycle(peak=0.3, start=0.04, end=0.0), 3.0, 1.0),
        (OneCycle(peak=0.3, start=0.04, end=0.0), 6.5, 0.5),
        (WarmUp(rate=Constant(), epochs=2, start=0.1), 0.0, 0.1),
        (WarmUp(rate=Constant(), epochs=2, start=0.1), 1.0, 0.55),
        (WarmUp(rate=Constant(), epochs=2, start=0.1), 2.0, 1.0),
        (WarmUp(rate=Cosine(), epochs=5, start=0.0), 2.5, 0.5 * (1 + math.sqrt(0.5)) / 2),
        (WarmUp(rate=MultiStep(at=(4,)), epochs=2), 4.0, 0.1),  # the milestone is not shifted
    ],
)
def test_rates_by_hand(rate, done, factor):
    assert rate(done, 10) == pytest.approx(factor, rel=1e-12)


def test_one_cycle_is_torchs():
    """torch ends each phase one step earlier: 11 of 31 steps up to the peak, 20 down."""
    optimizer = optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=31, pct_start=11 / 31, cycle_momentum=False
    )
    ours = OneCycle(peak=1 / 3)
    for step in range(30):
        assert theirs.get_last_lr()[0] == pytest.approx(ours(step, 30), rel=1e-6)
        optimizer.step()
        theirs.step()


@given(rate=st.sampled_from(RATES), fraction=st.floats(0, 1, exclude_max=True))
def test_a_factor_is_between_0_and_1(rate, fraction):
    assert 0 <= rate(6 * fraction, 6) <= 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: SGD(momentum=1.0),
        lambda: SGD(momentum=0.0, nesterov=True),
        lambda: Adam(beta1=-0.1),
        lambda: AdamW(beta2=1.0),
        lambda: RMSProp(alpha=1.5),
        lambda: RMSProp(momentum=math.nan),
        lambda: RMSProp(eps=0.0),
        lambda: StepDecay(every=0),
        lambda: StepDecay(every=1, factor=0.0),
        lambda: MultiStep(at=()),
        lambda: MultiStep(at=(4, 2)),
        lambda: MultiStep(at=(0, 2)),
        lambda: MultiStep(at=(2,), factor=2.0),
        lambda: OneCycle(peak=1.0),
        lambda: OneCycle(start=-0.1),
        lambda: WarmUp(rate=Cosine(), epochs=0),
        lambda: WarmUp(rate=Cosine(), epochs=1, start=1.0),
        lambda: Schedule(epochs=1, clip=0.0),
        lambda: Schedule(epochs=1, accumulate=0),
        lambda: Schedule(epochs=1, ema=1.0),
        lambda: Schedule(epochs=1, lr=math.inf),
        lambda: Schedule(epochs=1, weight_decay=math.nan),
        lambda: Schedule(epochs=1, weight_decay=math.inf),
        lambda: Schedule(epochs=1, clip=math.inf),
        lambda: Processes(devices=0),
        lambda: Processes(devices=10**9),
        lambda: Processes(num_nodes=0),
        lambda: Selection(patience=0),
        lambda: schedules.rate("step"),
        lambda: schedules.rate("multi-step(at=[])"),
        lambda: schedules.rate("cosine(warm_up=-1)"),
    ],
)
def test_bad_parameters(make):
    with pytest.raises((InputError, InputTypeError)):
        make()


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (MultiStep(at=(2, 4, 5)), ["fall after 4", "fall after 5"]),
        (MultiStep(at=(2, 3.5)), []),
        (StepDecay(every=4), ["fall after 4"]),
        (StepDecay(every=3.5), []),
        (WarmUp(rate=StepDecay(every=9), epochs=5), ["rise for 5 epochs", "fall after 9"]),
        (WarmUp(rate=Cosine(), epochs=4), []),
        (Constant(), []),
        (OneCycle(), []),
    ],
)
def test_what_a_rate_never_comes_to_is_told_before_the_first_epoch(rate, told, tmp_path):
    found = too_late(rate, 4)
    assert len(found) == len(told)
    for sentence, what in zip(found, told, strict=True):
        assert what in sentence
        assert "4 are trained" in sentence
    schedule = Schedule(epochs=4, batch_size=8, rate=rate, accelerator="cpu")
    small = Architecture(name="small", shape=(1, 6, 6), classes=3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained = Data.of(torch.rand(8, 1, 6, 6), torch.arange(8) % 3)
        fit(small.build(), trained, Standard(), schedule, architecture=small, out=tmp_path)
    assert [str(warning.message) for warning in caught] == found


@pytest.mark.parametrize(
    ("spec", "kind", "lr", "weight_decay"),
    [
        ("adam", Adam(), 1e-3, 0.0),
        ("sgd(lr=0.1, momentum=0.5, nesterov=True)", SGD(momentum=0.5, nesterov=True), 0.1, 0.0),
        ("adam(beta1=0.1, beta2=0.2)", Adam(beta1=0.1, beta2=0.2), 1e-3, 0.0),
        ("adamw(beta1=0.1, weight_decay=1)", AdamW(beta1=0.1), 1e-3, 1.0),
        ("rmsprop(alpha=0.3, momentum=0.2)", RMSProp(alpha=0.3, momentum=0.2), 1e-3, 0.0),
        ("rmsprop(momentum=0.9, eps=1)", RMSProp(momentum=0.9, eps=1.0), 1e-3, 0.0),
    ],
)
def test_optimizers_of_the_command_line(spec, kind, lr, weight_decay):
    found = schedules.optimizer(spec)
    assert found == (kind, lr, weight_decay)
    assert type(found.kind) is type(kind)


@pytest.mark.parametrize("kind", [Adam, AdamW])
def test_a_decay_may_be_a_whole_number(kind):
    for betas in ({"beta1": 0}, {"beta2": 0}):
        built = kind(**betas).build([torch.nn.Parameter(torch.ones(1))], 0.1, 0.0)
        assert 0.0 in built.defaults["betas"]


def test_rmsprop_by_hand():
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = RMSProp(alpha=0.75, momentum=0.5, eps=0.1).build([w], 0.01, 0.0)
    expected, square, moved = w.detach().clone(), 0.0, 0.0
    for gradient in torch.tensor([[0.3, -1.0], [2.0, 0.5], [-0.1, 0.0]], dtype=torch.float64):
        w.grad = gradient
        optimizer.step()
        square = 0.75 * square + 0.25 * gradient**2
        moved = 0.5 * moved + gradient / (square**0.5 + 0.1)
        expected = expected - 0.01 * moved
        assert torch.allclose(w, expected, rtol=1e-12)
    # As it was recorded before eps was a parameter.
    assert repr(RMSProp()) == "RMSProp(alpha=0.99, momentum=0.0)"
    assert repr(RMSProp(eps=0.1)) == "RMSProp(alpha=0.99, momentum=0.0, eps=0.1)"


@pytest.mark.parametrize(
    ("spec", "rate"),
    [
        ("constant", Constant()),
        ("cosine(warm_up=2)", WarmUp(rate=Cosine(), epochs=2)),
        ("step(every=3, factor=0.5)", StepDecay(every=3, factor=0.5)),
        ("multi-step(at=[3, 5])", MultiStep(at=(3, 5))),
        ("one-cycle(peak=0.2, warm_up=0.5)", WarmUp(rate=OneCycle(peak=0.2), epochs=0.5)),
    ],
)
def test_schedules_of_the_command_line(spec, rate):
    assert schedules.rate(spec) == rate


def test_a_whole_number_is_recorded_as_any_other():
    assert repr(schedules.rate("multi-step(at=[1])")) == "MultiStep(at=(1.0,), factor=0.1)"


def test_selection_by_hand():
    log = [{"a": value} for value in (0.1, 0.5, 0.3, 0.5, 0.2)]
    larger, smaller = Selection(metric="a", patience=3), Selection(metric="a", larger=False)
    assert [larger.best(log[:n]) for n in range(6)] == [0, 1, 2, 2, 2, 2]
    assert [larger.exhausted(log[:n]) for n in range(6)] == [False] * 5 + [True]
    assert smaller.best(log) == 1
    assert not smaller.exhausted(log * 10)


@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 5),
)
def test_the_held_out_part_has_each_class_in_its_fraction(counts, fraction, seed):
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    x = torch.arange(len(y)).double() / len(y)
    data = Data.of(x.view(-1, 1, 1, 1), y)
    size = min(max(1, round(fraction * len(y))), len(y) - 1)
    train, held = hold_out(data, size, seed)
    pixels = [part.x(torch.arange(len(part))).flatten() for part in (train, held)]
    assert torch.equal(torch.cat(pixels).sort().values, x)
    assert len(held) == size
    for part, pixel in zip((train, held), pixels, strict=True):
        assert torch.equal(part.y, y[(pixel * len(y)).round().long()])  # labels stay with images
    for label, count in enumerate(counts):
        assert abs(int((held.y == label).sum()) - count * size / len(y)) < 1


def test_the_held_out_part_is_drawn_from_the_seed():
    data = Data.of(torch.arange(100).view(-1, 1, 1, 1) / 100, torch.arange(100) % 4)

    def held(seed):
        return hold_out(data, 20, seed)[1].x(torch.arange(20)).flatten().tolist()

    assert held(0) == held(0) != held(1)
    for size in (0, 100):
        with pytest.raises(InputError, match="held out"):
            hold_out(data, size, 0)
