"""An assertion about a model: at least so many images stay right within a ball."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from holdfast import data as datasets
from holdfast.attacks import Attack, WorstCase
from holdfast.checks import check_images, check_labels
from holdfast.data import Data
from holdfast.errors import InputError, InputTypeError, kind_of
from holdfast.evaluation import Evaluation, EvaluationConfig, evaluate_data
from holdfast.evaluation.adapting import named
from holdfast.parameters import at_least_one, check_arguments
from holdfast.results import CLEAN
from holdfast.statistics import proportion_interval
from holdfast.summary import percent, size
from holdfast.types import Model, Threat

__all__ = ["assert_robust"]

#: Images that are named in a message.
_NAMED = 20


def assert_robust(
    model: Model,
    data: Data | tuple[Tensor, Tensor] | str,
    threat: Threat,
    *,
    at_least: float,
    attacks: Attack | Sequence[Attack] | Mapping[str, Attack] | None = None,
    images: int | None = None,
    surely: bool = False,
    config: EvaluationConfig | None = None,
) -> Evaluation:
    """Fail unless a model is right on enough images whatever the attacks do within a ball.

        def test_the_network_holds():
            assert_robust(network, (x, y), Linf(8 / 255), at_least=0.45)

    An image counts as robust if every attack left it right. By default that is the standard suite,
    which takes some 4,000 passes for an image that stands; a single attack is faster and finds
    less. The model is asked as `holdfast.evaluate` asks it, and all that it warns of is warned of.

    Args:
        model: maps (N, C, H, W) in [0, 1] to logits (N, K).
        data: images and labels (x, y), a data set, or one's name such as "mnist".
        threat: what the attacker may do, with a finite ε.
        at_least: the robust accuracy that is asked for, a fraction.
        attacks: within that threat; the suite by default.
        images: the first so many of the data, at least 1; all by default.
        surely: ask for it of the lower limit of the 95 % interval, as evidence about images that
            were not tried, instead of these images alone.
        config: seed, batch size, and how to treat a stochastic model.

    Returns:
        The evaluation, to look at.

    Raises:
        AssertionError: with the robust accuracy, its interval and which images fell, if it is
            below; what an attack could not do counts as robust, and is said.
        InputError, InputTypeError: if an argument is wrong.

    Example:
        >>> from holdfast import Linf
        >>> from holdfast.attacks import PGD
        >>> from holdfast.testing import assert_robust
        >>> found = assert_robust(model, (x, y), Linf(0.0), at_least=1, attacks=PGD(Linf(0.0)))
        >>> assert_robust(model, (x, y), Linf(0.3), at_least=0.5, attacks=PGD(Linf(0.3)))
        Traceback (most recent call last):
        AssertionError: robust accuracy 0.0 % of 4 images ... is below the 50.0 % asked for...
    """
    arguments = dict(locals())
    del arguments["data"]  # of which more is said below
    check_arguments(assert_robust, arguments)
    data = _given(data)
    at_least_one(images=images)
    if math.isinf(threat.eps):
        raise InputError(
            f"threat is {threat!r}, but robust accuracy is asked for within a finite ε; give a "
            "size, such as 8 / 255."
        )
    if not 0 <= at_least <= 1:
        raise InputError(
            f"at_least is {at_least}, but is a fraction between 0 and 1, such as 0.45."
        )
    if isinstance(data, str):
        data = datasets.load(data, limit=images)
    elif not isinstance(data, Data):
        x, y = data
        check_images(x)
        check_labels(y, len(x))
        data = Data.of(x, y)
    if images is not None and images < len(data):
        data = data.take(torch.arange(images))
    if attacks is None:
        attacks = {"worst-case": WorstCase(threat)}
    asked = named([attacks] if isinstance(attacks, Attack) else attacks)
    other = [name for name, attack in asked if attack.threat != threat]
    if other:
        raise InputError(
            f"{other[0]} is not within {threat!r}, the threat that is asked about; give attacks "
            "within it."
        )
    found = evaluate_data(model, data, asked, config or EvaluationConfig())
    _check(found, threat, at_least, surely)
    return found


def _given(data: object) -> Any:
    """What stands for images and labels; a list of the two is as good as a tuple.

    Raises:
        InputTypeError: if nothing can be made of it.
    """
    if isinstance(data, list):
        data = tuple(data)
    if isinstance(data, str | Data) or (isinstance(data, tuple) and len(data) == 2):
        return data
    raise InputTypeError(
        f"data is {kind_of(data)}, but must be images and labels in a tuple, a "
        'holdfast.data.Data or the name of a data set; give (x, y), or "mnist".'
    )


def _check(found: Evaluation, threat: Threat, at_least: float, surely: bool) -> None:
    """Raise `AssertionError` if too few images are robust against all attacks together."""
    rows = found.rows[found.rows["attack"] != CLEAN]
    fell = rows[rows["fooled"]].drop_duplicates("index").sort_values("index")
    n = rows["index"].nunique()
    robust = n - len(fell)
    low, high = (float(limit) for limit in proportion_interval(robust, n))
    if (low if surely else robust / n) + 1e-9 >= at_least:  # 1 - 1/3 is no 2/3
        return
    what = f"robust accuracy {percent(robust / n)} of {n} images (95 % interval {percent(low)} to "
    what += f"{percent(high)}) within {threat.name} {size(threat.eps)}"
    if surely:
        what = f"{percent(low)}, the lower limit of {what},"
    raise AssertionError(
        f"{what} is below the {percent(at_least)} asked for: {_fallen(fell)}"
        + "".join(f"\n{note}" for note in found.warnings)
    )


def _fallen(fell: pd.DataFrame) -> str:
    """Which images, and to what."""
    if not len(fell):
        return "no image fell, and more of them would say so with more certainty."
    by = fell["by"].replace(CLEAN, "no attack at all").value_counts()
    to = ", ".join(f"{count} to {name}" for name, count in by.items())
    listed = list(map(str, fell["index"].head(_NAMED)))
    more = ", ..." if len(fell) > _NAMED else ""
    return f"images {', '.join(listed)}{more} fell, {to}."
