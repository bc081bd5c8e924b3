"""Figure 2, right: accuracy over the ℓ2 size under S-O, natural training, Madry's and STN.

Settings 3, 4 and 5 of table 1. STN answers by votes under its noise; S-O on it averages over that
noise, with and without noise of its own.
"""

from holdfast.reproduce import Claim, Curves, Line, Result, Scale, accuracy, more

from . import _networks as so

MINUTES = {"quick": 0.05, "cpu": 48, "paper": 600}  # cpu and paper: from _networks


def recipe(scale: Scale) -> Result:
    natural = [so.on_natural(scale, seed) for seed in so.seeds(scale)]
    madry = [so.on_madry(scale, seed) for seed in so.seeds(scale)]
    stn = [so.on_stn(scale, seed) for seed in so.seeds(scale)]
    lines = {
        "3: natural, S-O": (natural, so.S_O),
        "4: Madry, S-O": (madry, so.S_O),
        "5: STN, S-O with the defence's noise": (stn, so.PGD),
        "5: STN, S-O with noise of its own besides": (stn, so.S_O),
    }
    figure = Curves(
        "Accuracy under S-O",
        x="ℓ2 size of the attack",
        y="accuracy",
        lines=[
            Line(name, [(size, accuracy(steps, attack, size)) for size in so.sizes(scale)])
            for name, (steps, attack) in lines.items()
        ],
    )
    return Result([figure], [_better(scale, size) for size in so.sizes(scale)[1:3]])


def _better(scale: Scale, size: float) -> Claim:
    stn, natural, madry = (
        [make(scale, seed) for seed in so.seeds(scale)]
        for make in (so.on_stn, so.on_natural, so.on_madry)
    )
    return Claim(
        f"STN achieves better accuracy than the baseline and Madry's model, at {size:g}.",
        "section 6.2",
        [
            more(
                accuracy(stn, through, size),
                accuracy(other, so.S_O, size),
                f"more than {name}, {words}",
            )
            for other, name in ((natural, "natural training"), (madry, "Madry's"))
            for through, words in (
                (so.PGD, "the attack with the defence's noise"),
                (so.S_O, "the attack with noise of its own besides"),
            )
        ],
        why="The paper's S-O leaves much less of its Madry network at these sizes than ours of "
        "ours, so that STN overtakes it there. What S-O leaves of such networks differs from "
        "one to the next (figure 2, middle).",
    )
