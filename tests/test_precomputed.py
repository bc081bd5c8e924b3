import math

import pytest
import torch
from torch.nn import functional

from holdfast import data
from holdfast.attacks import DeepFool
from holdfast.errors import InputError, OutputError
from holdfast.progress import Progress
from holdfast.random import Stream
from holdfast.results import read_rows
from holdfast.tensors import fingerprint, norm
from holdfast.threat import L2
from holdfast.training import Augmented, adversarial_training_1, hold_out, precompute
from tests.digits import digits_network
from tests.toys import random_linear

ATTACK = DeepFool(L2(math.inf))


def some(count=40):
    return data.load("digits", "train", limit=count)


class StopHereError(Exception):
    pass


class Stop(Progress):
    """Breaks off when the second chunk is done."""

    def __init__(self):
        self.left = 2

    def advance(self, count=1, note=""):
        self.left -= 1
        if self.left == 0:
            raise StopHereError


def test_the_examples_are_those_of_the_attack_on_each_image():
    reference, images = digits_network(), some()
    made = precompute(ATTACK, reference, images, batch_size=16)
    x, y = images.x(torch.arange(40)), images.y
    expected = ATTACK(reference, x, y)
    place = torch.tensor([31, 2, 17])
    other = random_linear(10, 64)  # the model in training plays no part
    found = made.perturb(other, x[place], y[place], Stream.of(5, place).fold("attack"))
    assert torch.allclose(found, expected[place], atol=1e-5)
    assert (found != x[place]).flatten(1).any(dim=1).all()


def test_adv_train_1_is_the_cross_entropy_on_the_fixed_examples():
    reference, images = digits_network(), some()
    objective = adversarial_training_1(reference, images)
    model, place = random_linear(10, 64), torch.tensor([3, 0, 11])
    x, y = images.x(place), images.y[place]
    x_adv = ATTACK(reference, x, y)
    loss, _ = objective(model, x, y, Stream.of(0, place))
    assert torch.allclose(loss, functional.cross_entropy(model(x_adv), y), atol=1e-4)
    mixed = adversarial_training_1(reference, images, weight=0.25)
    clean = functional.cross_entropy(model(x), y)
    assert torch.allclose(
        mixed(model, x, y, Stream.of(0, place))[0], 0.75 * clean + 0.25 * loss, atol=1e-4
    )


def test_the_record_names_reference_data_and_attack_and_holds_no_images():
    reference, images = digits_network(), some(8)
    text = repr(adversarial_training_1(reference, images))
    for part in (fingerprint(reference), images.fingerprint(), "DeepFool(", "seed=0"):
        assert part in text
    assert "tensor" not in text


def test_an_interrupted_set_ends_as_an_unbroken_one(tmp_path):
    reference, images = digits_network(), some()
    whole = precompute(ATTACK, reference, images, batch_size=16)
    with pytest.raises(StopHereError):
        precompute(ATTACK, reference, images, batch_size=16, out=tmp_path / "set", progress=Stop())
    calls = []
    handle = reference.register_forward_hook(lambda *_: calls.append(1))
    resumed = precompute(ATTACK, reference, images, batch_size=16, out=tmp_path / "set")
    first = len(calls)
    again = precompute(ATTACK, reference, images, batch_size=16, out=tmp_path / "set")
    handle.remove()
    assert first > 2
    assert len(calls) == first + 2  # a finished set is read; the reference is asked who it is
    assert torch.equal(resumed.examples, whole.examples)
    assert torch.equal(again.examples, whole.examples)
    assert repr(again) == repr(whole)
    rows = read_rows(tmp_path / "set")
    x = images.x(torch.arange(40))
    assert rows["l2"].tolist() == pytest.approx(norm(again.examples - x, 2).tolist(), rel=1e-5)
    with pytest.raises(OutputError, match="reference"):
        precompute(ATTACK, random_linear(10, 64), images, batch_size=16, out=tmp_path / "set")


def test_misclassified_images_stay_as_they_are():
    reference, images = digits_network(), some(12)
    wrong = data.Data.of(images.x(torch.arange(12)), (images.y + 1) % 10)
    right = reference(wrong.x(torch.arange(12))).argmax(dim=1) == wrong.y
    assert not right.all()
    made = precompute(ATTACK, reference, wrong)
    assert torch.equal(made.examples[~right], wrong.x(torch.arange(12))[~right])


def test_an_image_has_its_own_example_in_a_part_of_the_data_too():
    """As where images are held out, which moves the others to other places."""
    reference, images = digits_network(), some()
    made = precompute(ATTACK, reference, images)
    part, _ = hold_out(images, 10, seed=0)
    place = torch.arange(len(part))
    found = made.perturb(reference, part.x(place), part.y, Stream.of(0, place))
    whole = images.x(torch.arange(40))
    for x, x_adv in zip(part.x(place), found, strict=True):
        (own,) = (whole == x).flatten(1).all(dim=1).nonzero()
        assert torch.equal(x_adv, made.examples[own[0]])


def test_images_that_are_moved_at_random_are_refused():
    """Their examples would be those of the images as they were."""
    reference, images = digits_network(), some(8)
    objective = Augmented(objective=adversarial_training_1(reference, images), flip=True)
    place = torch.arange(8)
    with pytest.raises(
        InputError, match=r"none of \d of 8 images; .* neither shifted nor mirrored"
    ):
        objective(reference, images.x(place), images.y, Stream.of(0, place))


def test_other_data_is_refused():
    made = precompute(ATTACK, digits_network(), some(8))
    x, y = some(9).x(torch.tensor([8])), torch.tensor([0])
    with pytest.raises(InputError, match="8 precomputed examples, but none of 1 of 1 images"):
        made.perturb(digits_network(), x, y, Stream.of(0, torch.tensor([0])))
    with pytest.raises(InputError, match=r"images \(1, 4, 4\)"):
        made.perturb(digits_network(), x[..., :4, :4], y, Stream.of(0, torch.tensor([0])))
