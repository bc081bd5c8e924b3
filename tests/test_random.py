import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from holdfast.defenses import LaplaceNoise
from holdfast.errors import InputError
from holdfast.random import (
    Stream,
    active_stream,
    drawing_from,
    layer_noise,
    own_global_generator,
    philox,
)

# Random123's published known answers for philox4x32-10: counter, key, result.
KNOWN_ANSWERS = [
    ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    (
        [0xFFFFFFFF] * 4,
        (0xFFFFFFFF, 0xFFFFFFFF),
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
    ),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter, key, expected):
    words = philox([torch.tensor([word]) for word in counter], key)
    assert [int(word) for word in words] == expected


def stream(count, seed=0):
    return Stream.of(seed, torch.arange(count))


def test_normal_draws_are_normal():
    draws = stream(400).normal((10, 25)).flatten().double().numpy()
    assert stats.kstest(draws, "norm").pvalue > 1e-3
    assert stats.kstest(draws**2, "chi2", args=(1,)).pvalue > 1e-3
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.01


def test_the_four_lanes_of_a_block_are_independent_normals():
    draws = stream(20_000).normal((4,)).double().numpy()
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.03
    for lane in draws.T:
        assert stats.kstest(lane, "norm").pvalue > 1e-3


def test_uniform_draws_are_uniform_and_below_one():
    draws = stream(300).uniform((7, 50)).flatten()
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws.double().numpy(), "uniform").pvalue > 1e-3


def test_rough_normals_are_normals_rounded_to_256_values_and_do_not_know_each_other():
    draws = stream(20_000).rough_normal((16,))  # the numbers of one block
    assert len(draws.unique()) == 256
    # Rounding to pieces of one 256th leaves the distribution function half of that away.
    assert stats.kstest(draws.flatten().numpy(), "norm").statistic < 1 / 512 + 0.004
    assert np.abs(np.corrcoef(draws.T.numpy()) - np.eye(16)).max() < 0.03
    assert torch.equal(draws.double(), stream(20_000).rough_normal((16,), torch.float64))


def test_float64_draws_agree_with_float32_draws():
    single, double = stream(50).normal((64,)), stream(50).normal((64,), torch.float64)
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-5)


@given(
    count=st.integers(1, 40),
    start=st.integers(0, 20),
    shape=st.lists(st.integers(1, 5), max_size=3),
    kind=st.sampled_from(["normal", "rough_normal", "uniform"]),
)
def test_an_example_draws_the_same_in_any_batch(count, start, shape, kind):
    whole = getattr(stream(60), kind)(shape)
    part = getattr(Stream.of(0, torch.arange(start, start + count)), kind)(shape)
    assert torch.equal(part, whole[start : start + count])


def test_an_example_draws_the_same_beside_many_others():
    """More blocks than are computed at once."""
    whole = stream(3000).normal((784,))
    assert torch.equal(whole[2990:], Stream.of(0, torch.arange(2990, 3000)).normal((784,)))


def test_copies_are_the_same_however_they_are_split():
    whole = stream(3).copies(0, 10).normal((5,))
    parts = [stream(3).copies(start, start + 2).normal((5,)) for start in range(0, 10, 2)]
    assert torch.equal(whole, torch.cat(parts))
    assert len({tuple(row.tolist()) for row in whole}) == 30


def test_seed_purpose_and_step_change_the_draws():
    streams = [
        stream(2),
        stream(2, seed=1),
        stream(2).fold("a"),
        stream(2).fold("b"),
        stream(2).fold("a", 1),
        stream(2).fold("a", "1"),
        stream(2).fold(1),
    ]
    draws = [tuple(s.normal((3,)).flatten().tolist()) for s in streams]
    assert len(set(draws)) == len(draws)


def test_large_indices_do_not_collide():
    index = torch.tensor([1, 1 + 2**32, 1 + 2**33])
    draws = Stream.of(0, index).normal((4,))
    assert len({tuple(row.tolist()) for row in draws}) == 3


def test_a_layer_draws_from_the_stream_and_two_layers_draw_differently():
    x = torch.zeros(3, 5)
    with drawing_from(stream(3)):
        first, second = layer_noise(x), layer_noise(x)
        assert active_stream(3) is not None
        assert active_stream(4) is None
    with drawing_from(stream(3)):
        assert torch.equal(layer_noise(x), first)
    assert not torch.equal(first, second)
    assert active_stream(3) is None


def test_outside_a_stream_a_layer_draws_from_the_global_generator():
    x = torch.zeros(3, 5)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = layer_noise(x)
        torch.manual_seed(3)
        assert torch.equal(first, torch.randn(3, 5))


def test_laplace_noise_has_its_law():
    layer, x = LaplaceNoise(0.5), torch.full((40, 500), 0.7)
    with drawing_from(stream(40)):
        noise = (layer(x) - x).double().flatten().numpy()
    assert stats.kstest(noise, stats.laplace(scale=0.5 / math.sqrt(2)).cdf).pvalue > 1e-3
    assert noise.std() == pytest.approx(0.5, rel=0.03)
    assert np.isfinite(layer(torch.zeros(4, 9, dtype=torch.float16)).numpy()).all()
    with pytest.raises(InputError, match="sigma is 0"):
        LaplaceNoise(0.0)


def test_the_global_generators_are_seeded_and_put_back():
    def drawn():
        return random.random(), np.random.normal(), float(torch.rand(()))  # noqa: NPY002

    def states():
        return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    np.random.normal()  # noqa: NPY002, of which the second half of a pair is kept
    before, inside = states(), []
    for _ in range(2):
        with own_global_generator(2**63 + 5, torch.device("cpu")):
            inside.append(drawn())
        assert states() == before
        drawn()
        before = states()
    assert inside[0] == inside[1]
