import math

import pytest
import torch
from torchvision.transforms.v2.functional import InterpolationMode
from torchvision.transforms.v2.functional import rotate as turned

from holdfast import evaluate, goals, losses, metrics
from holdfast.attacks import IFGSM, PGD, Spatial, SpatialIFGSM, Then, against_randomness
from holdfast.attacks.spatial import flip, rotate
from holdfast.counting import Counted
from holdfast.errors import HoldfastError, InputError
from holdfast.gradients import Average
from holdfast.random import Stream
from holdfast.threat import L2, Linf
from tests.toys import Wrapped, images, small_network

ANYWHERE = Linf(math.inf)


def stream(count):
    return Stream.of(0, torch.arange(count))


def bars():
    """Four lying bars, and a model that calls a bar standing if the middle column is brighter."""
    x = torch.zeros(4, 1, 9, 9)
    x[:, :, 4, 1:8] = 1
    model = Wrapped(lambda x: torch.stack([x[:, 0, 4].sum(1), x[:, 0, :, 4].sum(1)], dim=1))
    return model, x, torch.zeros(4, dtype=torch.int64)


def test_quarter_turns_are_exact():
    x = images(3, (2, 7, 7))
    for quarter in (1, 2, 3):
        assert torch.allclose(rotate(x, 90.0 * quarter), x.rot90(quarter, (2, 3)), atol=1e-5)
    wide = images(3, (2, 5, 8))
    assert torch.allclose(rotate(wide, 180.0), wide.flip(2, 3), atol=1e-5)
    assert torch.equal(rotate(wide, 0.0), wide)
    assert torch.equal(rotate(wide, -360.0), wide)


@pytest.mark.parametrize("angle", [20.0, -33.0, 101.0])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 12)])
def test_rotation_equals_torchvision(angle, shape):
    x = images(3, shape)
    expected = turned(x, angle, interpolation=InterpolationMode.BILINEAR)
    assert torch.allclose(rotate(x, angle), expected, atol=1e-4)
    assert rotate(x.double(), angle).dtype == torch.float64


def test_a_rotation_turns_the_picture_and_keeps_its_middle():
    """A bright spot at (r, φ) from the centre goes to (r, φ + angle): its mean position says so."""
    x = torch.zeros(1, 1, 41, 41)
    x[0, 0, 18:23, 30:35] = 1  # 12 to the right of the centre
    place = torch.arange(41.0) - 20
    y = rotate(x, 30.0)[0, 0]
    right, down = (y.sum(0) * place).sum() / y.sum(), (y.sum(1) * place).sum() / y.sum()
    assert float(right) == pytest.approx(12 * math.cos(math.pi / 6), abs=0.02)
    assert float(-down) == pytest.approx(12 * math.sin(math.pi / 6), abs=0.02)


def test_flips_turn_as_many_pixels_in_all_channels():
    x = images(20, (3, 6, 5))
    y = flip(x, 4, stream(20))
    changed = (y != x).any(dim=1)
    assert (changed.sum(dim=(1, 2)) == 4).all()
    assert torch.equal(torch.where(changed[:, None], 1 - x, x), y)
    assert len({tuple(map(tuple, c.nonzero().tolist())) for c in changed}) == 20
    assert torch.equal(flip(x, 0, stream(20)), x)
    assert torch.equal(flip(x, 99, stream(20)), 1 - x)


def test_one_angle_transforms_every_image_and_asks_nothing():
    counted, x = Counted(small_network(), torch.arange(6)), images(6)
    x_adv = Spatial(ANYWHERE, angles=(20.0,))(counted, x, torch.zeros(6, dtype=torch.int64))
    assert torch.equal(x_adv, rotate(x, 20.0))
    assert (counted.forwards == 0).all()


def test_the_worst_of_several_angles_is_kept():
    model, x = small_network(), images(40)
    y, angles = model(x).argmax(dim=1), (0.0, 40.0, -40.0, 90.0)
    counted = Counted(model, torch.arange(40))
    x_adv = Spatial(ANYWHERE, angles=angles)(counted, x, y)
    options = torch.stack([rotate(x, angle) for angle in angles])
    values = torch.stack([losses.margin(model(option), y) for option in options])
    fools = torch.stack([model(option).argmax(dim=1) != y for option in options])
    any_fools, first = fools.any(dim=0), fools.int().argmax(dim=0)
    choice = torch.where(any_fools, first, values.argmax(dim=0))
    assert 0 < any_fools.sum() < 40
    assert torch.allclose(x_adv, options[choice, torch.arange(40)], atol=1e-6)
    assert torch.equal(counted.forwards, torch.where(any_fools, first + 1, 4))


def test_an_image_that_would_leave_the_threat_stays():
    x, y = images(20), torch.zeros(20, dtype=torch.int64)
    threat = L2(1.0)
    x_adv = Spatial(threat, angles=(10.0,))(small_network(), x, y)
    inside = threat.distance(rotate(x, 10.0), x) <= 1.0
    assert 0 < inside.sum() < 20
    assert torch.equal(x_adv[~inside], x[~inside])
    assert torch.equal(x_adv[inside], rotate(x, 10.0)[inside])


def test_then_puts_the_second_ball_around_the_first_result():
    model, x = small_network(), images(30)
    y = model(x).argmax(dim=1)
    attack = SpatialIFGSM(Linf(0.05), angle=20.0, flips=0, early_stop=False)
    x_adv = attack(model, x, y)
    middle = rotate(x, 20.0)
    assert (Linf(1.0).distance(x_adv, middle) <= 0.05 * (1 + 1e-6)).all()
    assert torch.equal(x_adv, IFGSM(Linf(0.05), early_stop=False)(model, middle, y))
    assert attack.threat == ANYWHERE


def test_a_rotation_helps_i_fgsm_where_neither_is_enough():
    """EAT C.1 in small: bars told apart by their direction, rotated almost by half."""
    model, x, y = bars()
    threat = Linf(0.1)
    both = SpatialIFGSM(threat, angle=40.0, flips=0)
    attacks = IFGSM(threat), Spatial(ANYWHERE, angles=(40.0,)), both
    robust = [int((model(attack(model, x, y)).argmax(dim=1) == y).sum()) for attack in attacks]
    assert robust == [4, 4, 0]


def test_then_adds_the_budgets_of_one_norm():
    both = Then(first=PGD(L2(0.25)), second=IFGSM(L2(0.5)))
    assert both.threat == L2(0.75)
    assert Then(first=PGD(Linf(0.1)), second=PGD(L2(0.5))).threat == L2(math.inf)


def test_both_parts_are_rebuilt_for_a_stochastic_model():
    attack = against_randomness(SpatialIFGSM(Linf(0.1)), 7)
    assert attack.second.gradient == Average(samples=7)
    assert not attack.second.early_stop
    assert attack.threat == ANYWHERE


def test_then_catches_an_attack_that_leaves_its_own_ball():
    class Cheat(Spatial):
        threat = Linf(0.0)

        def perturb(self, model, x0, y, rng, callback=None):
            return 1 - x0

    cheat = Cheat(Linf(0.01))
    with pytest.raises(HoldfastError, match="beyond"):
        Then(first=cheat, second=Spatial(ANYWHERE))(
            small_network(), images(2), torch.zeros(2, dtype=torch.int64)
        )


def test_a_network_that_knows_upright_images_only_is_fooled_by_an_angle():
    """A planted weakness: bars are told apart by their direction, and rotation turns it."""
    model, x, y = bars()
    robust = [
        int((model(Spatial(ANYWHERE, angles=angles)(model, x, y)).argmax(dim=1) == y).sum())
        for angles in ((0.0, 20.0, -20.0), tuple(range(-90, 91, 15)))
    ]
    assert robust == [4, 0]
    target = Spatial(ANYWHERE, angles=(0.0, 90.0), goal=goals.toward(1, losses.towards_margin))
    assert (model(target(model, x, y)).argmax(dim=1) == 1).all()


@pytest.mark.parametrize("wrong", [{"angles": ()}, {"angles": (math.nan,)}, {"flips": -1}])
def test_parameters_are_checked(wrong):
    with pytest.raises(InputError):
        Spatial(ANYWHERE, **wrong)


def test_a_rotation_that_the_ball_undoes_is_told_and_no_other_attack_is():
    """It asks nothing and moves nothing, which reads as robust accuracy."""
    model, x = small_network(), images(6)
    y = model(x).argmax(dim=1)
    y[0] = (y[0] + 1) % 3  # wrong before, which an attack may leave alone
    given = {
        "held": Spatial(Linf(0.01)),
        "free": Spatial(ANYWHERE),
        "asks": Spatial(Linf(0.01), angles=(10.0, 20.0)),
        "pgd": PGD(Linf(0.01), steps=1),
    }
    with pytest.warns(UserWarning, match="asked the model nothing"):
        found = evaluate(model, x, y, given)
    (said,) = [note for note in found.warnings if "asked the model nothing" in note]
    assert said.startswith("held linf 0.01: it asked the model nothing and left all 5 images")
    assert metrics.idle_attacks(found.rows) == [said]
