"""What the other tests rest on: type hints and shapes are checked while they run."""

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Int, Shaped, TypeCheckError, jaxtyped
from torch import Tensor

from tests.axes import within_a_call
from tests.shapes import HintError, checking

WRONG = (HintError, TypeCheckError)

CODE = """
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from jaxtyping import Float
from torch import Tensor

Row = Float[Tensor, "n"]

def of_numbers(scale: float, name: str = "a") -> str:
    return name if scale else scale

def of_shapes(x: Float[Tensor, "n k"], y: "Row") -> Float[Tensor, " n"]:
    return x.sum(dim=1) if len(x) > 1 else x[:, 0].repeat(2)

def over(rows: Row, others: Row) -> Iterator[Row]:
    yield from (rows, others)

def outer(x: Row, inner: Callable[[Row], Row]) -> Row:
    return inner(x[1:]).sum().repeat(len(x))

def unknown(x: "no.such.name") -> int:
    return x

@dataclass(frozen=True)
class Pair:
    x: Row
    y: Row
    names: list[str] = field(default_factory=list)

    def sum(self) -> Row:
        return self.x + self.y

    @classmethod
    def of(cls, x: Row) -> "Pair":
        return cls(x, x)

class Left(Pair):
    @property
    def first(self) -> int:
        return self.x[0]
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("code")
    (folder / "code_to_check.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch, checking("code_to_check"):
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("code_to_check")


def test_what_fits_its_hints_runs(code):
    x = torch.ones(3)
    assert code.of_numbers(1) == "a"  # an int where a float is
    assert code.of_shapes(torch.ones(3, 2), x).tolist() == [2, 2, 2]
    assert len(list(code.over(x, x))) == 2
    assert len(code.outer(x, lambda row: code.outer(row, lambda one: one))) == 3
    assert code.unknown(1) == 1
    assert code.Pair.of(x).sum().tolist() == [2, 2, 2]
    assert code.Left(x, x).names == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda code: code.of_numbers("1"),
        lambda code: code.of_numbers(1, name=2),
        lambda code: code.of_numbers(0),  # the answer is no text
        lambda code: code.of_shapes(torch.ones(3), torch.ones(3)),
        lambda code: code.of_shapes(torch.ones(3, 2), torch.ones(2)),  # two n
        lambda code: code.of_shapes(torch.ones(1, 2), torch.ones(1)),  # the answer's n is another
        lambda code: code.of_shapes(torch.ones(3, 2, dtype=torch.long), torch.ones(3)),
        lambda code: list(code.over(torch.ones(3), torch.ones(2))),
        lambda code: code.outer(torch.ones(3), 1),
        lambda code: code.unknown("a"),
        lambda code: code.Pair(torch.ones(3), torch.ones(2)),
        lambda code: code.Pair(torch.ones(3), torch.ones(3), [1]),
        lambda code: code.Left(torch.ones(3), torch.ones(3)).first,
    ],
)
def test_what_does_not_is_told_unless_nothing_is_checked(code, wrong, request):
    with pytest.raises(WRONG):
        wrong(code)
    request.getfixturevalue("unchecked")
    try:
        wrong(code)
    except WRONG:
        pytest.fail("it is checked all the same")
    except Exception:  # what a user would see
        pass


NAMES = st.sampled_from(["n", "k", "_"])
HINTED = st.builds(
    lambda before, several, after: [*before, *several, *after],
    st.lists(NAMES, max_size=2),
    st.sampled_from([[], ["..."], ["*image"], ["*n"]]),
    st.lists(NAMES, max_size=2),
)
LOOKS = st.tuples(
    st.sampled_from([Bool, Float, Int, Shaped]),
    HINTED,
    st.lists(st.integers(1, 3), max_size=4),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bool]),
)


@given(looks=st.lists(LOOKS, min_size=1, max_size=4))
def test_the_axes_of_a_call_are_jaxtypings(looks):
    def answers() -> list[bool]:
        return [
            isinstance(torch.ones(shape, dtype=dtype), kind[Tensor, " ".join(axes)])
            for kind, axes, shape, dtype in looks
        ]

    with jaxtyped("context"):
        expected = within_a_call(answers, here=False)()
    assert within_a_call(answers, here=True)() == expected


def test_what_is_no_array_has_no_axes():
    assert within_a_call(lambda: not isinstance([1.0], Float[Tensor, " n"]), here=True)()


def test_holdfast_is_checked():
    from holdfast import Linf
    from holdfast.tensors import norm

    with pytest.raises(WRONG):
        Linf("0.3")
    with pytest.raises(WRONG):
        norm([1.0], Linf(0.3))
