import math

import pytest
import torch
from torch import nn

from holdfast import goals, losses
from holdfast.attacks import SaltAndPepper
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.threat import L0, L1, L2, Linf
from tests.toys import Wrapped, images, small_network, two_class


def counted(attack, model, x, y, **options):
    model = Counted(model, torch.arange(len(x)))
    return attack(model, x, y, **options), model.forwards


def moved(x_adv, x):
    """(N, H, W) which pixels have changed in any channel."""
    return (x_adv != x).any(dim=1)


def test_all_channels_of_a_pixel_become_salt_or_pepper():
    model, x = small_network((3, 6, 5)), images(30, (3, 6, 5), margin=0.1)
    y = model(x).argmax(dim=1)
    x_adv = SaltAndPepper(L2(math.inf), queries=200)(model, x, y)
    where = moved(x_adv, x)
    assert (model(x_adv).argmax(dim=1) != y).float().mean() > 0.9
    assert where.flatten(1).sum(dim=1).float().median() < 15
    noise = x_adv.movedim(1, -1)[where]
    assert ((noise == 0).all(dim=1) | (noise == 1).all(dim=1)).all()
    assert 0.2 < float(noise.mean()) < 0.8


def test_the_fewest_pixels_are_found_where_each_counts_the_same():
    """Class 1 while fewer than 5 of 36 pixels are white; four are, so one more has to be."""
    x = torch.zeros(8, 1, 6, 6)
    x[:, :, 0, :4] = 1
    model = two_class(-torch.ones(36), -4.5)
    y = torch.ones(8, dtype=torch.int64)
    assert (model(x).argmax(dim=1) == y).all()
    x_adv = SaltAndPepper(L1(math.inf), queries=150)(model, x, y)
    assert (L1(1.0).distance(x_adv, x) == 1).all()
    assert (model(x_adv).argmax(dim=1) == 0).all()


def test_in_l0_a_pixel_counts_as_often_as_a_channel_of_it_changes():
    """A white pixel has to become black: its three channels, of which one is black as it is."""
    x = torch.zeros(6, 3, 5, 5)
    x[:, :2, 2, 2] = 1
    weight = torch.zeros(3, 5, 5)
    weight[:, 2, 2] = 1
    model = two_class(weight.flatten(), 0.5)
    y = torch.ones(6, dtype=torch.int64)
    x_adv = SaltAndPepper(L0(math.inf), queries=400)(model, x, y)
    assert (L0(1).distance(x_adv, x) == 2).all()
    assert torch.equal(SaltAndPepper(L0(1), queries=400)(model, x, y), x)


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.5])
def test_no_more_than_the_fraction_of_the_pixels_changes(fraction):
    model, x = small_network((3, 8, 8)), images(20, (3, 8, 8), margin=0.1)
    y, seen = model(x).argmax(dim=1), []
    attack = SaltAndPepper(L2(math.inf), fraction=fraction, queries=40)
    attack(model, x, y, callback=lambda s: seen.append(moved(s.x, x[s.position]).sum(dim=(1, 2))))
    assert int(torch.cat(seen).max()) == int(fraction * 64)


def test_bisection_ends_between_a_point_that_fools_and_one_that_does_not():
    """Within one draw the noise is nested; asked amounts close in on where it begins to fool."""
    model, x = small_network((1, 12, 12)), images(1, (1, 12, 12), margin=0.1)
    y, steps = model(x).argmax(dim=1), []
    SaltAndPepper(L2(math.inf), queries=60)(model, x, y, callback=steps.append)
    first = next(i for i, step in enumerate(steps) if step.reached)
    low, high = 0, int(moved(steps[first].x, x).sum())
    inside = moved(steps[first].x, x)
    for step in steps[first + 1 :]:
        if high - low <= 1:
            break
        amount = int(moved(step.x, x).sum())
        assert amount == (low + high) // 2
        assert (moved(step.x, x) <= inside).all()
        low, high = (low, amount) if step.reached else (amount, high)
    assert high - low == 1


def test_more_queries_come_closer_and_never_go_beyond_the_budget():
    model, x = small_network((1, 10, 10)), images(20, (1, 10, 10))
    y = model(x).argmax(dim=1)
    few, spent = counted(SaltAndPepper(L2(math.inf), queries=30), model, x, y)
    many = SaltAndPepper(L2(math.inf), queries=300)(model, x, y)
    assert spent.tolist() == [30] * 20
    threat = L2(1.0)
    found = (few != x).flatten(1).any(dim=1)
    closer, before = threat.distance(many, x)[found], threat.distance(few, x)[found]
    assert (closer <= before).all()
    assert closer.mean() < 0.8 * before.mean()


@pytest.mark.parametrize("threat", [L2(1.2), L1(3.0), Linf(0.7)])
def test_points_beyond_eps_do_not_count_and_early_stop_saves_calls(threat):
    model, x = small_network(), images(40)
    y = model(x).argmax(dim=1)
    closest, all_calls = counted(SaltAndPepper(threat, queries=60), model, x, y)
    first, calls = counted(SaltAndPepper(threat, queries=60, early_stop=True), model, x, y)
    fooled = model(closest).argmax(dim=1) != y
    assert 0 < fooled.sum() < 40
    assert torch.equal(closest[~fooled], x[~fooled])
    assert torch.equal(model(first).argmax(dim=1) != y, fooled)
    assert (all_calls == 60).all()
    assert (calls[fooled] < 60).all()
    assert (threat.distance(closest, x) <= threat.distance(first, x)).all()


def test_wrong_images_are_left_alone_and_targets_are_reached():
    model, x = small_network(), images(20)
    y = model(x).argmax(dim=1)
    x_adv, calls = counted(SaltAndPepper(L2(math.inf)), model, x, (y + 1) % 4)
    assert torch.equal(x_adv, x)
    assert calls.tolist() == [1] * 20
    goal = goals.toward((y + 1) % 4, losses.towards_margin)
    x_adv = SaltAndPepper(L2(math.inf), goal=goal, queries=300)(model, x, y)
    fooled = (x_adv != x).flatten(1).any(dim=1)
    assert fooled.sum() >= 12
    assert (model(x_adv).argmax(dim=1) == (y + 1) % 4)[fooled].all()


def test_closer_than_foolbox_at_equal_queries():
    foolbox = pytest.importorskip("foolbox")
    model, x = small_network((3, 12, 12)), images(20, (3, 12, 12))
    y = model(x).argmax(dim=1)
    ours = SaltAndPepper(L2(math.inf), queries=200)(model, x, y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs, *_ = foolbox.attacks.SaltAndPepperNoiseAttack(steps=199)(
            foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None
        )
    distance = L2(1.0).distance
    assert ((model(theirs).argmax(dim=1) == y) <= (model(ours).argmax(dim=1) == y)).all()
    assert distance(ours, x).median() <= distance(theirs, x).median()


def test_a_vector_is_an_image_of_one_line():
    x = torch.full((3, 9), 0.5)
    model = Wrapped(lambda x: nn.functional.pad(x.sum(dim=1, keepdim=True) - 3.9, (1, 0)))
    x_adv = SaltAndPepper(L1(math.inf), queries=100)(model, x, torch.ones(3, dtype=torch.int64))
    assert (L1(1.0).distance(x_adv, x) == 1).all()  # 4.5 has to fall below 3.9: two peppered


@pytest.mark.parametrize("wrong", [{"fraction": 0.0}, {"fraction": 1.1}, {"queries": 0}])
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        SaltAndPepper(L2(1.0), **wrong)
