"""``holdfast diagnose gradient-norm``: do attacks find a gradient to follow?"""

from collections.abc import Mapping

from matplotlib.figure import Figure
from torch import Tensor

from holdfast.attacks import Attack
from holdfast.attacks.engine.roles import Role, roles_of, stops_early
from holdfast.cli import registry
from holdfast.cli.diagnose.command import Shown, command
from holdfast.cli.options import Number, Words
from holdfast.diagnose import Diagnosis, gradient_norms
from holdfast.diagnose.by_image import Found
from holdfast.errors import InputError
from holdfast.parameters import each_once
from holdfast.report import diagnoses as figures
from holdfast.types import Images, Labels, Model


@command()
def gradient_norm(
    *,
    attacks: Words = Words(("pgd(early_stop=False)",)),
    norm: str = "linf",
    eps: Number = Number(0.1),
) -> Shown:
    r"""Follow the norm of the exact gradient over the iterations of attacks.

    It is taken at every iterate of every image, whatever gradient the attack itself follows; where
    it vanishes, an attack of the first order has nothing to go by (SO, figure 2, left).

    Example:
        holdfast diagnose gradient-norm --model runs/net --eps 0.3 \
            --attacks "pgd(early_stop=False),second-order(early_stop=False)" --out runs/norms

    Args:
        attacks: Attacks of so many steps for every image, between commas, as of evaluate: each with
            early_stop=False.
        norm: Norm of the attacker's ball: linf, l2 or l1.
        eps: Size of the ball, on the [0, 1] scale.
    """
    each_once("--attacks", attacks)
    threat = registry.threat(norm, eps)
    named = {spec: _whole(spec, registry.attack(spec, threat)) for spec in attacks}
    if not named:
        raise InputError("--attacks is empty; give at least one, or several between commas.")

    def look(
        model: Model, x: Images, y: Labels, *, seed: int, index: Tensor
    ) -> Mapping[str, Tensor]:
        return {
            spec: gradient_norms(model, x, y, attack, seed=seed, index=index)[0].T.contiguous()
            for spec, attack in named.items()
        }

    def summary(found: Found) -> dict[str, float]:
        ends = {}
        for spec in named:
            ends[f"{spec}: first"], ends[f"{spec}: last"] = found[spec][:, [0, -1]].mean(axis=0)
        return ends

    def drawn(found: Mapping[str, Found]) -> dict[str, Figure]:
        several = len(found) > 1
        lines = [
            (f"{name}, {spec}" if several else spec, of[spec].T)
            for name, of in found.items()
            for spec in named
        ]
        return {"gradient-norm": figures.gradient_norms(lines)}

    settings = {"attacks": {spec: repr(attack) for spec, attack in named.items()}}
    return Shown(Diagnosis("gradient norm", settings, look, summary), drawn)


def _whole(spec: str, attack: Attack) -> Attack:
    if Role.EARLY_STOP not in roles_of(type(attack)).values() or stops_early(attack):
        raise InputError(
            f"--attacks has {spec}, whose images may stop where they fool; a mean over all images "
            "needs an attack with early_stop=False, such as pgd(early_stop=False)."
        )
    return attack
