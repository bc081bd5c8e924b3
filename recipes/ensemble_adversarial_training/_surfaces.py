"""Loss surfaces of figures 1, 4 and 5."""

from holdfast.reproduce import Pictures, Scale, Value, diagnose

from . import _imagenet as imagenet
from . import _networks as eat

#: How much nearer the zoomed plots are; ours, since the text does not say.
ZOOM = 8

NOTES = [
    "The second direction is the signed gradient of a network trained independently (4).",
    f"Every image is seen twice, as in the paper: to ε, and near it, to ε / {ZOOM}, which is ours.",
]


def pictures(name: str, scale: Scale, *, first: int) -> list[Pictures]:
    """The surfaces around the first images."""
    model: Value | None
    other: Value | None
    if name == "A_adv":
        of = scale("network", quick="C", cpu="A", paper="A")
        model, other = eat.adversarial(of, scale), eat.attacker("B", scale)
        data, size = eat.data(scale), eat.eps(scale)
    else:
        model, other = imagenet.network(name, scale), imagenet.apart("v4", scale)
        data, size = imagenet.images(name, scale), imagenet.eps(scale)
    assert model is not None
    assert other is not None
    points = scale("points a side", quick=11, cpu=41, paper=41)
    views = {
        how: diagnose(
            "surface",
            f"{name}{how}",
            model=model,
            other=other,
            eps=reach,
            data=data,
            images=first,
            points=points,
        )
        for how, reach in (("", size), (", near", size / ZOOM))
    }
    return [
        Pictures(
            f"{name}, image {place}{how}",
            step,
            [f"surface-{place}-0", f"landscape-{place}"],
            name="near-" if how else "",
        )
        for place in range(first)
        for how, step in views.items()
    ]
