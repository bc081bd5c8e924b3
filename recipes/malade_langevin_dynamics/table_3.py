"""Table 3: CIFAR-10, four classifiers under PGD and two black box attacks.

The network is Madry's wide one, plain and adversarially trained; the paper's plain one is a ResNet
of TensorFlow's library.
"""

from holdfast.reproduce import Result, Scale

from . import _photographs as photographs

MINUTES = {"quick": 0.3, "cpu": 35, "paper": 4000}  # paper: estimated

PAPER = {
    "ℓ∞ 8: PGD": (0.00, 32.86, 0.48, 33.89),
    "ℓ∞ 16: PGD": (0.00, 10.28, 0.16, 11.46),
    "salt and pepper": (13.54, 11.09, 15.19, 11.12),
    "Boundary": (12.76, 34.97, 17.72, 73.57),
    "worst case": (12.76, 11.09, 15.19, 11.12),
}


def recipe(scale: Scale) -> Result:
    steps = scale("steps of Madry's training attack", quick=3, cpu=3, paper=7)
    # Madry et al. train at 8 of 255 by 7 steps of 2.
    size = scale("a step of Madry's training attack", quick="4/255", cpu="4/255", paper="2/255")
    table, claims = photographs.results(
        photographs.Photographs(
            data=scale("data", quick="digits", cpu="cifar10-jpeg", paper="cifar10"),
            architecture=scale("network", quick="small", cpu="small", paper="madry-cifar10"),
            baseline="Madry",
            objective=f"pgd(eps=8/255, steps={steps}, step_size={size})",
            sizes=(("8", 8 / 255), ("16", 16 / 255)),
            elsewhere=False,  # a subset is of the same images
        ),
        PAPER,
        scale,
    )
    return Result([table], claims, [photographs.DENOISER])
