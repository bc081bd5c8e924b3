"""16 bits: attacks on models and images in half precision, and on models under autocast."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, expect
from tests.device.parts import Part
from tests.device.subjects import EPS, cases, certify, images, small_network

#: More pixels than a toy has elsewhere, so that 16 bits have something to round.
SHAPE = (1, 12, 12)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Autocast(nn.Module):
    """A float32 network whose forward pass runs in 16 bits."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network, self.dtype = network, dtype
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, self.dtype):
            return self.network(x).float()


def parts(pair: Pair) -> Iterator[Part]:
    for name, dtype in DTYPES.items():
        for case in cases.ATTACKS:
            quick = case.name in ("FGSM", "PGD")
            title = f"{name}/{case.name} {case.norms[0]}"
            yield Part(title, lambda c=case, d=dtype: _attacked(pair, c, d), quick=quick)
        yield Part(f"{name}/certificate", lambda d=dtype: _certified(pair, d), quick=True)


def _models(pair: Pair, dtype: torch.dtype) -> tuple[nn.Module, nn.Module, nn.Module]:
    network = small_network(SHAPE).to(pair.device)
    other = small_network(SHAPE).to(pair.device)
    return network, other.to(dtype), Autocast(network, dtype)


def _attacked(pair: Pair, case: cases.AttackCase, dtype: torch.dtype) -> str:
    """The attack proves its images itself, in their own type; it fools no less than half as many.

    One that looks for the smallest perturbation ends a hair beyond the boundary, where 16 bits
    answer by the size of the batch: it has fooled where it moved the image at all.
    """
    network, half, autocast = _models(pair, dtype)
    attack = case.make(cases.THREATS[case.norms[0]](0.3 * EPS[case.norms[0]]))
    x = images(8, SHAPE, margin=0.05).to(pair.device, dtype)  # the same in each type
    y = network(x.float()).argmax(dim=1)

    def fooled(model: nn.Module, clean: Tensor) -> int:
        found = attack(model, clean, y, seed=3)
        expect(found.dtype == clean.dtype, f"images of {clean.dtype} became {found.dtype}")
        if case.within is not None:
            return int((found != clean).flatten(1).any(dim=1).sum())
        return int((model(found).argmax(dim=1) != y).sum())

    counts = [fooled(network, x.float()), fooled(half, x), fooled(autocast, x.float())]
    y, network = y.cpu(), network.cpu()
    counts.append(fooled(network, x.float().cpu()))
    saw = "fooled of {}: float32 {}, half {}, autocast {}, float32 on the CPU {}"
    saw = saw.format(len(x), *counts)
    expect(abs(counts[3] - counts[0]) <= 1 and 2 * min(counts) >= counts[0] - 1, saw)
    return saw


def _certified(pair: Pair, dtype: torch.dtype) -> str:
    network, half, autocast = _models(pair, dtype)
    x = images(4, SHAPE).to(pair.device, dtype)
    found = [
        certify.certify_images(model, clean, sigma=0.2, votes=300, seed=4)
        for model, clean in ((network, x.float()), (half, x), (autocast, x.float()))
    ]
    moved = [float(abs(one.counts - found[0].counts).sum() / 2 / one.counts.sum()) for one in found]
    saw = f"votes that differ from float32's: half {moved[1]:.1%}, autocast {moved[2]:.1%}"
    expect(max(moved) <= 0.05, saw)
    return saw
