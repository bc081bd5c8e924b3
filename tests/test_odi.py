"""ODI: it begins where the network answers differently."""

import pytest
import torch

from holdfast.attacks import APGD, ODI
from holdfast.counting import Counted
from holdfast.errors import InputError
from holdfast.goals import margin
from holdfast.threat import Linf
from tests.toys import Wrapped


def valley(x):
    """The margin climbs towards brighter images, never far enough, and beyond a valley to a
    boundary among the darker; a third class, out of reach, answers to the brightness alone."""
    s = x.flatten(1).mean(dim=1) - 0.5
    near, far = 0.5 * (s - 0.4) - 0.1, 10 * (-0.25 - s)
    rival = torch.where(s > -0.2, near, far)
    return torch.stack([torch.zeros_like(s), rival, -30 - 50 * s], dim=1)


GREY, ZEROS = torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.int64)


def test_it_crosses_a_valley_that_ascents_from_random_pixels_do_not():
    model = Wrapped(valley)
    random = APGD(Linf(0.4), steps=20, restarts=10, goal=margin)(model, GREY, ZEROS)
    assert (model(random).argmax(dim=1) == 0).all()
    diverse = ODI(Linf(0.4), steps=20, restarts=12)(model, GREY, ZEROS)
    assert (model(diverse).argmax(dim=1) == 1).all()


def test_images_do_not_share_their_mixes_and_rows_do_not_hang_on_the_batch():
    model, index = Wrapped(valley), torch.arange(8)
    attack = ODI(Linf(0.4), steps=5, restarts=1)
    whole = attack(model, GREY, ZEROS, index=index)
    fell = model(whole).argmax(dim=1) == 1
    assert 0 < int(fell.sum()) < 8
    parts = [attack(model, GREY[i], ZEROS[i], index=index[i]) for i in index.split(3)]
    assert torch.equal(torch.cat(parts), whole)


def test_what_it_costs():
    counted = Counted(
        Wrapped(lambda x: x.flatten(1)[:, :3] + torch.tensor([99.0, 0, 0])), torch.arange(8)
    )
    ODI(Linf(0.1), steps=4, restarts=3, mixing=2)(counted, GREY, ZEROS)
    runs = 3 * (2 + 4 + 1)
    assert int(counted.backwards.sum()) == 8 * runs
    assert int(counted.forwards.sum()) == 8 * (runs + 1 + 2)  # the classes, and two looks between


def test_no_steps_along_a_mix_are_refused():
    with pytest.raises(InputError, match="mixing"):
        ODI(Linf(0.1), mixing=0)
