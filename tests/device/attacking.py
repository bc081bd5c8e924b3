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

#: Some attacks enlarge rounding from step to step until it decides where they go. On the CPU, with
#: every weight moved by one rounding error, ALMA's images are 1e-14 apart after 50 steps, 1e-9
#: after 100 and anywhere after 200; Nearest's part like that where weights are moved by 1e-12. So
#: images are compared over the steps before, and over all of them how many are fooled.
FIRST = {
    "ALMA": lambda threat: attacks.ALMA(threat, steps=50),
    "Nearest": lambda threat: attacks.Nearest(threat, steps=200),
}


def parts(pair: Pair) -> Iterator[Part]:
    for case, norm in cases.EACH_NORM:
        quick = case.name in ("FGSM", "PGD", "DeepFool", "Square")
        name = f"attacks/{case.name} {norm}"
        yield Part(name, lambda c=case, n=norm: _beside(pair, c, n), quick=quick)
    yield Part("attacks/On, from a source on the CPU", lambda: _transfer(pair), quick=True)


def _beside(pair: Pair, case: cases.AttackCase, norm: str) -> str:
    threat = cases.THREATS[norm](EPS[norm] if case.within is None else math.inf)
    if case.name not in FIRST:
        return _compared(pair, case.make(threat))
    start = _compared(pair, FIRST[case.name](threat))
    return f"{start}; of all its steps: {_compared(pair, case.make(threat), images=False)}"


def _compared(pair: Pair, attack: attacks.Attack, images: bool = True) -> str:
    """Whom the attack fools on each device, and how far its images lie apart."""
    network, x, y = toy()

    def run(model: nn.Module, where: torch.device) -> Tensor:
        return attack(model, x.to(where), y.to(where), seed=3).cpu()

    here, there = pair.both(run, network)
    expect(bool((here != x).any()), f"{attack!r} moved nothing")
    fooled = [int((network(found).argmax(dim=1) != y).sum()) for found in (here, there)]
    saw = f"fooled {fooled[0]} and {fooled[1]} of {len(x)}"
    apart = (here - there).flatten(1).abs().amax(dim=1)
    parted = int((apart > ROUNDING).sum()) if images else MAY_PART
    if images:
        worst = float(apart.sort().values[-1 - parted]) if parted < len(x) else math.nan
        saw = f"difference {worst:.1e}, {saw}"
        if parted:
            saw += f", {parted} parted by up to {float(apart.max()):.1e}"
    expect(parted <= MAY_PART and abs(fooled[0] - fooled[1]) <= parted, saw)
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
