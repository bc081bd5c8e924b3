"""Shifts and mirror images before an objective."""

import pytest
import torch

from holdfast.errors import InputError
from holdfast.random import Stream
from holdfast.training import Augmented, Standard
from tests.toys import images


def stream(count, seed=0):
    return Stream.of(seed, torch.arange(count)).fold("train", 0)


def shifted(image, down, right):
    moved = torch.zeros_like(image)
    height, width = image.shape[1:]
    for row in range(height):
        for column in range(width):
            if 0 <= row + down < height and 0 <= column + right < width:
                moved[:, row, column] = image[:, row + down, column + right]
    return moved


def test_what_comes_out_is_some_shift_of_the_image_or_of_its_mirror_image():
    x = images(40, (2, 5, 6))
    moved = Augmented(objective=Standard(), shift=2, flip=True).moved(x, stream(40))
    seen = set()
    for image, outcome in zip(x, moved, strict=True):
        found = [
            (mirror, down, right)
            for mirror in (False, True)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(shifted(image.flip(-1) if mirror else image, down, right), outcome)
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 15
    assert {place[0] for place in seen} == {False, True}
    assert {place[1] for place in seen} == {place[2] for place in seen} == {-2, -1, 0, 1, 2}


def test_a_draw_is_the_examples_whatever_the_batch():
    x, augmented = images(10, (1, 4, 4)), Augmented(objective=Standard(), shift=1, flip=True)
    together = augmented.moved(x, stream(10))
    index = torch.tensor([7, 3])
    alone = augmented.moved(x[index], stream(10).take(index))
    assert torch.equal(alone, together[index])
    assert not torch.equal(augmented.moved(x, stream(10, seed=1)), together)


def test_the_objective_gets_the_images_that_were_moved():
    x, y, seen = images(6, (1, 4, 4)), torch.zeros(6, dtype=torch.int64), []

    def objective(model, x, y, rng):
        seen.append((x, rng))
        return x.sum(), {}

    augmented = Augmented(objective=objective, shift=3)
    augmented(torch.nn.Flatten(), x, y, stream(6))
    ((moved, rng),) = seen
    assert torch.equal(moved, augmented.moved(x, stream(6).fold("augment")))
    assert torch.equal(rng.uniform((3,)), stream(6).uniform((3,)))
    assert torch.equal(Augmented(objective=objective).moved(x, stream(6)), x)


def test_a_shift_leaves_something_of_the_image():
    with pytest.raises(InputError, match="shift is -1"):
        Augmented(objective=Standard(), shift=-1)
    x = images(2, (1, 5, 4))
    Augmented(objective=Standard(), shift=3).moved(x, stream(2))
    with pytest.raises(InputError, match="shift is 4, but images of 5 x 4"):
        Augmented(objective=Standard(), shift=4).moved(x, stream(2))
