"""Defences at inference: layers in front of a network, which declare what an attacker must know."""

from holdfast.defenses.binarise import Binarise as Binarise
from holdfast.defenses.first_layer import FirstLayerNoise as FirstLayerNoise
from holdfast.defenses.lipschitz import lipschitz_bound as lipschitz_bound
from holdfast.defenses.malade import MALADE as MALADE
from holdfast.defenses.malade import ChainTrace as ChainTrace
from holdfast.defenses.malade import trace_chain as trace_chain
from holdfast.defenses.noise import GaussianNoise as GaussianNoise
from holdfast.defenses.noise import LaplaceNoise as LaplaceNoise
from holdfast.defenses.smoothed import NOISES as NOISES
from holdfast.defenses.smoothed import Noise as Noise
from holdfast.defenses.straight_through import StraightThrough as StraightThrough
