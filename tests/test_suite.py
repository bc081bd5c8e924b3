from dataclasses import replace

import pytest
import torch
from torch import nn

import holdfast
from holdfast.attacks import (
    APGDT,
    MALT,
    PGD,
    AutoAttack,
    SecondOrder,
    Standard,
    Worst,
    WorstCase,
    adapted,
    worst_case,
)
from holdfast.attacks.budget import _OF_NORMS, _PARTS, _search
from holdfast.attacks.engine.aimed import aimed_at
from holdfast.attacks.engine.hyperplane import nearest_first
from holdfast.attacks.skips import hearing_skips
from holdfast.cli import registry
from holdfast.counting import Counted
from holdfast.errors import GradientError, InputError
from holdfast.evaluation.hidden.twin import longer
from holdfast.random import Stream, layer_noise
from holdfast.tensors import rank_of
from holdfast.threat import L0, L1, L2, Linf
from tests.cases import METRIC, THREATS
from tests.digits import digits, digits_network
from tests.toys import Plateau, Saturated, Wrapped, images, small_network

SMALL = {"steps": 10, "targets": 3, "queries": 150}


PARTS = [
    (norm, name) for norm, threat in THREATS.items() for name in _OF_NORMS.get(threat(1).p, _PARTS)
]


def without(suite, *names):
    """The suite with some attacks taken out."""
    kept = {n: a for n, a in zip(suite.names, suite.attacks, strict=True) if n not in names}
    return replace(suite, attacks=tuple(kept.values()), called=tuple(kept), near=())


def broken(suite, model, x, y):
    found = suite.run(model, x, y)
    return found.by >= 0, [found.names[part] for part in found.by if part >= 0]


@pytest.mark.parametrize("norm", THREATS)
def test_it_is_no_weaker_than_any_of_its_parts(norm):
    """The parts run alone break nothing that the whole leaves robust."""
    model, (x, y) = digits_network(), digits(40)
    threat = THREATS[norm]({"linf": 0.12, "l2": 0.6, "l1": 2.5, "l0": 2}[norm])
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


class Far(nn.Module):
    """Twelve classes; slopes everywhere, and nothing within reach."""

    def forward(self, x):
        z = x.flatten(1)[:, :11] + x.flatten(1)[:, 11:22].square()
        return torch.cat([torch.full_like(z[:, :1], 100.0), z], dim=1)


class TestBudget:
    """`WorstCase` with a number of passes."""

    @pytest.mark.parametrize("norm", METRIC)
    def test_an_image_that_nothing_breaks_takes_the_budget_and_no_more(self, norm):
        x, y = images(3), torch.zeros(3, dtype=torch.int64)
        for budget in (14, 20, 50, 83, 100, 140, 200, 250, 420, 900, 3000):
            counted = Counted(Far().eval(), torch.arange(3))
            suite = WorstCase(THREATS[norm](0.1), budget=budget)
            assert (suite.run(counted, x, y).by == -1).all()
            spent = counted.forwards + counted.backwards
            assert 0.7 * budget < spent.min() <= spent.max() <= budget, budget

    def test_in_l1_the_last_look_at_what_falls_late_takes_ten_passes_more_at_most(self):
        model, (x, y) = digits_network(), digits(60)
        over = []
        for eps, passes in ((1.5, 24), (2.0, 21)):
            counted = Counted(model, torch.arange(60))
            _search(L1(eps), passes)(counted, x, y, seed=0)
            asked = 1  # whether it is broken, which the suite asks
            over.append(int((counted.forwards + counted.backwards).max()) + asked - passes)
        assert max(over) <= 10

    @pytest.mark.parametrize(("norm", "name"), PARTS)
    def test_a_part_takes_no_more_than_its_share_and_what_it_says(self, norm, name):
        x, y = images(1), torch.zeros(1, dtype=torch.int64)
        threat = THREATS[norm](2 if norm == "l0" else 0.1)
        part = _OF_NORMS.get(threat.p, _PARTS)[name]
        for share in (part.least, part.least + 5, 150, 447, 1000):
            attack, said = part.fitted(threat, share)
            counted = Counted(Far().eval(), torch.arange(1))
            attack(counted, x, y, seed=0)
            spent = int((counted.forwards + counted.backwards).max())
            assert spent <= said <= max(share, part.least), (share, spent, said)

    @pytest.mark.parametrize("norm", THREATS)
    def test_rows_are_the_same_whatever_the_batch(self, norm):
        """Which images beside it fall, or do not, changes nothing for an image."""
        model, (x, y) = digits_network(), digits(12)
        threat = THREATS[norm]({"linf": 0.06, "l2": 0.3, "l1": 1.0, "l0": 1}[norm])
        suite, index = WorstCase(threat, budget=250), torch.arange(12)
        whole = suite.run(model, x, y, index=index)
        assert 0 < int((whole.by >= 0).sum()) < 12
        parts = [suite.run(model, x[i], y[i], index=index[i]) for i in index.split(5)]
        assert torch.equal(torch.cat([part.by for part in parts]), whole.by)
        assert torch.allclose(torch.cat([p.x_adv for p in parts]), whole.x_adv, atol=1e-5)

    def test_a_larger_budget_keeps_every_kind_of_part_and_a_small_one_the_search(self):
        assert WorstCase(Linf(0.1), budget=900).names == (
            "apgd-ce",
            "odi-averaged",
            "malt",
            "odi-averaged-again",
            "odi",
            "square",
        )
        assert WorstCase(Linf(0.1), budget=100).names == ("apgd-ce", "odi-averaged", "square")
        assert WorstCase(Linf(0.1), budget=50).names == ("apgd-ce",)
        assert WorstCase(L1(1.0), budget=100).names == ("apgd-ce", "second-order", "fmn")

    def test_the_first_part_is_cut_short_before_it_is_left_out(self):
        lengths = [WorstCase(Linf(0.1), budget=b).attacks[0].steps for b in (14, 20, 32, 100, 700)]
        assert lengths[:2] == sorted(lengths[:2])
        assert lengths[1] < lengths[2] == lengths[3] == lengths[4]

    def test_a_staircase_falls_to_the_search_alone(self):
        honest, x = small_network(), images(30)
        model = Wrapped(lambda x: honest((8 * x).round() / 8))
        y = model(x).argmax(dim=1)
        suite = WorstCase(Linf(0.3), budget=250)
        fell, names = broken(suite, model, x, y)
        assert fell.float().mean() > 0.8
        assert names.count("square") > 10
        assert broken(without(suite, "square"), model, x, y)[0].float().mean() < 0.5

    def test_a_plateau_falls_to_averaged_slopes(self):
        x = torch.full((8, 1, 1, 2), 0.5)
        model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(8, dtype=torch.int64)
        suite = WorstCase(L2(0.3), budget=2000)
        lone = without(suite, *(set(suite.names) - {"odi-averaged"}))
        assert broken(lone, model, x, y)[0].all()

    def test_saturated_logits(self):
        honest, x = small_network(), images(30)
        model, y = Saturated(honest, 1e4), honest(x).argmax(dim=1)
        assert broken(WorstCase(Linf(0.15), budget=250), model, x, y)[0].float().mean() > 0.9

    def test_where_gradients_mislead_the_search_has_all_its_queries(self):
        (one,) = longer(WorstCase(Linf(0.1), budget=250))
        assert one.attack.queries == 5000
        (one,) = longer(WorstCase(Linf(0.1), **SMALL))
        assert one.attack.queries == 4 * SMALL["queries"]

    def test_too_small_a_budget_is_refused_and_so_is_a_budget_beside_numbers(self):
        with pytest.raises(InputError, match=r"13 passes.*apgd-ce, takes 14; give 14 or more"):
            WorstCase(Linf(0.1), budget=13)
        with pytest.raises(InputError, match="leave either out"):
            WorstCase(Linf(0.1), budget=900, steps=10)
        with pytest.raises(InputError, match="needs a limit"):
            WorstCase(Linf(float("inf")), budget=900)


class TestFewComponents:
    """The suite in ℓ0, where no gradient ascent is defined."""

    def test_in_a_budget_an_image_takes_no_more(self):
        x, y = images(3), torch.zeros(3, dtype=torch.int64)
        for budget in (31, 60, 100, 250, 900, 3000):
            counted = Counted(Far().eval(), torch.arange(3))
            suite = WorstCase(L0(3), budget=budget)
            assert (suite.run(counted, x, y).by == -1).all()
            spent = counted.forwards + counted.backwards
            assert 0.55 * budget < spent.min() <= spent.max() <= budget, budget
        model, (x, y) = digits_network(), digits(60)  # what falls late is looked at once more
        for budget in (60, 250):
            counted = Counted(model, torch.arange(60))
            by = WorstCase(L0(2), budget=budget).run(counted, x, y).by
            assert 0 < (by >= 0).sum() < 60
            assert int((counted.forwards + counted.backwards).max()) <= budget

    def test_a_budget_holds_every_part_and_spares_none(self):
        suite = WorstCase(L0(5), budget=500)
        assert suite.names == ("sigma-zero", "greedy", "sparse-rs")
        assert (suite.near, suite.pilot) == ((), 0)
        with pytest.raises(InputError, match="in l0, where all parts run on every image"):
            WorstCase(L0(5), budget=500, pilot=20)
        with pytest.raises(InputError, match="sigma-zero, takes 31; give 31 or more"):
            WorstCase(L0(5), budget=30)

    def test_a_staircase_falls_to_the_search_alone(self):
        honest, x = small_network(), images(30)
        model = Wrapped(lambda x: honest((8 * x).round() / 8))
        y = model(x).argmax(dim=1)
        suite = WorstCase(L0(3), budget=400)
        fell, names = broken(suite, model, x, y)
        assert fell.float().mean() > 0.8
        assert names.count("sparse-rs") > 10
        assert broken(without(suite, "sparse-rs"), model, x, y)[0].float().mean() < 0.6
        (one,) = longer(suite)
        assert one.attack.queries == 5000

    def test_labels_are_pushed_out_of_the_first_classes(self):
        model, (x, y) = digits_network(), digits(40)
        x_adv = Standard(L0(12), top=2, **SMALL)(model, x, y)
        out = (model(x_adv).topk(2).indices != y[:, None]).all(dim=1)
        assert out.float().mean() > 0.5

    def test_autoattack_is_not_defined_there(self):
        with pytest.raises(InputError, match=r"not defined in l0, .* use worst-case"):
            AutoAttack(L0(3))


class TestNearestClasses:
    """MALT's order of the targets."""

    def test_it_is_that_of_the_distances_and_not_of_the_logits(self):
        """Class 1 is likelier than class 2, but its logit hardly moves; class 3 is far."""
        x, y = torch.full((1, 1, 1, 2), 0.5), torch.zeros(1, dtype=torch.int64)

        def logits(x):
            first, second = x.flatten(1).unbind(dim=1)
            moving = [0.01 * (first - 0.5) - 0.1, second - 0.5 - 0.2, 0 * first - 9]
            return torch.stack([torch.zeros_like(first), *moving], dim=1)

        model, others, rng = Wrapped(logits), torch.tensor([[1, 2]]), Stream.of(0, torch.arange(1))
        assert nearest_first(model, x, y, others, p=2, rng=rng).tolist() == [[2, 1]]
        near = MALT(Linf(0.3), targets=1, steps=5)
        likely = APGDT(Linf(0.3), targets=1, steps=5, random_start=False)
        found = [int(model(attack(model, x, y)).argmax(dim=1)) for attack in (near, likely)]
        assert found == [2, 0]

    def test_where_no_slope_shows_the_likeliest_come_first(self):
        x, y = images(2), torch.zeros(2, dtype=torch.int64)
        flat = Wrapped(lambda x: torch.tensor([3.0, 1.0, 2.0]) + 0 * x.flatten(1)[:, :3])
        others, rng = torch.tensor([[2, 1]] * 2), Stream.of(0, torch.arange(2))
        assert torch.equal(nearest_first(flat, x, y, others, p=2, rng=rng), others)


def test_standard_is_what_worst_case_is_without_a_budget():
    for threat in (Linf(0.1), L2(0.5), L1(2.0), L0(3)):
        assert Standard(threat, **SMALL) == WorstCase(threat, **SMALL)


def test_a_suite_needs_a_limit():
    with pytest.raises(InputError, match="needs a limit"):
        WorstCase(Linf(float("inf")))


def test_the_name_that_stays():
    assert holdfast.attacks.worst_case is worst_case
    assert PGD(Linf(0.1)).threat == WorstCase(Linf(0.1)).threat


@pytest.mark.parametrize("norm", METRIC)
def test_a_suite_about_the_first_k_pushes_the_label_out_of_them(norm):
    """It ends where k classes are liked more, and leaves no more among them than any part."""
    model, (x, y) = digits_network(), digits(40)
    threat = THREATS[norm]({"linf": 0.2, "l2": 1.0, "l1": 4.0}[norm])
    suite = WorstCase(threat, **SMALL, top=3)
    assert aimed_at(suite) == 3
    found = suite.run(model, x, y)
    fell = found.by >= 0
    assert 0 < int(fell.sum()) < 40
    assert torch.equal(rank_of(model(found.x_adv), y) >= 3, fell)
    first = WorstCase(threat, **SMALL).run(model, x, y)
    assert int((rank_of(model(first.x_adv), y) >= 3).sum()) < int(fell.sum())
    for part in suite.attacks:
        alone = rank_of(model(part(model, x, y)), y) >= 3
        assert int((alone & ~fell).sum()) <= 1  # draws anew


def test_a_suite_of_the_first_class_is_the_suite():
    for threat in (Linf(0.1), L2(0.5), L1(2.0), L0(3)):
        assert Standard(threat, top=1) == Standard(threat)
    with pytest.raises(InputError, match="top is 0, but must be at least 1"):
        Standard(Linf(0.1), top=0)
    with pytest.raises(InputError, match="top=5, but the parts that a budget pays for"):
        WorstCase(Linf(0.1), budget=1500, top=5)
    with pytest.raises(InputError, match="top is 10, but of 10 classes"):
        Standard(Linf(0.1), **SMALL, top=10)(digits_network(), *digits(2))


def test_top_is_written_on_the_command_line_and_given_to_the_function():
    model, (x, y) = digits_network(), digits(20)
    written = registry.attack("worst-case(steps=10, targets=3, queries=150, top=3)", Linf(0.2))
    assert written == WorstCase(Linf(0.2), **SMALL, top=3)
    by_hand = worst_case(model, x, y, Linf(0.2), top=3)
    assert torch.equal(rank_of(model(by_hand.x_adv), y) >= 3, by_hand.by >= 0)
