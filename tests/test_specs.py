"""The language of names and parameters: what is written comes back, what is wrong is shown."""

import contextlib
import inspect
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast import specs
from holdfast.attacks import ATTACKS, Attack
from holdfast.certify.bounds.bound import BOUNDS
from holdfast.certify.intervals.interval import INTERVALS
from holdfast.cli import registry
from holdfast.data import Data
from holdfast.data.names import DATASETS
from holdfast.defenses.names import LAYERS
from holdfast.errors import HoldfastError, InputError, InputTypeError, UnknownNameError
from holdfast.goals import cross_entropy, margin
from holdfast.threat import L0, L2, Linf
from holdfast.training.objectives.names import OBJECTIVES
from holdfast.types import Goal

VALUES = st.recursive(
    st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=6,
)
NAMES = st.from_regex(r"[a-z][a-z_]{0,5}", fullmatch=True)


def written(value):
    """A value as a user would write it; text with its quotes escaped."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, tuple):
        return "(" + "".join(f"{written(part)}, " for part in value) + ")"
    return repr(value)


@given(parameters=st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_comes_back(parameters):
    inside = ", ".join(f"{name}={written(value)}" for name, value in parameters.items())
    read = specs.parse(f"r+pgd({inside})")
    assert read.name == "r+pgd"
    assert read.parameters == parameters
    kinds = [type(value) for value in parameters.values()]
    assert [type(value) for value in read.parameters.values()] == kinds


@given(text=st.text(alphabet="ab(),=[]'\"1/.+- |{}\\", max_size=25))
def test_any_text_is_read_or_refused_in_a_sentence(text):
    """No other error comes out, and what is read has balanced brackets."""
    try:
        read = specs.parse(text)
    except InputError:
        return
    assert text.strip() == read.text
    bare = text.replace(" ", "")
    if not set(bare) & set("'\""):
        assert bare.count("(") == bare.count(")")
        assert bare.count("[") == bare.count("]")


#: What is written by mistake, in place of a value.
SLIPS = (
    *(
        "0",
        "-1",
        "1.5",
        "1e9",
        "1e400",
        "-inf",
        "nan",
        "1/0",
        "9" * 30,
        "9" * 5000,
        "1_0",
        "٣",
        "½",
    ),
    *("True", "None", "''", "'a'", "[]", "()", "(1,)", "[1, 2]", "[[[]]]", "margin", "'margin'"),
    *("average(samples=2)", "average(samples=1.5)", "unit_draw(xi=0)", "pgd(steps=2)", "kl", "l1"),
    *("", "(", "]", "=", "|", "{", "a=b", "\\", "'", "\0", "\ud800"),
)


@st.composite
def slips(draw, named):
    """A spec as it might be typed: parameters that there are, of any values, and a slip or two."""
    name = draw(st.sampled_from(sorted(named)))
    known = [*inspect.signature(named[name]).parameters, "nothing", "é"]
    pairs = st.tuples(st.sampled_from(known), st.sampled_from(SLIPS))
    inside = ", ".join(f"{key}={value}" for key, value in draw(st.lists(pairs, max_size=3)))
    text = f"{name}({inside})"
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(text)))
        typed = draw(st.sampled_from([*"()[]=,'\"|{} \n.-e/", ""]))
        text = text[:place] + typed + text[place + (typed == "") :]
    return text


@given(text=slips(ATTACKS), within=st.sampled_from([Linf(0.1), Linf(math.inf), L2(1.0), L0(3)]))
@settings(max_examples=120)
def test_any_attack_that_is_typed_is_made_or_refused_in_a_sentence(text, within):
    with contextlib.suppress(HoldfastError):
        assert isinstance(registry.attack(text, within), Attack)


@given(text=slips({**OBJECTIVES, **registry.HOOKS}))
def test_so_is_any_objective_and_hook(text):
    data = Data.of(torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]))
    with contextlib.suppress(HoldfastError):
        registry.objective(text, data, torch.device("cpu"))
    with contextlib.suppress(HoldfastError):
        registry.hook(text)


def test_many_digits_are_read_once():
    """The pattern of numbers has one way to read them, or these would take a day."""
    text = "9" * 1_000_000 + "x"
    assert specs.split(text) == [text]


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("inf", math.inf), ("-inf", -math.inf), ("1e-3", 1e-3), ("+3", 3.0)],
)
def test_numbers(text, value):
    assert specs.parse(f"a(b={text})").parameters == {"b": value}
    assert specs.number(text) == value


@pytest.mark.parametrize(
    "text", ["", "nan", "1/0x", "1_000", "one", "1/2/3", "1/0", "9" * 400, "9" * 5000]
)
def test_no_numbers(text):
    with pytest.raises(ValueError, match="no number"):
        specs.number(text)


@pytest.mark.parametrize(
    ("text", "where", "why"),
    [
        ("pgd(steps=3", 4, r"the bracket \( is not closed"),
        ("pgd(at=[1, 2)", 13, r"the bracket \) closes none"),
        ("pgd(at=[1, 2", 8, r"the bracket \[ is not closed"),
        ("pgd)", 4, "closes none"),
        ("pgd(3)", 5, "name=value"),
        ("pgd('three')", 5, "name=value"),
        ("pgd(margin)", 5, "name=value"),
        ("pgd(a=1, a=2)", 10, "a is given twice"),
        ("pgd(a=1 b=2)", 9, "a comma is missing"),
        ("pgd(a=[1 2])", 10, "a comma is missing"),
        ("pgd(a=)", 7, "a value is missing"),
        ("pgd(a='x)", 7, "the quote ' is not closed"),
        ("pgd(a=1_000)", 7, "neither a number nor a name"),
        ("pgd(a=1/0)", 7, "no number that can be held"),
        ("pgd(a={1})", 7, "{ means nothing"),
        ("pgd mim", 5, "nothing follows a name"),
        ("pgd(a=f(b=1, b=2))", 14, "b is given twice"),
    ],
)
def test_it_is_shown_where_a_spec_is_wrong(text, where, why):
    with pytest.raises(InputError, match=f"at character {where}, .*: .*{why}.*; write x\\(y=1\\)"):
        specs.parse(text, "attack", "x(y=1)")


def test_parts_between_marks():
    assert specs.split("a, b(c=1, d=[2, 3]) ,e('f,g)')") == ["a", "b(c=1, d=[2, 3])", "e('f,g)')"]
    assert specs.split("a(b='|') | c:d | runs/e", "|") == ["a(b='|')", "c:d", "runs/e"]


class Weighted:
    """A goal with a parameter."""

    def __init__(self, weight: float = 1.0, of: Goal = cross_entropy) -> None:
        self.weight, self.of = weight, of

    def __call__(self, model, x0, y):
        return self.of(model, x0, y)


def made(
    steps: int, goal: Goal = cross_entropy, at: tuple[float, ...] = (), name: str | None = None
) -> tuple:
    return steps, goal, at, name


CHOICES = {"goal": {"margin": margin, "weighted": Weighted}, "of": {"margin": margin}}
NAMED: dict[str, Callable] = {"made": made}


def build(text):
    return specs.build(text, "thing", NAMED, example="made(steps=3)", choices=CHOICES, most=100)


def test_things_are_made_of_specs():
    assert build("made(steps=3, goal=margin, at=[1, 2])") == (3, margin, (1, 2), None)
    assert build("made(steps=3, name=runs/a)") == build("made(steps=3, name='runs/a')")
    assert build("made(steps=3, name=b(c='d'))")[3] == "b(c='d')"
    nested = build("made(steps=3, goal=weighted(weight=2, of=margin))")[1]
    assert (nested.weight, nested.of) == (2, margin)
    assert build("made(steps=3, goal=weighted)")[1].weight == 1


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("mad(steps=3)", UnknownNameError, "did you mean 'made'"),
        ("made", InputError, r"needs steps, as in made\(steps=...\)"),
        ("made(stepz=3)", UnknownNameError, "thing made has no parameter stepz; .* 'steps'"),
        ("made(q=3)", UnknownNameError, "it has steps, goal, at, name"),
        ("made(steps=1.5)", InputTypeError, "steps is 1.5, but must be a whole number"),
        ("made(steps=three)", InputTypeError, "steps is 'three', but must be a whole number"),
        ("made(steps=101)", InputError, "at most 100"),
        ("made(steps=3, goal=margn)", UnknownNameError, "unknown goal 'margn': .* 'margin'"),
        ("made(steps=3, goal='margin')", InputError, "without quotes"),
        ("made(steps=3, goal=margin(a=1))", UnknownNameError, "margin has no parameter a; .* none"),
        ("made(steps=3, goal=weighted(weigt=1))", UnknownNameError, "did you mean 'weight'"),
        ("made(steps=3, goal=weighted(weight=x))", InputTypeError, "weight is 'x'"),
        ("made(steps=3, goal=7)", InputTypeError, "goal is 7, but must be a Goal"),
        ("made(steps=3, at=['a'])", InputTypeError, "a tuple, each of its parts a number"),
    ],
)
def test_what_cannot_be_made_is_said_in_a_sentence(text, kind, words):
    with pytest.raises(kind, match=words) as raised:
        build(text)
    assert isinstance(raised.value, HoldfastError)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "registry", [ATTACKS, OBJECTIVES, LAYERS, DATASETS, BOUNDS, INTERVALS], ids=lambda r: r.kind
)
def test_a_registry_tells_the_nearest_name_however_it_is_asked(registry):
    name = next(iter(registry))
    slip = f"{name}x"
    for ask in (registry.get, registry.__getitem__):
        with pytest.raises(UnknownNameError, match=f"unknown {registry.kind} '{slip}'.*'{name}'"):
            ask(slip)
        for other in (3, None, [], ("a",)):
            with pytest.raises(UnknownNameError):
                ask(other)
        assert ask(name) is registry[name]
    assert registry.get(slip, None) is None
    assert registry.get(name, None) is registry[name]
