import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from holdfast import Linf, goals, losses
from holdfast.attacks import PGD, Square
from holdfast.errors import InputError, InputTypeError
from tests.toys import Wrapped, images, random_linear, small_network


@st.composite
def logits_and_labels(draw):
    classes = draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    logits = scale * torch.randn(5, classes, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (5,), generator=generator)
    target = (y + 1 + torch.randint(classes - 1, (5,), generator=generator)) % classes
    return logits, y, target


@given(logits_and_labels())
def test_losses_are_their_formulas(situation):
    logits, y, target = situation
    for i, (z, k, t) in enumerate(zip(logits.tolist(), y.tolist(), target.tolist(), strict=True)):
        others = [value for j, value in enumerate(z) if j != k]
        ordered = sorted(z, reverse=True)
        assert float(losses.margin(logits, y)[i]) == pytest.approx(max(others) - z[k])
        assert float(losses.cross_entropy(logits, y)[i]) == pytest.approx(
            float(-logits[i].log_softmax(0)[k])
        )
        beside = [value for j, value in enumerate(z) if j != t]
        assert float(losses.towards_margin(logits, y, target)[i]) == pytest.approx(
            z[t] - max(beside)
        )
        if len(z) >= 3:
            assert float(losses.dlr(logits, y)[i]) == pytest.approx(
                -(z[k] - max(others)) / (ordered[0] - ordered[2])
            )
        if len(z) >= 4:
            assert float(losses.towards_dlr(logits, y, target)[i]) == pytest.approx(
                -(z[k] - z[t]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)
            )


@given(logits_and_labels())
def test_losses_rise_as_the_attacker_gains(situation):
    """Taking from the label, or giving to the target, never lowers a loss."""
    logits, y, target = situation
    worse = logits.scatter_add(1, y[:, None], torch.full((5, 1), -0.1, dtype=logits.dtype))
    closer = logits.scatter_add(1, target[:, None], torch.full((5, 1), 0.1, dtype=logits.dtype))
    for loss in (losses.cross_entropy, losses.margin):
        assert (loss(worse, y) >= loss(logits, y)).all()
    for loss in (losses.towards_cross_entropy, losses.towards_margin):
        assert (loss(closer, y, target) >= loss(logits, y, target)).all()


def test_a_clipped_cross_entropy_is_deaf_where_the_model_is_sure():
    """As MALADE's networks, which end in a softmax, would hear it in Keras."""
    logits = torch.tensor([[40.0, 0.0], [2.0, 0.0], [0.0, 40.0]], dtype=torch.float64)
    logits.requires_grad_()
    y = torch.tensor([0, 0, 0])
    loss = losses.clipped_cross_entropy(logits, y)
    usual = losses.cross_entropy(logits, y)[1]
    assert loss.tolist() == pytest.approx([1e-7, usual.item(), -math.log(1e-7)])
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    assert grad.any(dim=1).tolist() == [False, True, False]


@given(logits_and_labels(), st.sampled_from([-1e3, 7.0]))
def test_a_constant_added_to_all_logits_changes_nothing(situation, constant):
    logits, y, target = situation
    for loss in (losses.cross_entropy, losses.margin):
        assert torch.allclose(loss(logits + constant, y), loss(logits, y), atol=1e-9)
    assert torch.allclose(
        losses.towards_dlr(logits + constant, y, target),
        losses.towards_dlr(logits, y, target),
        rtol=1e-6,
    )


@given(logits_and_labels())
def test_dlr_does_not_depend_on_the_logits_scale(situation):
    logits, y, target = situation
    if logits.shape[1] >= 3:
        assert torch.allclose(losses.dlr(1e4 * logits, y), losses.dlr(logits, y), rtol=1e-9)
        assert torch.allclose(
            losses.towards_dlr(1e4 * logits, y, target), losses.towards_dlr(logits, y, target)
        )


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_give_finite_losses_and_gradients(classes):
    logits = torch.tensor([[1.0] * classes, [2.0] + [0.0] * (classes - 1)], requires_grad=True)
    y, target = torch.tensor([0, 0]), torch.tensor([1, 1])
    for value in (losses.dlr(logits, y), losses.towards_dlr(logits, y, target)):
        assert value.isfinite().all()
        (grad,) = torch.autograd.grad(value[1], logits, retain_graph=True)
        assert grad.isfinite().all()
    # With two classes the quotient would be constant; what is left must still ascend.
    if classes == 2:
        assert torch.equal(losses.dlr(logits, y), losses.margin(logits, y))


def test_reached_says_what_the_model_says():
    model, x = small_network(), images(12)
    prediction = model(x).argmax(dim=1)
    y = prediction.clone()
    y[:4] = (y[:4] + 1) % 4
    assert torch.equal(goals.margin(model, x, y)(x).reached, prediction != y)
    reached = goals.toward(2)(model, x, y)(x).reached
    assert torch.equal(reached, prediction == 2)


def test_reached_is_a_matter_of_equality_for_every_two_classes():
    """A class is left where any other is predicted, be it before or after it."""
    predicted, y = (
        each.flatten() for each in torch.meshgrid(*[torch.arange(4)] * 2, indexing="ij")
    )
    x = torch.eye(4)[predicted].view(-1, 1, 2, 2)
    model, other = nn.Flatten(), (y + 1) % 4
    leave = goals.LeaveToward(losses.towards_margin)
    assert torch.equal(goals.margin(model, x, y)(x).reached, predicted != y)
    assert torch.equal(leave(model, x, y, other)(x).reached, predicted != y)
    assert torch.equal(goals.toward(y)(model, x, other)(x).reached, predicted == y)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_logits_have_32_bits_at_least(given, found):
    x = images(3)
    logits = goals.logits_of(Wrapped(lambda x: x.flatten(1)[:, :4].to(given)), x)
    assert logits.dtype == found
    assert torch.equal(logits, x.flatten(1)[:, :4].to(given).to(found))


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_a_penalty_may_weigh_anything_from_nothing_on(weight):
    model, x, y = small_network(), images(3), torch.zeros(3, dtype=torch.int64)
    goal = goals.Minus(goals.margin, weight, goals.reconstruction_error(torch.zeros_like))
    whole, bare = goal(model, x, y)(x), goals.margin(model, x, y)(x)
    assert torch.allclose(whole.value, bare.value - weight * x.flatten(1).square().sum(dim=1))
    assert torch.equal(whole.reached, bare.reached)


def test_take_is_the_score_of_the_chosen_examples_repeats_allowed():
    model, x, y = small_network(), images(6), torch.arange(6) % 4
    for goal in (
        goals.dlr,
        goals.toward_least_likely,
        goals.toward(torch.tensor([3, 2, 1, 0, 3, 2])),
    ):
        score = goal(model, x, y)
        chosen = torch.tensor([5, 0, 0, 3])
        assert torch.allclose(score.take(chosen)(x[chosen]).value, score(x).value[chosen])


def test_the_least_likely_class_is_fixed_on_the_clean_image():
    model, x, y = random_linear(5, 36), images(7), torch.zeros(7, dtype=torch.int64)
    score = goals.toward_least_likely(model, x, y)
    least = model(x).argmin(dim=1)
    elsewhere = images(7, seed=9)
    assert torch.equal(
        score(elsewhere).value, losses.towards_cross_entropy(model(elsewhere), y, least)
    )


def test_against_prediction_never_sees_the_label():
    model, x = small_network(), images(8)
    prediction = model(x).argmax(dim=1)
    goal = goals.AgainstPrediction(goals.cross_entropy)
    for y in (prediction, (prediction + 1) % 4):
        assert torch.equal(goal(model, x, y)(x).value, losses.cross_entropy(model(x), prediction))


def test_as_many_targets_as_images():
    model, x, y = small_network(), images(3), torch.zeros(3, dtype=torch.int64)
    for count in (1, 2, 4):
        with pytest.raises(InputError, match=f"{count} targets for 3 images"):
            goals.toward(torch.ones(count, dtype=torch.int64))(model, x, y)


@pytest.mark.parametrize("target", [4, torch.tensor([0, 1, 7])])
def test_a_target_that_is_no_class_is_told(target):
    model, x, y = small_network(), images(3), torch.zeros(3, dtype=torch.int64)
    with pytest.raises(InputError, match=r"target \d is \d, but the model has 4 classes"):
        PGD(Linf(0.1), steps=1, goal=goals.toward(target))(model, x, y)


def test_a_loss_gives_one_number_for_each_image():
    """A mean would let Square judge an image by the others of its batch, and others fail oddly."""
    model, x, y = small_network(), images(3), torch.zeros(3, dtype=torch.int64)
    mean = goals.Untargeted(nn.functional.cross_entropy)
    column = goals.FromClean(lambda logits, clean: (logits - clean).amax(dim=1, keepdim=True))
    for goal, shape in (
        (mean, r"cross_entropy gave shape \(\)"),
        (goals.Toward(lambda model, x0, y: y, lambda z, y, t: z.sum(), "mine"), r"shape \(\)"),
        (column, r"shape \(3, 1\)"),
        (goals.Minus(goals.margin, 1.0, lambda x: x.mean()), r"shape \(\)"),
    ):
        with pytest.raises(InputError, match=rf'{shape} for 3 images, .* reduction="none"'):
            Square(Linf(0.1), queries=2, goal=goal)(model, x, y)


@pytest.mark.parametrize("target", [-1, 0.7, torch.tensor([0.0, 1.7]), True])
@pytest.mark.usefixtures("unchecked")
def test_a_target_is_a_number_of_a_class(target):
    with pytest.raises((InputError, InputTypeError), match="target "):
        goals.toward(target)


def test_goals_are_recorded_by_name():
    assert repr(goals.margin) == "margin"
    assert repr(goals.toward_least_likely) == "toward_least_likely[towards_cross_entropy]"
    assert repr(goals.toward(2)) == "toward(2)[towards_cross_entropy]"
    assert repr(goals.toward(torch.tensor([1, 2]))).startswith("toward(tensor[2]:")
    assert repr(goals.AgainstPrediction(goals.dlr)) == "AgainstPrediction(goal=dlr)"
