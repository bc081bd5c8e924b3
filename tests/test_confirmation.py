"""What an attack that looks for the smallest perturbation found fools however one asks."""

import copy
import math

import pytest
import torch
from torch import nn

from holdfast import goals
from holdfast.attacks import DeepFool
from holdfast.attacks.engine.attack import prepared
from holdfast.attacks.engine.closest import Closest
from holdfast.attacks.engine.confirmation import confirmed
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.tensors import fingerprint
from holdfast.threat import L2
from tests.cases import ATTACKS, THREATS, AttackCase
from tests.digits import trained
from tests.toys import Wrapped

FREE = L2(math.inf)
SEARCHED = AttackCase("searched", lambda t: DeepFool(t, search=12), norms=("linf", "l2"), within=1)
MINIMAL = [
    (case, norm) for case in [*ATTACKS, SEARCHED] if case.within is not None for norm in case.norms
]


@pytest.mark.parametrize(("case", "norm"), MINIMAL, ids=lambda each: str(each))
def test_what_fools_does_so_alone_in_any_batch_and_in_float64(case, norm):
    """No point is left to rounding, which is another one in each batch."""
    model, x, y = trained(48)
    x_adv = case.make(THREATS[norm](math.inf))(model, x, y, seed=0)
    moved = (x_adv != x).flatten(1).any(dim=1)
    assert moved.sum() > 30
    for size in (48, 7, 2, 1):
        answer = torch.cat([model(part) for part in x_adv.split(size)]).argmax(dim=1)
        assert (answer != y)[moved].all()
    exact = copy.deepcopy(model).double()
    assert (exact(x_adv.double()).argmax(dim=1) != y)[moved].all()


def plane(x):
    """Class 1 beyond 0.5, for images of one pixel; float32 errs by up to 1e-4 of the pixel."""
    beyond = x.flatten(1).double() - (0.5 if x.dtype == torch.float64 else 0.4999)
    return torch.cat([-beyond, beyond], dim=1)


class Plane(nn.Module):
    """`plane`, with a weight, and a note of what it was asked in."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.eval()

    def forward(self, x):
        return plane(x) * self.weight.to(torch.float64)


def last_look(model, at=0.49995, eps=math.inf, dtype=torch.float32):
    """Where the last look takes three points found at ``at``, and what it asked."""
    x0 = torch.full((3, 1, 1, 1), 0.25, dtype=dtype)
    y, counted = torch.zeros(3, dtype=torch.int64), Counted(model, torch.arange(3))
    with prepared(counted, x0, y, 0, None) as (checked, clean, label, rng):
        closest, score = Closest(clean, FREE), goals.margin(checked, clean, label)
        closest.offer(torch.full_like(clean, at), torch.ones(3, dtype=torch.bool))
        found = confirmed(checked, score, closest, L2(eps), rng)
    return found.flatten().double(), counted.forwards.tolist()


def test_what_fools_by_rounding_alone_is_moved_and_each_pass_counts():
    found, calls = last_look(Plane())
    assert torch.allclose(found, torch.tensor(0.25 + 0.24995 * 1.001).double(), atol=1e-6)
    # In float32 and in float64: a hair before where it was, before 1e-4 beyond it, before 1e-3.
    assert calls == [6] * 3


def test_what_holds_stays_bit_by_bit():
    at = float(torch.tensor(0.52))
    found, calls = last_look(Plane(), at)
    assert found.tolist() == [at] * 3
    assert calls == [2] * 3


def test_it_asks_about_all_images_at_once():
    model, x, y = trained(48)
    together = []
    model.register_forward_pre_hook(lambda _, given: together.append(len(given[0])))
    with prepared(model, x, y, 0, None) as (checked, clean, label, rng):
        closest, score = Closest(clean, FREE), goals.margin(checked, clean, label)
        closest.offer(1 - clean, score(1 - clean).reached)
        together.clear()
        confirmed(checked, score, closest, FREE, rng)
    assert 1 <= len(together) <= 10  # two for each fraction of the distance


def test_no_step_leaves_the_threat():
    found, _ = last_look(Plane(), eps=0.24996)
    assert (found <= 0.49996 + 1e-7).all()
    found, calls = last_look(Plane(), at=0.6, eps=0.3)  # what lies beyond it is not looked at
    assert found.tolist() == [0.25] * 3
    assert calls == [0] * 3


class OnlyFloat32(Plane):
    """As the code of many is."""

    def forward(self, x):
        return super().forward(x.float() if x.dtype == self.weight.dtype == torch.float32 else None)


class Uncopied(Plane):
    """As one is that holds a file or a lock."""

    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


@pytest.mark.parametrize("make", [OnlyFloat32, Uncopied])
def test_a_model_that_cannot_answer_in_float64_is_asked_in_its_own_type(make):
    model = make()
    found, calls = last_look(model)
    assert torch.equal(found, torch.full((3,), 0.49995).double())
    assert calls == [1 + (make is OnlyFloat32)] * 3  # it failed after it was asked
    assert model.weight.dtype == torch.float32


def test_a_hair_is_left_where_float64_says_nothing_too():
    """Its boundary is at 0.4999: 5e-6 past it rounding may decide, 3e-5 it does not."""
    found, _ = last_look(OnlyFloat32(), at=0.499905)
    assert torch.allclose(found, torch.tensor(0.25 + 0.249905 * 1.0001).double(), atol=1e-7)


def test_the_model_stays_as_it_is():
    model, x, y = trained(8)
    before = fingerprint(model)
    DeepFool(FREE, search=3)(model, x, y)
    assert fingerprint(model) == before
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_one_that_computes_in_fewer_digits_or_draws_is_not_asked_in_float64():
    with torch.autocast("cpu", torch.bfloat16):
        _, calls = last_look(Plane())
    assert calls == [1] * 3
    asked = []
    noisy = nn.Sequential(GaussianNoise(0.1), Wrapped(lambda x: asked.append(x) or plane(x)))
    assert last_look(noisy)[1] == [0] * 3


@pytest.mark.parametrize("measure", [None, lambda x, x0: (x - x0).flatten(1).sum(dim=1)])
def test_of_all_points_offered_the_least_that_reached_within_the_threat_is_held(measure):
    """Whatever of it is offered at once, and to which examples."""
    generator = torch.Generator().manual_seed(0)
    x0, threat = torch.zeros(6, 1, 2, 2), L2(1.2)
    closest, best = Closest(x0, threat, measure), [(torch.inf, None)] * 6
    for _ in range(20):
        position = torch.randperm(6, generator=generator)[:4]
        x = torch.rand(4, 1, 2, 2, generator=generator)
        reached = torch.rand(4, generator=generator) < 0.5
        kept = closest.offer(x, reached, position)
        for j, i in enumerate(position.tolist()):
            distance = float(x[j].norm())
            least = distance if measure is None else float(x[j].sum())
            better = bool(reached[j]) and distance <= 1.2 and least < best[i][0]
            assert kept[j] == better
            if better:
                best[i] = (least, x[j])
    for i, (least, image) in enumerate(best):
        assert closest.found[i] == (image is not None)
        assert torch.equal(closest.image[i], x0[i] if image is None else image), least
