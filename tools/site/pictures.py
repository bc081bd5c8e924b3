"""The picture of each method, by what draws its kind."""

from tools.site import certificates, defences, diagnoses, objectives, pixels, toy
from tools.site.methods import ROUND_FIRST, Method, first_norm


def draw(method: Method) -> bytes | None:
    """SVG in dark ink on no ground; None of a method that nothing here can draw."""
    match method.kind:
        case "attacks":
            return pixels.draw(method.name) or toy.draw(
                method.name, first_norm(method.name, ROUND_FIRST)
            )
        case "objectives":
            return objectives.draw(method.name)
        case "defences":
            return defences.draw(method.name)
        case "bounds":
            return certificates.draw_bound(method.name)
        case "intervals":
            return certificates.draw_interval(method.name)
        case _:
            return diagnoses.draw(method.name)
