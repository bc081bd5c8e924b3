from .binarise import Binarise as Binarise
from .first_layer import FirstLayerNoise as FirstLayerNoise
from .lipschitz import lipschitz_bound as lipschitz_bound
from .malade import ChainTrace as ChainTrace
from .malade import MALADE as MALADE
from .malade import trace_chain as trace_chain
from .names import LAYERS as LAYERS
from .noise import GaussianNoise as GaussianNoise
from .noise import LaplaceNoise as LaplaceNoise
from .smoothed import NOISES as NOISES
from .smoothed import Noise as Noise
from .sound_noise import SoundGaussianNoise as SoundGaussianNoise
from .straight_through import StraightThrough as StraightThrough

__all__ = [
    "Binarise",
    "ChainTrace",
    "FirstLayerNoise",
    "GaussianNoise",
    "LAYERS",
    "LaplaceNoise",
    "MALADE",
    "NOISES",
    "Noise",
    "SoundGaussianNoise",
    "StraightThrough",
    "lipschitz_bound",
    "trace_chain",
]
