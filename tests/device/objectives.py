"""Every training objective: the same loss, the same terms and the same gradient."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from tests.device.pair import Pair, agree
from tests.device.parts import Part
from tests.device.subjects import ROUNDING, Stream, cases, denoiser, toy

Make = Callable[[nn.Module], Callable[..., tuple[Tensor, dict[str, Tensor]]]]


def parts(pair: Pair) -> Iterator[Part]:
    classifier, _, _ = toy()
    for name, objective in cases.OBJECTIVES.items():
        quick = name in ("Standard", "Stability", "TRADES")
        yield _part(pair, name, classifier, lambda _, o=objective: o, quick)
    for name, make in cases.WITH_NETWORK.items():
        yield _part(pair, name, classifier, make)
    for name, make in cases.DENOISERS.items():
        yield _part(pair, name, denoiser(), make)


def _part(pair: Pair, name: str, network: nn.Module, make: Make, quick: bool = False) -> Part:
    return Part(f"objectives/{name}", lambda: _beside(pair, network, make), quick)


def _beside(pair: Pair, network: nn.Module, make: Make) -> str:
    helper, x, y = toy()

    def run(model: nn.Module, where: torch.device) -> tuple[Tensor, Tensor]:
        model.train()
        objective = make(helper.to(where))
        rng = Stream.of(5, torch.arange(len(x), device=where)).fold("train", 0)
        loss, logs = objective(model, x.to(where), y.to(where), rng)
        loss.backward()
        slopes = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        terms = [torch.as_tensor(term).detach().double().cpu().flatten() for term in logs.values()]
        return torch.cat([loss.detach().cpu().flatten(), *terms]), torch.cat(slopes).cpu()

    (loss, slope), (loss_there, slope_there) = pair.both(run, network)
    scale = max(1.0, float(slope.abs().max()))
    return ", ".join(
        [
            agree(loss, loss_there, ROUNDING, "loss and terms"),
            agree(slope, slope_there, ROUNDING * scale, "gradient"),
        ]
    )
