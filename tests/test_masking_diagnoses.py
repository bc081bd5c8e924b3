"""One step against many, the loss around an image, unlike adversaries, gradients on the way."""

import itertools
import math

import pandas as pd
import pytest
import torch
from torch import nn

from holdfast.attacks import FGSM, IFGSM, PGD, SecondOrder
from holdfast.defenses import GaussianNoise
from holdfast.diagnose import (
    convergence,
    discrepancy,
    gradient_norms,
    linearity,
    loss_surface,
    margins,
    predictions,
    signed_directions,
)
from holdfast.diagnose.single_step import Linearity
from holdfast.diagnose.surface import orthogonal_sign
from holdfast.errors import InputError
from holdfast.threat import L2, Linf
from tests.toys import Wrapped, images, small_network, two_class


def softplus_plane():
    """Two classes parted by a plane, and its normal: the loss of class 0 is softplus(n·x - b)."""
    normal = torch.linspace(-1, 1, 36)
    return two_class(normal, 0.3), normal


# One step against many


def test_on_a_linear_model_one_step_finds_all_there_is():
    model, _ = softplus_plane()
    x, threat = images(5, margin=0.2), Linf(0.1)
    y = torch.zeros(5, dtype=torch.int64)
    found = linearity(model, x, y, FGSM(threat), IFGSM(threat, early_stop=False))
    assert torch.allclose(found.ratio, torch.ones(5))
    assert torch.allclose(found.cosine, torch.ones(5))
    assert found.mean_of_ratios == pytest.approx(1)
    assert found.ratio_of_means == pytest.approx(1)


def test_a_gradient_that_points_the_wrong_way():
    """Near grey the loss falls where it rises beyond: one step is misled, many small ones are not.

    A bump of the loss at 0.4 and a slope upwards beyond 0.45.
    """

    def bump(x):
        pixel = x.flatten(1)[:, 0]
        z = 4 * (pixel - 0.5).square() * (0.6 - pixel) * 100
        return torch.stack([torch.zeros_like(z), z], dim=1)

    x, y, threat = torch.full((1, 1, 1, 1), 0.49), torch.tensor([0]), Linf(0.3)
    model = Wrapped(bump)
    many = IFGSM(threat, steps=30, step_size=0.01, early_stop=False)
    up = linearity(model, x, y, FGSM(threat), many)
    assert float(up.ratio) == pytest.approx(1)
    x = torch.full((1, 1, 1, 1), 0.51)
    down = linearity(model, x, y, FGSM(threat), many)
    assert float(down.ratio) < 0.9
    assert float(down.single_loss) < float(down.clean_loss) < float(down.best_loss)


def test_both_means_and_what_cannot_be_said():
    clean = torch.zeros(3)
    found = Linearity(
        clean_loss=clean,
        single_loss=torch.tensor([1.0, 1.0, 0.0]),
        best_loss=torch.tensor([1.0, 10.0, 0.0]),
        cosine=torch.tensor([1.0, 0.5, torch.nan]),
        gradient_norm=clean,
    )
    assert found.mean_of_ratios == pytest.approx(0.55)
    assert found.ratio_of_means == pytest.approx(2 / 11)
    assert found.mean_cosine == pytest.approx(0.75)


def test_the_best_loss_is_the_single_steps_where_many_steps_find_less():
    model, normal = softplus_plane()
    x, y = images(4, margin=0.2), torch.zeros(4, dtype=torch.int64)
    lame = IFGSM(Linf(0.1), step_size=0.0, early_stop=False)
    found = linearity(model, x, y, FGSM(Linf(0.1)), lame)
    assert torch.equal(found.ratio, torch.ones(4))
    assert found.cosine.isnan().all()
    z = x.flatten(1) @ normal - 0.3
    assert torch.allclose(found.clean_loss, nn.functional.softplus(z), atol=1e-5)
    slope = torch.sigmoid(z) * normal.norm()
    assert torch.allclose(found.gradient_norm, slope, atol=1e-5)


def test_attacks_that_cannot_be_compared():
    model, x, y = small_network(), images(1), torch.tensor([0])
    with pytest.raises(InputError, match="early_stop=False"):
        linearity(model, x, y, FGSM(Linf(0.1)), IFGSM(Linf(0.1)))
    with pytest.raises(InputError, match="different balls"):
        linearity(model, x, y, FGSM(Linf(0.2)), IFGSM(Linf(0.1), early_stop=False))


# The loss on a plane


@pytest.mark.parametrize("size", [4, 5])
def test_the_orthogonal_sign_is_the_best_there_is(size):
    every = torch.tensor(list(itertools.product((-1.0, 0.0, 1.0), repeat=size)))
    generator = torch.Generator().manual_seed(size)
    for _ in range(20):
        grad = torch.randn(1, size, generator=generator)
        g = torch.randint(-1, 2, (1, size), generator=generator).float()
        found = orthogonal_sign(grad, g)
        orthogonal = every[(every @ g[0]) == 0]
        assert float((found * g).sum()) == 0
        assert float((found * grad).sum()) == pytest.approx(float((orthogonal @ grad[0]).max()))
    flat = orthogonal_sign(torch.zeros(1, size), torch.ones(1, size))
    assert float(flat.sum()) == 0  # also where the other model has no gradient at all


def test_the_directions_of_two_networks():
    x, y = images(3), torch.tensor([0, 1, 2])
    g, across = signed_directions(small_network(seed=0), small_network(seed=1), x, y)
    assert torch.equal(g, (FGSM(Linf(1e-3))(small_network(seed=0), x, y) - x).sign())
    assert torch.equal((g * across).flatten(1).sum(dim=1), torch.zeros(3))
    other = (FGSM(Linf(1e-3))(small_network(seed=1), x, y) - x).sign()
    assert ((other * across).flatten(1).sum(dim=1) > 0).all()


def test_the_surface_of_a_plane():
    model, normal = softplus_plane()
    x, y = images(2), torch.tensor([0, 0])
    g = normal.sign().expand(2, -1).view_as(x)
    across = orthogonal_sign(images(2, seed=1) - 0.5, g)
    shown = loss_surface(model, x, y, g, across, 0.5, points=5)
    assert shown.along.tolist() == pytest.approx([-0.5, -0.25, 0, 0.25, 0.5])
    for first, second in itertools.product(range(5), repeat=2):
        point = x + shown.along[first] * g + shown.across[second] * across
        z = point.flatten(1) @ normal - 0.3
        expected = nn.functional.softplus(z)
        assert torch.allclose(shown.loss[:, first, second], expected, atol=1e-4)
        assert torch.equal(shown.prediction[:, first, second], (z > 0).long())


def test_a_plane_that_cannot_be_drawn(unchecked):
    model, x, y = small_network(), images(2), torch.tensor([0, 0])
    with pytest.raises(InputError, match="one of each"):
        loss_surface(model, x, y, x[:1], x, 0.5)
    for reach, points in ((0.0, 5), (0.5, 1)):
        with pytest.raises(InputError, match="positive reach"):
            loss_surface(model, x, y, x, x, reach, points=points)


# Unlike adversaries


def answers(*fractions, count=100):
    """Three networks: the second and third agree with the first on these fractions of images."""
    rows = [torch.zeros(count, dtype=torch.int64)]
    for number, fraction in enumerate(fractions, start=1):
        rows.append(torch.where(torch.arange(count) < round(fraction * count), 0, number))
    return torch.stack(rows)


def test_the_discrepancy_of_known_agreements():
    target = answers(0.9, 0.5)
    found = discrepancy([answers(0.6, 0.5), answers(0.9, 0.1)], target)
    assert found.each.tolist() == pytest.approx([0.3, 0.4])
    assert found.pairs.tolist() == [[0, 1], [0, 2]]
    assert found.value == pytest.approx(0.35)
    assert discrepancy([target], target).value == 0
    assert 0 < found.low < found.value
    scarce = discrepancy([answers(0.6, count=20)], answers(0.9, count=20))
    assert (scarce.value, scarce.low) == (pytest.approx(0.3), 0)  # twenty images tell nothing


def test_the_confident_part_is_hoeffdings():
    many = 10**5
    found = discrepancy([answers(0.6, count=many)], answers(0.9, count=many), confidence=0.9)
    margin = math.sqrt(math.log(2 / 0.05) / (2 * many))  # one pair, one source, two shares
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - 2 * margin)


def test_another_network_never_lowers_the_bound():
    few = discrepancy([answers(0.6)], answers(0.9))
    assert discrepancy([answers(0.6, 0.2)], answers(0.9, 0.9)).value >= few.value


def test_a_discrepancy_of_nothing(unchecked):
    one = answers()
    for sources, target in (([], answers(0.5)), ([one], one), ([one], answers(0.5))):
        with pytest.raises(InputError, match="at least two"):
            discrepancy(sources, target)
    with pytest.raises(InputError, match="without images"):
        discrepancy([answers(0.5, count=0)], answers(0.5))
    with pytest.raises(InputError, match="confidence"):
        discrepancy([answers(0.5)], answers(0.5), confidence=1.0)


def test_predictions_are_the_networks_own():
    models = {"a": small_network(seed=0), "b": small_network(seed=1)}
    x = images(7)
    found = predictions(models, x, batch_size=3)
    for row, model in zip(found, models.values(), strict=True):
        assert torch.equal(row, model(x).argmax(dim=1))


def test_what_a_noisy_network_answers_hangs_on_the_image_and_not_on_its_batch():
    noisy = {"noisy": nn.Sequential(GaussianNoise(3.0), small_network())}
    x, index = images(40), torch.arange(100, 140)
    whole = predictions(noisy, x, index=index)
    assert torch.equal(predictions(noisy, x[25:], index=index[25:]), whole[:, 25:])
    assert not torch.equal(predictions(noisy, x), whole)


# Gradients on the way


def test_the_norms_are_those_of_the_exact_gradient_at_every_iterate():
    model, normal = softplus_plane()
    x, y = images(4, margin=0.3), torch.zeros(4, dtype=torch.int64)
    attack = SecondOrder(L2(0.5), steps=3, sigma=0.5, samples=2, early_stop=False)
    seen = []
    x_adv = attack(model, x, y, callback=lambda step: seen.append(step.x))
    norms, returned = gradient_norms(model, x, y, attack)
    assert torch.equal(returned, x_adv)  # looking on changes nothing
    for row, at in zip(norms, [*seen, x_adv], strict=True):
        z = at.flatten(1) @ normal - 0.3
        assert torch.allclose(row, torch.sigmoid(z) * normal.norm(), atol=1e-5)


def test_an_image_that_fools_already_stays_in_the_mean():
    model, normal = softplus_plane()
    x, y = images(8, margin=0.2), torch.zeros(8, dtype=torch.int64)
    fooled = x.flatten(1) @ normal > 0.3
    assert 0 < int(fooled.sum()) < 8
    norms, x_adv = gradient_norms(model, x, y, PGD(Linf(0.05), steps=6, random_start=False))
    assert torch.equal(x_adv[fooled], x[fooled])
    assert norms.isfinite().all()
    assert torch.equal(norms[:, fooled], norms[:1, fooled].expand(len(norms), -1))
    z = x_adv.flatten(1) @ normal - 0.3
    assert torch.allclose(norms[-1], torch.sigmoid(z) * normal.norm(), atol=1e-5)
    assert (norms[-1] > norms[0])[~fooled].all()


def test_a_network_with_undeclared_dropout_is_attacked_as_without_a_look():
    class Forgotten(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = small_network()

        def forward(self, x):
            return self.inner(nn.functional.dropout(x, 0.3, training=True))

    model, x, y = Forgotten().eval(), images(3), torch.tensor([0, 1, 2])
    attack = PGD(Linf(0.1), steps=4, early_stop=False)
    assert torch.equal(gradient_norms(model, x, y, attack)[1], attack(model, x, y))


# Convergence


def test_the_margin_of_a_plane_is_exact_on_both_of_its_sides_and_beyond_the_box():
    x, y = images(6), torch.zeros(6, dtype=torch.int64)
    normal, mean = torch.ones(36) / 6, images(1)[0] / 2
    for offset in (2.5, 3.0, 7.0):  # within the images, and out of reach of the box, whose end is 6
        found = margins(two_class(normal, offset), x, y, mean=mean)
        distance = x.flatten(1) @ normal - offset
        assert torch.equal(found.right, distance < 0)
        assert found.crossed.all()
        assert torch.allclose(found.l2, 1.02 * distance.abs(), rtol=1e-3)  # 2 % beyond
        assert torch.allclose(found.relative, found.l2 / (x - mean).flatten(1).norm(dim=1))
    boxed = margins(two_class(normal, 7.0), x, y, box=True)
    assert not boxed.crossed.any()
    assert (boxed.l2 <= (1 - x).flatten(1).norm(dim=1) * (1 + 1e-5)).all()
    assert torch.allclose(boxed.relative, boxed.l2 / x.flatten(1).norm(dim=1))


def test_no_more_steps_are_counted_than_are_allowed_whether_or_not_they_cross():
    """The steps to where a parabola crosses 0 are Newton's, halving the way from 1 to 0.1."""

    def parabola(x):
        f = (x.flatten(1)[:, 0] - 0.1).square() - 1e-6
        return torch.stack([f, torch.zeros_like(f)], dim=1)

    x, y = torch.full((1, 1, 1, 1), 0.9), torch.tensor([0])
    first = margins(Wrapped(parabola), x, y, steps=1, overshoot=0.0)
    assert not first.crossed.any()
    assert float(first.l2) == pytest.approx(0.4, rel=1e-3)
    assert margins(Wrapped(parabola), x, y, steps=20).crossed.all()


def test_an_image_that_is_the_mean_has_no_relative_margin():
    x, y = images(2), torch.zeros(2, dtype=torch.int64)
    found = margins(two_class(torch.ones(36) / 6, 2.0), x, y, mean=x[0])
    assert found.relative.isnan().tolist() == [True, False]


def test_convergence_on_planes_that_move_away():
    """DeepFool's distance to a plane is exact, so ρ₂ is known."""
    x, y = images(6, margin=0.3), torch.zeros(6, dtype=torch.int64)
    normal = torch.ones(36) / 6
    offsets = {0: 3.5, 1: 4.0, 2: 4.5}
    networks = {k: two_class(normal, offsets[k]) for k in (2, 0, 1)}
    table = convergence(networks, x, y, batch_size=4)
    assert isinstance(table, pd.DataFrame)
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["accuracy"].tolist() == [1.0, 1.0, 1.0]
    for line in table.itertuples():
        distance = offsets[line.epoch] - x.flatten(1) @ normal
        expected = float((distance / x.flatten(1).norm(dim=1)).mean())
        assert line.rho2 == pytest.approx(expected, rel=0.03)  # DeepFool goes 2 % beyond
    wrong = convergence({0: two_class(normal, 0.0)}, x, y)
    assert wrong["accuracy"].tolist() == [0.0]
    assert wrong["rho2"].item() > 0  # the way back to the boundary counts too
    with pytest.raises(InputError, match="at least one"):
        convergence({}, x, y)
