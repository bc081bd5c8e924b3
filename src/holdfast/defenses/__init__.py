"""Defences at inference: layers in front of a network, which declare what an attacker must know."""

from holdfast.defenses.binarise import Binarise
from holdfast.defenses.first_layer import FirstLayerNoise
from holdfast.defenses.lipschitz import lipschitz_bound
from holdfast.defenses.malade import MALADE, ChainTrace, trace_chain
from holdfast.defenses.noise import GaussianNoise, LaplaceNoise
from holdfast.defenses.smoothed import NOISES, Noise
from holdfast.defenses.straight_through import StraightThrough

__all__ = [
    "MALADE",
    "NOISES",
    "Binarise",
    "ChainTrace",
    "FirstLayerNoise",
    "GaussianNoise",
    "LaplaceNoise",
    "Noise",
    "StraightThrough",
    "lipschitz_bound",
    "trace_chain",
]
