"""The nearest point: what goes on from a known point, and the recipe made of it."""

import math
from dataclasses import replace

import pytest
import torch

from holdfast.attacks import (
    DDN,
    FMN,
    ClosestOf,
    Greedy,
    Nearest,
    SigmaZero,
    against_randomness,
)
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.gradients import Average
from holdfast.random import Stream
from holdfast.threat import L0, L2
from tests.cases import THREATS
from tests.digits import trained
from tests.toys import Linear, images, two_class

each_norm = pytest.mark.parametrize("name", ["linf", "l2", "l1", "l0"])
SINGLE = {"linf": FMN, "l2": DDN, "l1": FMN, "l0": SigmaZero}


@each_norm
def test_nearer_than_its_strongest_part_with_all_passes_and_within_them(name):
    model, x, y = trained(20)
    threat = THREATS[name](math.inf)
    counted = Counted(model, torch.arange(len(x)))
    nearest = Nearest(threat, steps=800)(counted, x, y)
    passes = counted.forwards + counted.backwards
    assert (passes <= 800).all()
    assert (model(nearest).argmax(dim=1) != y).all()
    alone = SINGLE[name](threat, steps=394)(model, x, y)
    here, there = (threat.distance(z, x) for z in (nearest, alone))
    assert here.mean() <= 1.001 * there.mean()
    assert (here <= 1.02 * there).float().mean() >= 0.9


def test_in_l0_the_parts_have_as_many_steps_as_the_passes_allow():
    """Greedy search ends by itself on small images, so that counting passes would not tell."""
    attack = Nearest(L0(math.inf), steps=2000)
    passes = 2 * sum(part.steps for part in (*attack.attacks, *attack.polish))
    assert 1900 < passes <= 2000 - 12 * 5


@pytest.mark.parametrize(
    "attack",
    [
        DDN(L2(math.inf), steps=15, gamma=0.01, step_size=0.1),
        FMN(L2(math.inf), steps=15, gamma=0.01),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_what_goes_on_from_a_known_point_loses_nothing_and_gains(attack):
    """From a point that is 1.3 times too far, which is the first that is looked at."""
    model, x, y = trained(20)
    near = DDN(L2(math.inf), steps=100)(model, x, y)
    start = (x + 1.3 * (near - x)).clamp(0, 1)
    rng = Stream.of(0, torch.arange(len(x)))
    seen = []
    onward = attack.onward(model, x, start, y, rng, seen.append)
    assert torch.equal(seen[0].x, start)
    assert (model(onward).argmax(dim=1) != y).all()
    before, after = (attack.threat.distance(z, x) for z in (start, onward))
    assert (after <= before).all()
    assert after.mean() < 0.9 * before.mean()


def test_the_closest_of_all_parts_is_held_for_each_image():
    model, x, y = trained(20)
    free = L2(math.inf)
    parts = DDN(free, steps=6), FMN(free, steps=6)
    alone = torch.stack([free.distance(part(model, x, y), x) for part in parts])
    fooled = torch.stack([model(part(model, x, y)).argmax(dim=1) != y for part in parts])
    alone[~fooled] = math.inf
    both = ClosestOf(free, attacks=parts)(model, x, y)
    found = model(both).argmax(dim=1) != y
    assert torch.equal(found, fooled.any(dim=0))
    assert torch.allclose(free.distance(both, x)[found], alone.min(dim=0).values[found], rtol=1e-3)
    assert 0 < int((alone[0] < alone[1]).sum()) < len(x)  # each is the closer one somewhere


def test_a_limit_is_kept_though_the_parts_have_none():
    model, x, y = trained(20)
    free = Nearest(L2(math.inf), steps=200)
    distance = L2(1.0).distance(free(model, x, y), x)
    eps = float(distance.median())
    x_adv = replace(free, threat=L2(eps))(model, x, y)
    assert torch.equal((x_adv != x).flatten(1).any(dim=1), distance <= eps)


def test_an_image_that_is_wrong_or_done_costs_no_more():
    model, x, y = trained(10)
    counted = Counted(model, torch.arange(len(x)))
    assert torch.equal(Nearest(L2(math.inf))(counted, x, (y + 1) % 10), x)
    assert (counted.forwards == 1).all()
    stopped = Counted(model, torch.arange(len(x)))
    early = replace(Nearest(L2(10.0), steps=200), early_stop=True)
    assert (model(early(stopped, x, y)).argmax(dim=1) != y).all()
    assert (stopped.backwards <= 30).all()  # the first part alone


def test_eot_reaches_every_part():
    averaged = against_randomness(Nearest(L2(math.inf), steps=400), 3)
    gradients = [
        part for part in (*averaged.attacks, *averaged.polish) if hasattr(part, "gradient")
    ]
    assert len(gradients) == 3
    assert all(part.gradient == Average(samples=3) for part in gradients)


def test_parts_with_a_limit_or_of_another_norm_are_refused():
    for wrong in (DDN(L2(1.0)), FMN(THREATS["l1"](math.inf))):
        with pytest.raises(InputError, match="give it"):
            ClosestOf(L2(1.0), attacks=(wrong,))
    with pytest.raises(InputError):
        ClosestOf(L2(1.0), attacks=())
    with pytest.raises(InputError, match="200"):
        Nearest(L2(1.0), steps=199)


def fewest_of_a_line() -> tuple[Linear, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear model, images, (8, 36) what a component lowers the score by, and how many it takes.

    Those with the largest weight times room, all of them needed.
    """
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    x = images(8, margin=0.2)
    offset = float((x.flatten(1) @ normal).min()) - 1.5
    score = x.flatten(1) @ normal - offset
    falls = normal.abs() * torch.where(normal > 0, x.flatten(1), 1 - x.flatten(1))
    strongest = falls.sort(dim=1, descending=True).values.cumsum(dim=1)
    return two_class(normal, offset), x, falls, (strongest <= score[:, None]).sum(dim=1) + 1


def test_greedy_finds_the_fewest_components_of_a_linear_model():
    model, x, _, fewest = fewest_of_a_line()
    attack = Greedy(L0(math.inf), steps=80)
    x_adv = attack(model, x, torch.ones(8).long())
    assert torch.equal(attack.threat.distance(x_adv, x).long(), fewest)


def test_greedy_exchanges_what_it_cannot_undo():
    """From the weakest components that fool together, each of which is then needed."""
    model, x, falls, fewest = fewest_of_a_line()
    attack, y = Greedy(L0(math.inf), steps=400), torch.ones(8).long()
    lowest = (model.weight[1] < 0).float()
    order = falls.argsort(dim=1)
    start = x.flatten(1).clone()
    for row in range(len(x)):
        for place in order[row]:
            if model(start[row].view_as(x[:1])).argmax() == 0:
                break
            start[row, place] = lowest[place]
    start = start.view_as(x)
    assert (attack.threat.distance(start, x) >= fewest + 3).all()
    found = attack.onward(model, x, start, y, Stream.of(0, torch.arange(8)))
    assert torch.equal(attack.threat.distance(found, x).long(), fewest)


def test_greedy_undoes_every_change_that_is_not_needed():
    model, x, y = trained(12)
    many = Greedy(L0(math.inf), steps=300)
    start = (x + 0.9 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    fools = model(start).argmax(dim=1) != y
    found = many.onward(model, x, start, y, Stream.of(0, torch.arange(len(x))))
    assert (model(found).argmax(dim=1) != y)[fools].all()
    assert int(fools.sum()) > 0
    for image, clean, label in zip(found[fools], x[fools], y[fools], strict=True):
        for place in torch.nonzero(image != clean):
            without = image.clone()
            without[tuple(place)] = clean[tuple(place)]
            assert model(without[None]).argmax() == label


def test_greedy_exchanges_alike_whatever_the_batch():
    """While one image exchanges, another still undoes: its exchanges are all before it."""
    model, x, y = trained(12)
    attack = Greedy(L0(math.inf), steps=120)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    start = (x + 0.9 * noise).clamp(0, 1)
    rng = Stream.of(0, torch.arange(len(x)))
    together = attack.onward(model, x, start, y, rng)
    for one in torch.arange(len(x)).split(1):
        alone = attack.onward(model, x[one], start[one], y[one], rng.take(one))
        assert torch.equal(alone, together[one])


def test_greedy_counts_components_only():
    with pytest.raises(InputError, match="l0"):
        Greedy(L2(1.0))
