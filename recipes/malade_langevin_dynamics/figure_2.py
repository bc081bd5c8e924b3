"""Figure 2: a six attacked on the bare CNN, and what 1, 10 and 25 steps make of it.

MALADE's chain, then MALA's; both meet the same attacked image and draw the same noise. Above each
picture are the probabilities of the true class and of the likeliest other one. It is an example:
figure 5 counts.
"""

from holdfast.reproduce import Pictures, Result, Scale, diagnose

from . import _networks as malade

MINUTES = {"quick": 0.1, "cpu": 3, "paper": 3}  # without the networks; cpu and paper: estimated


def recipe(scale: Scale) -> Result:
    return Result([_strip(kind, scale) for kind in (malade.SDAE, malade.DAE)])


def _strip(kind: str, scale: Scale) -> Pictures:
    chain = malade.fixed(scale, kind)
    step = diagnose(
        "purification",
        chain.name,
        data=malade.mnist(scale),
        model=chain.step,
        source=malade.cnn(scale).step,
        image=scale("test image, a six", quick=6, cpu=11, paper=11),
        attack=malade.pgd(scale),
        eps=malade.linf(scale, 0.3),  # ours: the paper does not say
        at=scale("steps shown", quick=(1, 5, 10), cpu=(1, 10, 25), paper=(1, 10, 25)),
        seed=0,
    )
    return Pictures(chain.name, step, ["traces"], name=f"{chain.name.lower()}-")
