"""Figure 3: CIFAR-10, accuracy under S-O in ℓ2 and in ℓ∞.

Settings 3, 4 and 5 of table 1 on CIFAR-10, and PixelDP, which trains with noise alone. The paper
takes PixelDP's numbers from Lecuyer et al.; here it is the network of STN without its second term.
"""

from holdfast.reproduce import Claim, Curves, Line, Result, Scale, Step, accuracy, evaluate, more

from . import _networks as so

MINUTES = {"quick": 0.4, "cpu": 30, "paper": 1500}  # cpu and paper: from _networks

NOISY = ("STN", "PixelDP")


def recipe(scale: Scale) -> Result:
    networks = {
        "natural": so.on_cifar(scale, "natural", "standard"),
        "Madry": so.on_cifar(
            scale,
            "madry",
            "pgd(steps=7, step_size=2/255)",  # cifar10_challenge
            norm="linf",
            eps="8/255",
        ),
        "STN": so.on_cifar(scale, "stn", f"stability(sigma={so.CIFAR_TRAIN}, gamma={so.GAMMA})"),
        "PixelDP": so.on_cifar(scale, "pixeldp", f"noise(sigma={so.CIFAR_TRAIN})"),
    }
    l2 = scale("ℓ2 sizes", quick=(0.3, 0.6), cpu=(0.25, 0.5, 1.0), paper=(0.25, 0.5, 1.0))
    linf = scale(
        "ℓ∞ sizes", quick=(0.05, 0.1), cpu=(0.015, 0.031, 0.062), paper=(0.015, 0.031, 0.062)
    )
    found = {
        norm: {name: _attacked(name, net, norm, eps, scale) for name, net in networks.items()}
        for norm, eps in (("l2", l2), ("linf", linf))
    }
    figures = [
        Curves(
            f"S-O in {title}",
            x=f"{title} size of the attack",
            y="accuracy",
            lines=[
                Line(name, [(size, accuracy(step, so.S_O, size)) for size in eps])
                for name, step in found[norm].items()
            ],
            name=norm,
        )
        for norm, title, eps in (("l2", "ℓ2", l2), ("linf", "ℓ∞", linf))
    ]
    claims = [
        Claim(
            "STN obtains higher accuracy than Madry's model and PixelDP against "
            f"{title} attacks of {size:g}.",
            "section 6.2",
            [
                more(
                    accuracy(found[norm]["STN"], so.S_O, size),
                    accuracy(found[norm][other], so.S_O, size),
                    f"more than {other}",
                )
                for other in ("Madry", "PixelDP")
            ],
            why="The paper's PixelDP is Lecuyer et al.'s network and number; here it is the same "
            "network as STN's, so that what differs is the stability term alone.",
        )
        for norm, title, size in (("l2", "ℓ2", l2[1]), ("linf", "ℓ∞", linf[1]))
    ]
    lead = Claim(
        "S-O leaves less of Madry's model than PGD, as on MNIST.",
        "section 7",
        [
            more(
                accuracy(found["l2"]["Madry"], so.PGD, l2[1]),
                accuracy(found["l2"]["Madry"], so.S_O, l2[1]),
                "5 points less in ℓ2",
                by=0.05,
            )
        ],
        why="On CIFAR-10 the loss of the trained network keeps its slope, and a gradient averaged "
        "over noise tells nothing that the gradient does not.",
    )
    return Result(figures, [*claims, lead])


def _attacked(name: str, network: Step, norm: str, eps: tuple[float, ...], scale: Scale) -> Step:
    noisy = name in NOISY
    return evaluate(
        f"{name}-{norm}",
        model=network,
        **so.cifar(scale),
        images=so.test_images(scale),
        norm=norm,
        eps=eps,
        attacks=[so.PGD, so.S_O] if (name, norm) == ("Madry", "l2") else [so.S_O],
        sigma=so.CIFAR_TEST if noisy else None,
        votes=so.votes(scale) if noisy else None,
    )
