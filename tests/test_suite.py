from dataclasses import replace

import pytest
import torch
from torch import nn

import holdfast
from holdfast.attacks import PGD, SecondOrder, Worst, WorstCase, adapted, worst_case
from holdfast.attacks.skips import hearing_skips
from holdfast.counting import Counted
from holdfast.errors import GradientError, InputError
from holdfast.random import layer_noise
from holdfast.threat import L1, L2, Linf
from tests.cases import METRIC, THREATS
from tests.digits import digits, digits_network
from tests.toys import Plateau, Saturated, Wrapped, images, small_network

SMALL = {"steps": 10, "targets": 3, "queries": 150}


def without(suite, *names):
    """The suite with some attacks taken out."""
    kept = {n: a for n, a in zip(suite.names, suite.attacks, strict=True) if n not in names}
    return replace(suite, attacks=tuple(kept.values()), called=tuple(kept))


def broken(suite, model, x, y):
    found = suite.run(model, x, y)
    return found.by >= 0, [found.names[part] for part in found.by if part >= 0]


@pytest.mark.parametrize("norm", METRIC)
def test_it_is_no_weaker_than_any_of_its_parts(norm):
    """The parts run alone break nothing that the whole leaves robust."""
    model, (x, y) = digits_network(), digits(40)
    threat = THREATS[norm]({"linf": 0.12, "l2": 0.6, "l1": 2.5}[norm])
    suite = WorstCase(threat, **SMALL)
    fell, names = broken(suite, model, x, y)
    assert (suite(model, x, y) == suite.run(model, x, y).x_adv).all()
    assert 0 < int(fell.sum()) < 40
    assert set(names) <= set(suite.names)
    for part in suite.attacks:
        alone = model(part(model, x, y)).argmax(dim=1) != y
        # Parts with random draws draw anew in the cascade, so a single image may differ.
        assert int((alone & ~fell).sum()) <= 1


class TestPlantedWeaknesses:
    """A model that hides its gradient must fall, and stand if what sees through it is lost."""

    def test_saturated_logits(self):
        """The cross-entropy's gradient is exactly 0; the margin's and DLR's are not."""
        honest, x = small_network(), images(30)
        model, y = Saturated(honest, 1e4), honest(x).argmax(dim=1)
        suite = WorstCase(Linf(0.15), **SMALL)
        fell, names = broken(suite, model, x, y)
        assert fell.float().mean() > 0.9
        assert "apgd-t" in names
        blind = without(suite, "apgd-t", "fab-t", "square", "second-order")
        assert broken(blind, model, x, y)[0].float().mean() < 0.5

    def test_a_staircase(self):
        """Rounding has a gradient of 0 everywhere: only scores show the way."""
        honest, x = small_network(), images(30)
        model = Wrapped(lambda x: honest((8 * x).round() / 8))
        y = model(x).argmax(dim=1)
        suite = WorstCase(Linf(0.3), **SMALL)
        fell, names = broken(suite, model, x, y)
        assert fell.float().mean() > 0.8
        assert set(names) <= {"square", "second-order", "apgd-ce", "apgd-t"}
        assert names.count("square") > 10
        assert broken(without(suite, "square"), model, x, y)[0].float().mean() < 0.5

    def test_a_gradient_that_is_cut_off(self):
        """A vote has none: what needs one is skipped, with its reason, and Square goes on."""
        honest, x = small_network(), images(30)
        model = Wrapped(lambda x: nn.functional.one_hot(honest(x).argmax(dim=1), 4).float())
        y = model(x).argmax(dim=1)
        suite = WorstCase(Linf(0.3), **SMALL)
        with hearing_skips():
            fell, names = broken(suite, model, x, y)
        assert fell.float().mean() > 0.2
        assert set(names) == {"square"}
        with hearing_skips() as skipped:
            found = Worst((suite, suite.attacks[-1])).run(model, x, y)
        assert (found.by >= 0).any()
        assert set(skipped) == {"apgd-ce", "second-order", "apgd-t", "fab-t"}
        with pytest.raises(GradientError), hearing_skips():
            without(suite, "square").run(model, x, y)

    def test_a_layer_that_declares_it_has_no_gradient(self):
        class Rounds(nn.Module):
            differentiable = False

            def forward(self, x):
                return (8 * x).round() / 8

        honest, x = small_network(), images(30)
        model = nn.Sequential(Rounds(), honest).eval()
        y = model(x).argmax(dim=1)
        suite = without(adapted(WorstCase(Linf(0.3), **SMALL), model), "square")
        fell, names = broken(suite, model, x, y)
        assert fell.float().mean() > 0.9
        assert all(name.endswith(", bpda") for name in names)

    def test_random_padding(self):
        """A single draw lies; the average over draws and a vote do not."""

        class Shifts(nn.Module):
            stochastic = True

            def forward(self, x):
                right = (layer_noise(x).flatten(1)[:, 0] > 0).view(-1, 1, 1, 1)
                return torch.where(right, x.roll(1, dims=3), x)

        honest, x = small_network(), images(20)
        model = nn.Sequential(Shifts(), honest).eval()
        y = honest(x).argmax(dim=1)
        both = honest(x.roll(1, dims=3)).argmax(dim=1) == y  # right whatever is drawn
        found = worst_case_small(model, x[both], y[both], Linf(0.3))
        assert (found.by >= 0).float().mean() > 0.9
        # The images fool the model as it will be used, under draws of their own.
        torch.manual_seed(0)
        answers = torch.stack([model(found.x_adv).argmax(dim=1) for _ in range(400)])
        wrong = (answers != y[both]).float().mean(dim=0)
        assert (wrong[found.by >= 0] > 0.35).all()

    def test_a_plateau(self):
        """The loss is flat around the image; noise sees beyond."""
        x = torch.full((8, 1, 1, 2), 0.5)
        model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(8, dtype=torch.int64)
        suite = WorstCase(L2(0.3), **SMALL)
        lone = without(suite, *(set(suite.names) - {"second-order"}))
        assert broken(lone, model, x, y)[0].all()
        assert broken(suite, model, x, y)[0].all()


def worst_case_small(model, x, y, threat):
    suite = adapted(WorstCase(threat, **SMALL), model, samples=8, votes=30)
    return suite.run(model, x, y)


def test_what_stands_is_not_broken_and_what_is_broken_is_fooled():
    model, (x, y) = digits_network(), digits(12)
    found = worst_case(model, x, y, Linf(0.1), seed=3)
    assert ((model(found.x_adv).argmax(dim=1) != y) == (found.by >= 0)).all()
    assert found.by.max() < len(found.names)
    suite = WorstCase(Linf(0.1), **SMALL)
    first, again = (suite.run(model, x, y, seed=3) for _ in range(2))
    assert torch.equal(first.x_adv, again.x_adv)


def test_an_image_that_has_fallen_costs_nothing_more():
    model, (x, y) = digits_network(), digits(30)
    index = torch.arange(30)
    counted = Counted(model, index)
    found = WorstCase(Linf(0.1), **SMALL).run(counted, x, y)
    spent = counted.forwards
    assert spent[found.by == 0].max() < spent[found.by == -1].min() / 3


def test_it_holds_the_four_of_autoattack_and_the_second_order_attack():
    for threat in (Linf(0.1), L2(0.5)):
        assert {"apgd-ce", "apgd-t", "fab-t", "square", "second-order"} <= {
            *WorstCase(threat).names
        }
    assert "ddn" in WorstCase(L2(0.5)).names
    assert "square" not in WorstCase(L1(1.0)).names
    second = WorstCase(L2(0.5), steps=40).attacks[1]
    assert second == SecondOrder(L2(0.5), steps=20, samples=8)


def test_a_suite_needs_a_limit():
    with pytest.raises(InputError, match="needs a limit"):
        WorstCase(Linf(float("inf")))


def test_the_name_that_stays():
    assert holdfast.attacks.worst_case is worst_case
    assert PGD(Linf(0.1)).threat == WorstCase(Linf(0.1)).threat
