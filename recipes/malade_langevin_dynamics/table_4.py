"""Table 4: TinyImageNet, four classifiers under PGD and two black box attacks.

The baseline is adversarial logit pairing. At the paper's scale the images are looked for in the
folder tiny-imagenet-200 of --data-dir, as its archive unpacks; at smaller ones they are others.
"""

from holdfast.reproduce import Result, Scale

from . import _photographs as photographs

MINUTES = {"quick": 0.3, "cpu": 120, "paper": 8000}  # cpu and paper: estimated

PAPER = {
    "ℓ∞ 1: PGD": (9.49, 27.05, 10.07, 31.80),
    "ℓ∞ 4: PGD": (0.20, 12.78, 0.26, 13.23),
    "salt and pepper": (2.45, 9.91, 6.23, 9.94),
    "Boundary": (9.12, 7.38, 63.54, 44.35),
    "worst case": (2.45, 7.38, 6.23, 9.94),
}


def recipe(scale: Scale) -> Result:
    steps = scale("steps of ALP's training attack", quick=3, cpu=3, paper=10)
    data = scale("data", quick="digits", cpu="cifar10-jpeg", paper="tiny-imagenet")
    table, claims = photographs.results(
        photographs.Photographs(
            data=data,
            # Ours: the text refers to its authors' network and says nothing of it.
            architecture=scale("network", quick="small", cpu="small", paper="torchvision/resnet50"),
            baseline="ALP",
            objective=f"alp(eps=8/255, steps={steps})",  # ours: the text does not say
            sizes=(("1", 1 / 255), ("4", 4 / 255)),
            elsewhere=data != "tiny-imagenet",
        ),
        PAPER,
        scale,
    )
    return Result([table], claims, [photographs.DENOISER])
