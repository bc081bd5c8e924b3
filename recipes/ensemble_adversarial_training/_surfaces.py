"""Loss surfaces of figures 1, 4 and 5."""

from holdfast.reproduce import Pictures, Scale, Value, diagnose

from . import _imagenet as imagenet
from . import _networks as eat

NOTES = ["The second direction is the signed gradient of a network trained independently (4)."]


def pictures(name: str, scale: Scale, *, first: int) -> list[Pictures]:
    """The surfaces around the first images."""
    model: Value | None
    other: Value | None
    if name == "A_adv":  # at the cpu scale A is costly, and C masks as it does
        of = scale("network", quick="C", cpu="C", paper="A")
        model, other = eat.adversarial(of, scale), eat.attacker("B", scale)
        data, size = eat.data(scale), eat.eps(scale)
    else:
        model, other = imagenet.network(name, scale), imagenet.apart("v4", scale)
        data, size = imagenet.images(name, scale), imagenet.eps(scale)
    assert model is not None
    assert other is not None
    step = diagnose(
        "surface",
        name,
        model=model,
        other=other,
        eps=size,
        data=data,
        images=first,
        points=scale("points a side", quick=11, cpu=41, paper=41),
    )
    return [
        Pictures(f"{name}, image {place}", step, [f"surface-{place}-0", f"landscape-{place}"])
        for place in range(first)
    ]
