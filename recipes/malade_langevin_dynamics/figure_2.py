"""Figure 2: a six attacked on the bare CNN, and what 1, 10 and 25 steps make of it.

MALADE's chain above MALA's; both draw the same noise. Beside each picture are the probabilities of
the true class and of the likeliest other one. It is an example: figure 5 counts.
"""

from holdfast.reproduce import Pictures, Result, Scale, diagnose

from . import _networks as malade

MINUTES = {"quick": 0.1, "cpu": 3, "paper": 3}  # without the networks; cpu and paper: estimated


def recipe(scale: Scale) -> Result:
    chains = [malade.traced(scale), malade.traced(scale, malade.DAE)]
    step = diagnose(
        "purification",
        "a six",
        data=malade.mnist(scale),
        model=[one.step for one in chains],
        source=malade.cnn(scale).step,
        image=scale("test image, a six", quick=6, cpu=11, paper=11),
        attack=malade.pgd(scale),
        eps=malade.linf(scale, 0.3),  # ours: the paper does not say
        at=(1, 10, 25),
        seed=0,
    )
    return Result([Pictures("MALADE, then MALA", step, ["traces"])])
