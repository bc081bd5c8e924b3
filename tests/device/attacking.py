"""Every attack in every norm that it serves: the same adversarial images."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, expect
from tests.device.parts import Part, SkippedError
from tests.device.subjects import EPS, ROUNDING, Linf, attacks, cases, toy

#: Images are few, and one may meet a near tie that another order of summation decides otherwise.
MAY_PART = 1

#: The boundary attack adapts its steps in float32, and walks hundreds of them.
WALKED = 1e-5


def parts(pair: Pair) -> Iterator[Part]:
    for case, norm in cases.EACH_NORM:
        quick = case.name in ("FGSM", "PGD", "DeepFool", "Square")
        name = f"attacks/{case.name} {norm}"
        yield Part(name, lambda c=case, n=norm: _beside(pair, c, n), quick=quick)
    yield Part("attacks/On, from a source on the CPU", lambda: _transfer(pair), quick=True)


def _beside(pair: Pair, case: cases.AttackCase, norm: str) -> str:
    network, x, y = toy()
    eps = EPS[norm] if case.within is None else math.inf
    attack = case.make(cases.THREATS[norm](eps))

    def run(model: nn.Module, where: torch.device) -> Tensor:
        return attack(model, x.to(where), y.to(where), seed=3).cpu()

    here, there = pair.both(run, network)
    apart = (here - there).flatten(1).abs().amax(dim=1)
    parted = int((apart > (WALKED if case.name == "Boundary" else ROUNDING)).sum())
    fooled = [int((network(found).argmax(dim=1) != y).sum()) for found in (here, there)]
    worst = float(apart.sort().values[-1 - parted]) if parted < len(x) else math.nan
    saw = f"difference {worst:.1e}, fooled {fooled[0]} and {fooled[1]} of {len(x)}"
    if parted:
        saw += f", {parted} parted by up to {float(apart.max()):.1e}"
    expect(parted <= MAY_PART and abs(fooled[0] - fooled[1]) <= parted, saw)
    expect(bool((here != x).any()), f"{attack!r} moved nothing")
    return saw


def _transfer(pair: Pair) -> str:
    """The images go to where the source is, and come back."""
    if pair.alone:
        raise SkippedError("needs a second device")
    network, x, y = toy()
    attack = attacks.On(network, attacks.PGD(Linf(0.1), steps=5), name="source")
    found = attack(pair.there(network), x.to(pair.device), y.to(pair.device), seed=3)
    expect(found.device.type == pair.device.type, f"the images came back on {found.device}")
    own = attack(network, x, y, seed=3)
    apart = float((found.cpu() - own).abs().max())
    expect(apart <= ROUNDING, f"difference {apart:.3g}")
    return f"difference {apart:.1e}"
