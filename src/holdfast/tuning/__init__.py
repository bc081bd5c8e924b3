"""Tune: choose a defence's numbers on held-out training images, never on the test set.

The numbers of MALADE's chain are what decides whether it helps, and the test set must not choose
them (MALADE B.2.2). A search into a run folder: first every chain of a grid meets the attack on
itself, by BPDA and by the gradient through the chain, one draw a step and few images; then the best
few meet every variant that the whole defence calls for, on more. What images crafted on the bare
classifier leave is measured too, and decides nothing but ties: long and noisy chains lose there and
win under attack. Each trial is an evaluation with a folder of its own, so a killed search goes on
where it stopped.
"""

from holdfast.tuning.search import Chain, Search, Tuned, tune_malade
from holdfast.tuning.trained_on import noise_of_training, unseen

__all__ = ["Chain", "Search", "Tuned", "noise_of_training", "tune_malade", "unseen"]
