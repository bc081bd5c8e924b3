"""Table 1: Step-LL examples transferred between networks of ImageNet.

Rows are targets, columns the networks that the examples are crafted on; the diagonal is white-box.
"""

from holdfast.reproduce import Claim, Mean, Result, Scale, Table, less, more

from . import _imagenet as imagenet

MINUTES = {"quick": 0.3, "cpu": 25, "paper": 30}

TOP_1 = {
    "v4": (60.2, 39.2, 31.1, 36.6, 30.9),
    "v3": (43.8, 69.6, 36.4, 42.1, 35.1),
    "v3_adv": (36.3, 35.6, 26.6, 35.2, 35.9),
    "IRv2": (38.0, 38.0, 30.8, 50.7, 31.9),
    "IRv2_adv": (31.0, 30.3, 25.7, 30.6, 24.4),
}
TOP_5 = {
    "v4": (31.0, 14.9, 10.2, 13.6, 9.9),
    "v3": (18.7, 42.7, 13.0, 17.8, 12.8),
    "v3_adv": (13.6, 13.5, 9.0, 13.0, 14.5),
    "IRv2": (14.1, 14.8, 9.9, 24.0, 10.6),
    "IRv2_adv": (10.3, 10.5, 7.7, 10.4, 5.8),
}


def recipe(scale: Scale) -> Result:
    tables = imagenet.transfer("step-ll", {1: TOP_1, 5: TOP_5}, scale)
    first = tables[0]
    claims = [
        Claim(
            "Adversarial training greatly increases robustness to white-box single-step attacks, "
            "but incurs a higher error rate in a black-box setting.",
            "4.1",
            [
                less(_of(first, "v3_adv", "v3_adv"), _of(first, "v3", "v3"), "white box: lower"),
                more(
                    _of(first, "v3_adv", "v4"),
                    _of(first, "v3_adv", "v3_adv"),
                    "examples from v4 beat the white box on v3_adv",
                ),
            ],
        ),
        Claim(
            "Attacks crafted on adversarial models are weaker even against undefended ones.",
            "4.1",
            [
                less(
                    _of(first, "v4", "v3_adv"),
                    _of(first, "v4", "v3"),
                    "on v4, examples from v3_adv are weaker than from v3",
                )
            ],
        ),
    ]
    return Result(tables, imagenet.told(claims, scale), imagenet.stand_in(scale))


def _of(table: Table, target: str, source: str) -> Mean:
    measure = table.rows[target][source].measure
    assert isinstance(measure, Mean)
    return measure
