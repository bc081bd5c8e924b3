"""Numbers drawn for batches to come are those that each batch draws, in fewer steps, and few."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast.ahead import batches_of_copies
from holdfast.defenses import GaussianNoise
from holdfast.random import Stream, drawing_from, layer_stream, stream
from holdfast.votes import take_votes

RNG = Stream.of(0, torch.tensor([5, 17, 2]))
SHAPE = (2, 3)


@pytest.fixture(params=[2, 13, 1 << 17])
def _blocks(request, monkeypatch):
    """A step of the generator holds less than a batch's numbers, a few batches', all of them."""
    monkeypatch.setattr(stream, "_BLOCKS_AT_ONCE", request.param)


def plain(first, last, at_once):
    for start in range(first, last, at_once):
        yield start, RNG.copies(start, min(start + at_once, last))


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(("first", "last", "at_once"), [(0, 1, 4), (0, 40, 1), (3, 40, 2)])
def test_each_batch_draws_what_it_draws_alone(first, last, at_once):
    """Also where layers draw twice under one name, write into it, fold on, or draw now and then."""

    def drawn(stream, start):
        with drawing_from(stream):
            first, second = layer_stream(len(stream)), layer_stream(len(stream))
        yield first.normal(SHAPE)
        yield first.normal(SHAPE).mul_(2)
        yield first.normal(SHAPE)
        yield first.fold("step", 1).normal(SHAPE, torch.float64)
        yield first.uniform(SHAPE)
        yield second.uniform(SHAPE, torch.float16)
        yield second.bits(SHAPE)
        if start % 3 == 0:
            yield second.normal((7,))
        yield stream.take(torch.tensor([1, 0])).normal(SHAPE)
        yield stream.copies(2, 4).fold("again").normal(SHAPE)
        yield stream.apart().fold("apart").copies(1, 3).normal(SHAPE)

    batches = batches_of_copies(RNG, first, last, at_once)
    for (start, found), (at, alone) in zip(batches, plain(first, last, at_once), strict=True):
        assert start == at
        assert torch.equal(found.index, alone.index)
        assert torch.equal(found.copy, alone.copy)
        for one, other in zip(drawn(found, start), drawn(alone, start), strict=True):
            assert torch.equal(one, other)


@given(
    st.integers(1, 5), st.integers(0, 9), st.integers(1, 20), st.integers(1, 7), st.integers(1, 40)
)
def test_of_any_sizes(examples, first, number, at_once, blocks):
    rng = Stream.of(1, torch.arange(examples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_BLOCKS_AT_ONCE", blocks)
        batches = batches_of_copies(rng, first, first + number, at_once)
        found = torch.cat([batch.normal((5,)) for _, batch in batches])
    assert torch.equal(found, rng.copies(first, first + number).normal((5,)))


def test_votes_take_no_more_steps_in_smaller_batches(monkeypatch):
    steps = []

    def counted(*given):
        steps.append(given)
        return philox(*given)

    philox = stream.philox
    monkeypatch.setattr(stream, "philox", counted)
    model = nn.Sequential(GaussianNoise(0.5), nn.Flatten(), nn.Linear(6, 4)).eval()
    for batch_size in (3, 30, 300):
        steps.clear()
        take_votes(model, torch.rand(3, 1, *SHAPE), RNG, n=100, batch_size=batch_size)
        assert len(steps) == 1


def test_what_is_kept_does_not_grow_with_batches_or_layers(monkeypatch):
    """As of a chain, which draws at every one of its steps."""
    monkeypatch.setattr(stream, "_BLOCKS_AT_ONCE", 100)
    for _, batch in batches_of_copies(RNG, 0, 60, 2):
        for step in range(20):
            batch.fold(step).normal(SHAPE)
        kept = [held.drawn.nbytes for held in batch.ahead._held.values()]
        assert sum(kept) <= 100 * 16
    assert not kept
