import math
import sys
import types
from dataclasses import replace

import pytest
import torch

from holdfast import goals, losses
from holdfast.attacks import CarliniWagner, against_randomness
from holdfast.attacks.engine.penalty_search import PenaltySearch
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.gradients import Average
from holdfast.threat import L2, Linf
from tests.budget import last_look
from tests.digits import trained
from tests.toys import Plateau, Saturated, images, small_network

FREE = L2(math.inf)
SHORT = CarliniWagner(FREE, steps=30, searches=5, step_size=0.1)


def median_of_fooling(model, x, y, x_adv):
    """Of the points that fool; black images, by which foolbox marks failure, do not count."""
    fooled = (model(x_adv).argmax(dim=1) != y) & x_adv.flatten(1).any(dim=1)
    return FREE.distance(x_adv, x)[fooled].median()


def test_nothing_closer_is_found_by_the_peers_with_as_many_calls(monkeypatch):
    foolbox = pytest.importorskip("foolbox")
    monkeypatch.setitem(sys.modules, "visdom", types.ModuleType("visdom"))
    adv_lib = pytest.importorskip("adv_lib.attacks")
    model, x, y = trained()
    steps, step_size = 50, 0.1
    ours = CarliniWagner(FREE, steps=steps, step_size=step_size, abort_early=False)(model, x, y)
    assert (model(ours).argmax(dim=1) != y).all()
    theirs, *_ = foolbox.attacks.L2CarliniWagnerAttack(
        steps=steps, stepsize=step_size, abort_early=False
    )(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=None)
    authors = adv_lib.carlini_wagner_l2(
        model, x, y, max_iterations=steps, learning_rate=step_size, abort_early=False
    )
    median = FREE.distance(ours, x).median()
    assert median <= median_of_fooling(model, x, y, theirs)
    assert median <= median_of_fooling(model, x, y, authors)


def test_pixels_at_0_and_1_move():
    model, x, _ = trained()
    x = x.round()
    y = model(x).argmax(dim=1)
    x_adv = SHORT(model, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()
    inside = SHORT(model, x.clamp(0.01, 0.99), y)
    ratio = FREE.distance(x_adv, x).median() / FREE.distance(inside, x).median()
    assert 0.95 < ratio < 1.05


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_scale_of_the_logits_plays_no_part(scale):
    """A fixed first c would never come up to 1e6, nor down to 1e-6, in five searches."""
    model, x, y = trained()
    scaled = SHORT(Saturated(model, scale), x, y)
    assert torch.allclose(FREE.distance(scaled, x), FREE.distance(SHORT(model, x, y), x), rtol=0.03)


def test_a_given_first_c_is_where_all_images_begin():
    """As MALADE's 100 and 0.01 (B.1.3, B.1.4); with one search it is the only one."""
    model, x, y = trained()
    weak, strong = (replace(SHORT, searches=1, c=c)(model, x, y) for c in (1e-6, 100.0))
    assert torch.equal(weak, x)
    assert (model(strong).argmax(dim=1) != y).all()
    with pytest.raises(InputError, match=r"c is 0\.0"):
        replace(SHORT, c=0.0)


def test_confidence_is_kept_and_paid_for():
    model, x, y = trained()
    near, far = (replace(SHORT, confidence=kappa)(model, x, y) for kappa in (0.0, 3.0))
    assert (losses.margin(model(near), y) > 0).all()
    assert (losses.margin(model(far), y) > 3.0 - 1e-4).all()
    assert (FREE.distance(far, x) > FREE.distance(near, x)).all()


def test_targets_are_reached():
    model, x, y = trained()
    goal = goals.toward((y + 3) % 10, losses.towards_margin)
    x_adv = replace(SHORT, goal=goal)(model, x, y)
    assert (model(x_adv).argmax(dim=1) == (y + 3) % 10).all()


def test_the_number_of_calls():
    model, x, y = trained()
    counted = Counted(model, torch.arange(len(x)))
    x_adv = replace(SHORT, abort_early=False)(counted, x, y)
    fooled = model(x_adv).argmax(dim=1) != y
    assert last_look(counted.forwards - (1 + 5 * 30), fooled)
    assert (counted.backwards == 1 + 5 * 30).all()
    aborting = Counted(model, torch.arange(len(x)))
    SHORT(aborting, x, y)
    assert (aborting.forwards <= counted.forwards).all()
    assert aborting.forwards.unique().numel() > 1  # each image by itself
    wrong = Counted(model, torch.arange(len(x)))
    assert torch.equal(SHORT(wrong, x, (y + 1) % 10), x)
    assert (wrong.forwards == 1).all()


def test_early_stop_saves_calls_and_fools_the_same_images():
    model, x, y = trained()
    attack = replace(SHORT, threat=L2(0.4))
    counted = Counted(model, torch.arange(len(x)))
    fooled = model(attack(model, x, y)).argmax(dim=1) != y
    stopped = replace(attack, early_stop=True)(counted, x, y)
    assert torch.equal(model(stopped).argmax(dim=1) != y, fooled)
    assert torch.equal(stopped[~fooled], x[~fooled])
    assert 0 < int(fooled.sum()) < len(x)
    assert counted.forwards[fooled].max() < counted.forwards[~fooled].min()


def test_an_image_is_aborted_by_itself():
    """Images beside it that still improve, or do not, change nothing: same calls, same result."""
    model, x = small_network(), images(3)
    y = model(x).argmax(dim=1)
    counted = Counted(model, torch.arange(3))
    whole = SHORT(counted, x, y)
    alone = Counted(model, torch.arange(3))
    for i in range(3):
        one = SHORT(alone, x[i : i + 1], y[i : i + 1], index=torch.tensor([i]))
        assert torch.allclose(one, whole[i : i + 1], atol=1e-4)
    assert torch.equal(alone.forwards, counted.forwards)


def test_the_second_order_gradient_leaves_a_plateau():
    """A planted weakness: the gradient at the image is exactly 0 (STN section 6.2)."""
    x = torch.full((8, 1, 1, 2), 0.5)
    model, y = Plateau(torch.tensor(0.5), width=0.1), torch.zeros(8, dtype=torch.int64)
    assert torch.equal(SHORT(model, x, y), x)
    x_adv = replace(SHORT, gradient=Average(samples=10, noise=0.2))(model, x, y)
    assert (model(x_adv).argmax(dim=1) != y).all()
    assert (FREE.distance(x_adv, x) < 0.25).all()  # the boundary is at 0.2


def test_it_survives_expectation_over_transformation():
    assert against_randomness(replace(SHORT, early_stop=True), 5) == replace(
        SHORT, gradient=Average(samples=5)
    )


def test_the_search_closes_in_on_the_smallest_constant_that_succeeds():
    model, x = small_network(), images(4)
    y = model(x).argmax(dim=1)
    needed = torch.tensor([3e-3, 0.7, 1.0, 4e4], dtype=torch.float64)
    tried = []

    class Needing(PenaltySearch):
        def first_c(self, first):
            return torch.tensor([1.0, torch.nan, torch.inf, 1.0], dtype=torch.float64)

        def begin(self, x0):
            return None

        def minimize(self, at, closest, number, callback):
            tried.append(at.c)
            return at.c >= needed[at.position]

        descend = distortion = None

    Needing(FREE, searches=14)(model, x, y)
    tried = torch.stack(tried)
    assert torch.equal(tried[0], torch.ones(4, dtype=torch.float64))
    found = torch.where(tried >= needed, tried, torch.inf).amin(dim=0)
    assert (found / needed < 1.05).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_fools_as_many(dtype):
    shape = (1, 12, 12)
    model, x = small_network(shape).to(dtype), images(4, shape, margin=0.05).to(dtype)
    y = small_network(shape)(x.float()).argmax(dim=1)
    found = CarliniWagner(L2(0.9), steps=30, searches=2)(model, x, y)
    assert found.dtype == dtype
    assert (found != x).flatten(1).any(dim=1).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: CarliniWagner(Linf(0.1)),
        lambda: CarliniWagner(FREE, steps=0),
        lambda: CarliniWagner(FREE, searches=0),
        lambda: CarliniWagner(FREE, step_size=0.0),
        lambda: CarliniWagner(FREE, confidence=-1.0),
    ],
)
def test_parameters(make):
    with pytest.raises(InputError):
        make()
