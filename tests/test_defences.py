"""What every defence promises: it is what it declares, and its draws are keyed."""

import pytest
import torch
from torch import nn

from holdfast import defenses
from holdfast.attacks import PGD, Square, adaptive
from holdfast.declarations import is_stochastic, non_differentiable, purifiers
from holdfast.random import Stream, drawing_from
from holdfast.threat import Linf
from tests.budget import within
from tests.cases import DEFENCES
from tests.toys import images, small_network

each_defence = pytest.mark.parametrize("around", DEFENCES.values(), ids=DEFENCES)


def ask(model, x, seed=0, first=0):
    with drawing_from(Stream.of(seed, torch.arange(first, first + len(x)))):
        return model(x)


def test_every_exported_layer_has_a_case():
    found = {name: getattr(defenses, name) for name in defenses.__all__}
    kinds = {name for name, kind in found.items() if isinstance(kind, type)}
    assert {name for name in kinds if issubclass(found[name], nn.Module)} == set(DEFENCES)


@each_defence
def test_it_draws_if_and_only_if_it_says_so(around):
    model, x = around(small_network()).eval(), images(4)
    same = torch.equal(ask(model, x, seed=0), ask(model, x, seed=1))
    assert same == (not is_stochastic(model))


@each_defence
def test_an_example_does_not_depend_on_its_batch(around):
    model, x = around(small_network()).eval(), images(5)
    state = torch.get_rng_state()
    whole = ask(model, x)
    assert torch.allclose(ask(model, x[3:], first=3), whole[3:], atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


@each_defence
def test_its_gradient_is_there_unless_it_says_so(around):
    """What a gradient does not pass, or passes as 0, must be attacked by other means."""
    model, x = around(small_network()).eval(), images(4).requires_grad_()
    logits = ask(model, x)
    (grad,) = torch.autograd.grad(logits.square().sum(), x, allow_unused=True)
    passed = grad is not None and bool(grad.flatten(1).any(dim=1).all())
    assert passed or non_differentiable(model)


@each_defence
def test_what_purifies_brings_images_back(around):
    """It resembles the identity, by which BPDA replaces its gradient."""
    for layer in purifiers(around(small_network())):
        x = images(4).round()
        assert ask(layer, x).shape == x.shape
        assert float((ask(layer, x) - x).abs().mean()) < 0.25


@each_defence
@pytest.mark.parametrize(
    "attack", [PGD(Linf(0.1), steps=2), Square(Linf(0.1), queries=3)], ids=["pgd", "square"]
)
def test_every_attack_that_it_calls_for_can_be_run(around, attack):
    model, x = around(small_network()).eval(), images(3)
    variants = adaptive(attack, model, samples=2, votes=4)
    assert "plain" in variants or "bpda" in variants
    for variant in variants.values():
        assert within(variant(model, x, torch.tensor([0, 1, 2])), x, "linf", 0.1)
