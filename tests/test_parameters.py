"""Values are held against annotations."""

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import losses
from holdfast.attacks import (
    PGD,
    Attack,
    AutoAttack,
    Nearest,
    SecondOrder,
    Square,
    Standard,
    WorstCase,
)
from holdfast.certify import CertificationConfig
from holdfast.errors import HoldfastError, InputError, InputTypeError
from holdfast.evaluation import EvaluationConfig
from holdfast.goals import leave_toward_dlr, margin
from holdfast.parameters import Seed, check
from holdfast.processes import Processes
from holdfast.threat import L0, L2, Linf
from holdfast.training import Schedule

PAIRS = tuple[tuple[float, float], ...]

ANYTHING = st.one_of(
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.floats() | st.text(max_size=2), max_size=2),
    st.tuples(st.floats(), st.none()),
    st.sampled_from([1j, len, PGD, margin, Linf(0.1), torch.tensor(1), np.float32(2), np.int64(3)]),
)

#: Records that are made of what a user gives, and what each cannot be made without.
RECORDS = {
    PGD: {"threat": Linf(0.1)},
    SecondOrder: {"threat": L2(1.0)},
    Square: {"threat": Linf(0.1)},
    EvaluationConfig: {},
    CertificationConfig: {"sigma": 0.1},
    Schedule: {"epochs": 1},
    Processes: {},
    Linf: {"eps": 0.1},
    L0: {"eps": 3},
}


@pytest.mark.usefixtures("unchecked")
@given(data=st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_is_made_of_anything_or_refused_in_a_sentence(data):
    kind = data.draw(st.sampled_from(list(RECORDS)))
    name = data.draw(st.sampled_from([entry.name for entry in fields(kind) if entry.init]))
    with contextlib.suppress(HoldfastError):
        kind(**{**RECORDS[kind], name: data.draw(ANYTHING)})


@pytest.mark.usefixtures("unchecked")
@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_so_is_an_attack_that_is_made_of_several(data):
    call = data.draw(st.sampled_from([AutoAttack, Nearest, Standard, WorstCase]))
    name = data.draw(st.sampled_from(list(signature(call).parameters)))
    beside = {"budget": 1500} if name == "pilot" else {}
    with contextlib.suppress(HoldfastError):
        call(**{"threat": Linf(0.1), **beside, name: data.draw(ANYTHING)})


@pytest.mark.usefixtures("unchecked")
def test_a_budget_is_a_whole_number_of_its_own_name():
    with pytest.raises(InputTypeError, match=r"budget is 1500\.0, but must be a whole number"):
        WorstCase(Linf(0.1), budget=1500.0)


def test_a_dict_is_held_against_both_of_its_parts():
    wanted = Mapping[str, Attack] | Sequence[Attack]
    for value in ({"pgd": PGD(Linf(0.1))}, [PGD(Linf(0.1))], ()):
        check("attacks", value, wanted)
    for value in ("pgd", {"pgd": PGD}, {1: PGD(Linf(0.1))}, PGD(Linf(0.1)), None):
        with pytest.raises(InputTypeError, match=r"a dict of an Attack by text or a list, each"):
            check("attacks", value, wanted)


@pytest.mark.usefixtures("unchecked")
def test_a_name_in_place_of_a_thing():
    with pytest.raises(InputTypeError, match=r"goal is 'margin', but must be a Goal itself; names"):
        PGD(Linf(0.1), goal="margin")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("loss", [torch.nn.CrossEntropyLoss(), losses.margin, leave_toward_dlr])
def test_a_loss_in_place_of_a_goal(loss):
    """It can be called, but not as a goal is; so can a goal that wants a target."""
    with pytest.raises(InputTypeError, match=r"a Goal, which is called with model, x0, y\."):
        PGD(Linf(0.1), goal=loss)
    with pytest.raises(InputTypeError, match=r"a Gradient, which is called with score\."):
        PGD(Linf(0.1), gradient=lambda: loss)
    PGD(Linf(0.1), goal=lambda model, x0, y, *, weight=1.0: margin(model, x0, y))


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (math.nan, float),
        (np.float32("nan"), float),
        ((0.1, math.nan), tuple[float, ...]),
        (math.nan, object),  # which says nothing that could be tested
    ],
)
def test_nan_is_no_number(value, annotation):
    with pytest.raises(InputError, match=r"^size is nan, but must be a number\.$"):
        check("size", value, annotation)


def test_neither_is_one_that_lies_deeper():
    check("sizes", ((0.1, 0.2),), PAIRS)
    with pytest.raises(HoldfastError, match="sizes is"):
        check("sizes", ((0.1, math.nan),), PAIRS)


@pytest.mark.parametrize("number", [2**53, 2**63 - 1, -(2**53), 1e17, -1e300])
def test_numbers_end_where_files_can_no_longer_tell_them_apart(number):
    for value, wanted in ((number, float), ((1, number), tuple[float, ...])):
        with pytest.raises(InputError, match=r"^size is .*, but must be below 2\^53"):
            check("size", value, wanted)


def test_but_no_limit_is_one_and_seeds_have_64_bits():
    check("eps", math.inf, float)
    check("size", 2**53 - 1, int)
    for seed in (2**64 - 1, -(2**63), None):
        check("seed", seed, Seed | None)
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(InputError, match=rf"^seed is {seed}, but must be .* 64 bits"):
            check("seed", seed, Seed | None)
    with pytest.raises(InputError, match=r"below 2\^53"):
        check("seed", 2**64 - 1, int)  # what a number may be, its type says, not its name


@pytest.mark.parametrize("kind", [EvaluationConfig, CertificationConfig, Schedule])
def test_a_record_takes_every_seed_and_no_other(kind):
    for seed in (2**64 - 1, -(2**63)):
        assert kind(**RECORDS[kind], seed=seed).seed == seed
    with pytest.raises(InputError, match="64 bits"):
        kind(**RECORDS[kind], seed=2**64)


def test_whatever_takes_a_seed_says_so_by_its_type():
    """But for commands, whose help prints it, and what they hand it to says so."""
    for path in Path(holdfast.__file__).parent.rglob("*.py"):
        if not {"cli", "random", "forms.py", "parameters.py"} & set(path.parts):
            assert not re.search(r"\bseed: int\b", path.read_text()), path


@pytest.mark.usefixtures("unchecked")
def test_a_record_holds_numbers_of_python():
    config = EvaluationConfig(seed=np.int64(3), votes=np.int32(7), audit=np.float64(0.5))
    assert [type(value) for value in (config.seed, config.votes, config.audit)] == [int, int, float]
    assert type(Linf(np.float32(0.5)).eps) is float
