"""Keyed random streams: every draw is a function of (seed, purpose, example, copy), nothing else.

A `Stream` holds no state. Whatever the batch size, the order, the number of devices, or the point
at which a killed run resumes, example 17 gets the same draws for the same purpose. The generator is
Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), written in
torch integer operations, so that CPU and GPU give the same bits; it is checked against the
authors' published vectors in the tests. `benchmarks/randomness.py` compares it with one
`torch.Generator` per example.
"""

from holdfast.random.bits import philox
from holdfast.random.generators import (
    kept_global_generators,
    own_global_generator,
    seed_every_generator,
    seed_global_generators,
)
from holdfast.random.layers import (
    active_stream,
    drawing_from,
    layer_noise,
    layer_stream,
    layer_uniform,
)
from holdfast.random.stream import Stream, Transform, blocks_at_once, hash_seed

__all__ = [
    "Stream",
    "Transform",
    "active_stream",
    "blocks_at_once",
    "drawing_from",
    "hash_seed",
    "kept_global_generators",
    "layer_noise",
    "layer_stream",
    "layer_uniform",
    "own_global_generator",
    "philox",
    "seed_every_generator",
    "seed_global_generators",
]
