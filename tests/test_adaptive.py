import copy

import pytest
import torch
from torch import nn

from holdfast import EvaluationConfig, attacks, evaluate, goals, losses
from holdfast.attacks import (
    BPDA,
    PGD,
    EachTarget,
    On,
    Restarts,
    Worst,
    adaptive,
    against_randomness,
    regularize,
)
from holdfast.attacks.bpda import Bridge, identity_gradients, through_identity
from holdfast.counting import Counted
from holdfast.declarations import (
    is_stochastic,
    non_differentiable,
    purifiers,
    reconstruction_of,
)
from holdfast.defenses import GaussianNoise, StraightThrough
from holdfast.errors import GradientError, InputError, ModelError
from holdfast.goals import Minus
from holdfast.gradients import Average, Forward, autograd
from holdfast.random import Stream, drawing_from
from holdfast.threat import L2, Linf
from holdfast.votes import Vote
from tests.toys import Wrapped, images, random_linear, small_network


class Threshold(nn.Module):
    """Binarisation; cuts off every gradient."""

    differentiable = False

    def forward(self, x):
        return (x > 0.5).to(x.dtype)


class Halving(nn.Module):
    """A purifier that pulls towards 0, with a reconstruction of its own."""

    purifies = True

    def __init__(self, reconstruction=None):
        super().__init__()
        self.reconstruction = reconstruction

    def forward(self, x):
        return 0.5 * x


class Turned(Halving):
    """A purifier that changes no image, whose gradient points the other way."""

    def forward(self, x):
        return 2 * x.detach() - x


R_OF_TWO_WEIGHTS = ("r-bpda(0.0)", "r(0.0)", "r-bpda(0.5)", "r(0.5)")


def pair(*layers):
    return nn.Sequential(*layers, small_network()).eval()


class TestDeclarations:
    def test_they_are_found_anywhere(self):
        noise, threshold, halving = GaussianNoise(0.1), Threshold(), Halving()
        model = pair(nn.Sequential(nn.Sequential(noise), threshold), halving, threshold)
        assert is_stochastic(model)
        assert non_differentiable(model) == [threshold]
        assert purifiers(model) == [halving]
        assert reconstruction_of(halving) is halving
        other = Halving(nn.Identity())
        assert reconstruction_of(other) is other.reconstruction
        plain = small_network()
        assert not is_stochastic(plain)
        assert non_differentiable(plain) == purifiers(plain) == []

    def test_a_layer_speaks_for_what_it_holds(self):
        fixed = pair(GaussianNoise(0.1))
        fixed.stochastic = False
        assert not is_stochastic(nn.Sequential(fixed))
        assert non_differentiable(pair(StraightThrough(Threshold()))) == []


class TestStraightThrough:
    def test_forward_of_the_layer_and_backward_of_the_surrogate(self):
        x = images(3).requires_grad_()
        for layer, slope in (
            (StraightThrough(Threshold()), 1),
            (StraightThrough(Threshold(), lambda x: 3 * x), 3),
        ):
            value = layer(x)
            assert torch.equal(value, Threshold()(x))
            weights = images(3, seed=1)
            (grad,) = torch.autograd.grad((weights * value).sum(), x)
            assert torch.allclose(grad, slope * weights)

    def test_the_value_is_exact_in_any_precision(self):
        for dtype in (torch.bfloat16, torch.float32, torch.float64):
            x = images(3).to(dtype)
            layer = StraightThrough(Wrapped(lambda x: x * 1e-20 + 1))
            assert torch.equal(layer(x), x * 1e-20 + 1)

    def test_all_class_gradients_pass_at_once(self):
        model = nn.Sequential(StraightThrough(Threshold()), random_linear(3, 36))
        grad = Forward(model, images(2)).gradients()
        assert torch.allclose(grad.flatten(2), model[1].weight.expand(2, -1, -1))

    def test_shapes_must_agree(self):
        with pytest.raises(ModelError, match=r"\(3, 36\).*\(3, 1, 6, 6\)"):
            StraightThrough(nn.Flatten())(images(3))


class TestBPDA:
    def test_it_attacks_what_has_no_gradient(self):
        model, x = pair(Threshold()), images(30)
        y = model(x).argmax(dim=1)
        with pytest.raises(GradientError, match="BPDA"):
            PGD(Linf(0.3))(model, x, y)
        x_adv = BPDA(PGD(Linf(0.3), steps=20))(model, x, y)
        noise = PGD(Linf(0.3), steps=1, step_size=0.0)(Wrapped(model[1]), x, y)
        broken = (model(x_adv).argmax(dim=1) != y).sum()
        assert broken > 20
        assert broken > (model(noise).argmax(dim=1) != y).sum() + 5

    def test_it_is_the_attack_on_the_model_with_straight_through_layers(self):
        x, y = images(8), torch.zeros(8, dtype=torch.int64)
        network = small_network()
        attack = PGD(L2(1.0), steps=5, early_stop=False)
        by_hand = attack(nn.Sequential(StraightThrough(Threshold()), network).eval(), x, y)
        assert torch.equal(BPDA(attack)(nn.Sequential(Threshold(), network).eval(), x, y), by_hand)

    def test_the_model_is_itself_again_and_its_calls_are_counted(self):
        model, x, y = pair(Threshold()), images(3), torch.tensor([0, 1, 2])
        counted = Counted(model, torch.arange(3))
        BPDA(PGD(Linf(0.1), steps=4, early_stop=False))(counted, x, y)
        assert counted.forwards.tolist() == counted.backwards.tolist() == [4] * 3
        assert "forward" not in vars(model[0])
        assert not model(x.clone().requires_grad_()).detach().isnan().any()
        with pytest.raises(GradientError):
            PGD(Linf(0.1))(model, x, y)

    def test_the_model_is_itself_again_when_an_attack_raises(self):
        model = pair(Threshold(), Wrapped(lambda x: x.detach()))
        with pytest.raises(GradientError):
            BPDA(PGD(Linf(0.1)))(model, images(2), torch.tensor([0, 1]))
        assert "forward" not in vars(model[0])

    def test_it_keeps_nothing_of_what_happens_inside_the_layer(self):
        layer = nn.Conv2d(1, 1, 3, padding=1)
        model, seen = pair(layer), []
        layer.purifies = True
        x = images(2).requires_grad_()
        with (
            identity_gradients(layer),
            torch.autograd.graph.saved_tensors_hooks(seen.append, lambda _: None),
        ):
            assert torch.equal(
                layer(x), nn.functional.conv2d(x, layer.weight, layer.bias, padding=1)
            )
            assert len(seen) == 2  # of the convolution that this test computes itself
            (grad,) = torch.autograd.grad(model[0](x).sum(), x)
        assert torch.equal(grad, torch.ones_like(x))

    def test_a_layer_that_changes_shape_wants_a_surrogate_of_its_own(self):
        layer = nn.AvgPool2d(2)
        layer.differentiable = False
        model = nn.Sequential(layer, random_linear(3, 9)).eval()
        with pytest.raises(ModelError, match="surrogate"):
            BPDA(PGD(Linf(0.1)))(model, images(2), torch.tensor([0, 1]))


class TestAdaptive:
    attack = PGD(Linf(0.1), steps=3)

    def test_a_plain_model_calls_for_the_attack_alone(self):
        assert adaptive(self.attack, small_network()) == {"plain": self.attack}

    def test_randomness(self):
        variants = adaptive(self.attack, pair(GaussianNoise(0.1)), samples=7)
        assert variants == {"plain": against_randomness(self.attack, 7)}
        assert variants["plain"].gradient == Average(samples=7)

    def test_no_gradient(self):
        assert adaptive(self.attack, pair(Threshold())) == {"bpda": BPDA(self.attack)}

    def test_a_purifier(self):
        layer = Halving()
        variants = adaptive(self.attack, pair(layer), weights=(2.0,))
        assert list(variants) == ["plain", "bpda", "r"]
        assert variants["plain"] == self.attack
        assert variants["bpda"] == BPDA(self.attack)
        goal = variants["r"].goal
        assert isinstance(goal, Minus)
        assert goal.goal is goals.cross_entropy
        assert goal.weight == 2.0
        assert goal.penalty.reconstruct is layer

    def test_everything_at_once(self):
        """As MALADE is attacked: R+PGD and BPDA, both with EOT."""
        layer = Halving(nn.Identity())
        model = pair(GaussianNoise(0.1), layer, Threshold(), Halving())
        variants = adaptive(Restarts(attack=self.attack, count=2), model, samples=3)
        # The second purifier's error has no gradient.
        assert {name: v.attack.attack.gradient.samples for name, v in variants.items()} == {
            "bpda": 1,
            "bpda-eot": 30,
            "r": 3,
        }
        for variant in variants.values():
            assert isinstance(variant, BPDA)
            assert not variant.attack.attack.early_stop
        assert variants["r"].attack.attack.goal.penalty.reconstruct is layer.reconstruction
        x, y = images(3), torch.tensor([0, 1, 2])
        for variant in variants.values():
            variant(model, x, y)

    def test_more_draws_than_thirty_if_asked_for(self):
        variants = adaptive(self.attack, pair(GaussianNoise(0.1), Threshold()), samples=50)
        draws = [variant.attack.gradient.samples for variant in variants.values()]
        assert dict(zip(variants, draws, strict=True)) == {"bpda": 1, "bpda-eot": 50}

    def test_two_purifiers(self):
        assert list(adaptive(self.attack, pair(Halving(), Halving()))) == [
            "plain",
            "bpda",
            "r",
            "r-2",
        ]

    def test_several_weights_are_variants_of_their_own(self):
        model = pair(Halving(), Halving())
        variants = adaptive(self.attack, model, weights=(0.1, 10.0))
        assert list(variants) == ["plain", "bpda", "r(0.1)", "r(10.0)", "r-2(0.1)", "r-2(10.0)"]
        for prefix in ("r", "r-2"):
            for weight in (0.1, 10.0):
                alone = adaptive(self.attack, model, weights=(weight,))[prefix]
                assert variants[f"{prefix}({weight})"] == alone
                assert alone.goal.weight == weight
        assert adaptive(self.attack, model) == adaptive(self.attack, model, weights=(1.0,))

    def test_r_around_a_chain_is_r_on_the_classifier_behind_it(self):
        """If the chain answers as the identity does, whatever its own gradient says."""
        chain = Turned(reconstruction=Halving())
        whole, x, y = pair(chain), images(6), torch.arange(6) % 3
        variants = adaptive(self.attack, whole, weights=(0.0, 0.5))
        assert list(variants) == ["plain", "bpda", *R_OF_TWO_WEIGHTS]
        penalty = goals.reconstruction_error(chain.reconstruction)
        for weight in (0.0, 0.5):
            expected = regularize(self.attack, weight, penalty)(whole[1], x, y)
            found = variants[f"r-bpda({weight})"](whole, x, y)
            assert torch.equal(found, expected)
            assert not torch.equal(found, variants[f"r({weight})"](whole, x, y))
            assert bool((self.attack.threat.distance(found, x) <= 0.1 + 1e-6).all())
        without = [variants[name](whole, x, y) for name in ("r-bpda(0.0)", "bpda")]
        assert torch.equal(*without)
        assert not torch.equal(variants["r-bpda(0.5)"](whole, x, y), without[1])

    def test_r_is_had_once_where_it_goes_around_layers_already(self):
        chain = Halving(reconstruction=nn.Identity())
        assert list(adaptive(self.attack, pair(Threshold(), chain))) == ["bpda", "r"]
        accused = (Bridge(chain, "0", "the identity", through_identity),)
        assert list(adaptive(self.attack, pair(chain), around=accused)) == ["plain", "bpda", "r"]

    @pytest.mark.parametrize("weights", [(), (1.0, 1.0), (-1.0,), (1.0, float("nan"))])
    def test_weights_that_make_no_sense_are_refused(self, weights):
        with pytest.raises(InputError, match="the weights are"):
            adaptive(self.attack, pair(Halving()), weights=weights)

    def test_an_attack_on_another_model_has_no_variants(self):
        on = On(small_network(), self.attack, name="B")
        assert adaptive(on, pair(GaussianNoise(0.1), Halving(), Threshold())) == {"plain": on}
        worst = Worst((on, self.attack))
        regular = regularize(worst, 1.0, goals.reconstruction_error(nn.Identity()))
        assert regular.attacks[0] == on
        assert isinstance(regular.attacks[1].goal, Minus)
        assert regular.aim is goals.margin


class Coin(nn.Module):
    """Class 1 with probability ``fraction`` at every draw, whatever the image."""

    stochastic = True

    def __init__(self, fraction):
        super().__init__()
        self.fraction = fraction
        self.eval()

    def forward(self, x):
        from holdfast.random import layer_noise

        edge = torch.distributions.Normal(0, 1).icdf(torch.tensor(self.fraction))
        one = layer_noise(x.flatten(1)[:, :1]) < edge
        return torch.cat([~one, one], dim=1) * (1 + 0 * x.flatten(1).sum(dim=1, keepdim=True))


class TestWorst:
    def parts(self):
        return (
            attacks.FGSM(Linf(0.06)),
            attacks.IFGSM(Linf(0.06)),
            PGD(Linf(0.06), steps=20, restarts=3, goal=goals.margin),
        )

    def test_it_breaks_what_any_part_breaks_and_says_which(self):
        model, x = small_network(), images(60)
        y = model(x).argmax(dim=1)
        worst = Worst(self.parts())
        x_adv, by, *_ = worst.run(model, x, y, seed=3)
        assert torch.equal(worst(model, x, y, seed=3), x_adv)
        fooled = model(x_adv).argmax(dim=1) != y
        assert torch.equal(by >= 0, fooled)
        assert 0 < fooled.sum() < len(x)
        alone = torch.stack([model(part(model, x, y)).argmax(dim=1) != y for part in worst.attacks])
        assert torch.equal(by == 0, alone[0])
        assert torch.equal(by == 1, ~alone[0] & alone[1])
        assert (fooled >= alone[:2].any(dim=0)).all()

    def test_only_what_stands_is_attacked_and_every_check_is_one_pass(self):
        model, x = small_network(), images(60)
        y = model(x).argmax(dim=1)
        counted = Counted(model, torch.arange(60))
        parts = self.parts()[:2]
        steps = []
        by = Worst(parts).run(counted, x, y, callback=steps.append).by
        assert counted.forwards[by == 0].tolist() == [1 + 1] * int((by == 0).sum())
        stood = counted.forwards[by == -1]
        assert stood.tolist() == [1 + 1 + 10 + 1] * len(stood)
        assert counted.backwards[by == 0].tolist() == [1] * int((by == 0).sum())
        assert steps[1].position.tolist() == torch.nonzero(by != 0)[:, 0].tolist()

    def test_what_nothing_breaks_is_the_image_that_came_nearest(self):
        model, x = small_network(), images(4)
        y = model(x).argmax(dim=1)
        parts = (attacks.FGSM(Linf(0.001)), attacks.FGSM(Linf(0.001), goal=goals.margin))
        found = Worst(parts).run(model, x, y)
        assert found.by.tolist() == [-1] * 4
        came = torch.stack([goals.margin(model, x, y)(part(model, x, y)).value for part in parts])
        assert torch.equal(goals.margin(model, x, y)(found.x_adv).value, came.amax(dim=0))

    def test_a_lucky_draw_does_not_count(self):
        """One draw in five says 1: five single checks break two in three, votes break nothing."""
        x, y = images(50), torch.zeros(50, dtype=torch.int64)
        attack = against_randomness(attacks.FGSM(Linf(0.1)), 1)
        single = Worst((attack,) * 5).run(Coin(0.2), x, y).by
        assert (single >= 0).float().mean() > 0.5
        by = against_randomness(Worst((attack,) * 5), 1, votes=100).run(Coin(0.2), x, y).by
        assert (by == -1).all()
        assert (Worst((attack,), votes=100).run(Coin(0.8), x, y).by == 0).all()

    def test_a_lucky_draw_does_not_end_the_restarts(self):
        x, y = images(50), torch.zeros(50, dtype=torch.int64)
        once = PGD(Linf(0.1), steps=1)
        for attack in (
            Restarts(attack=once, count=4),
            EachTarget(
                attack=once, goal=goals.LeaveToward(losses.towards_cross_entropy), restarts=4
            ),
        ):
            counted = Counted(Coin(0.2), torch.arange(50))
            against_randomness(attack, 1, votes=40)(counted, x, y)
            assert (counted.forwards >= 4 + 3 * 40).all()
        counted = Counted(Coin(0.8), torch.arange(50))
        against_randomness(Restarts(attack=once, count=4), 1, votes=40)(counted, x, y)
        assert counted.forwards.tolist() == [1 + 40] * 50

    def test_votes_are_counted_and_do_not_depend_on_the_batch(self):
        model = nn.Sequential(GaussianNoise(0.3), small_network())
        x = images(6)
        y = small_network()(x).argmax(dim=1)
        counted = Counted(model, torch.arange(6))
        worst = Worst((attacks.FGSM(Linf(0.02)),), votes=15)
        whole = worst.run(counted, x, y)
        assert counted.forwards.tolist() == [1 + 15] * 6
        part = worst.run(model, x[2:4], y[2:4], index=torch.tensor([2, 3]))
        assert torch.allclose(part.x_adv, whole.x_adv[2:4], atol=1e-5)
        assert torch.equal(part.by, whole.by[2:4])

    def test_a_targeted_cascade_goes_on_until_the_target(self):
        model, x = small_network(), images(20)
        y = model(x).argmax(dim=1)
        parts = (PGD(Linf(0.3)), PGD(Linf(0.3), goal=goals.toward(2)))
        x_adv, by, *_ = Worst(parts, aim=goals.toward(2)).run(model, x, y)
        assert torch.equal(by >= 0, model(x_adv).argmax(dim=1) == 2)
        assert (by >= 0).float().mean() > 0.9

    def test_cascades_within_cascades(self):
        model, x = small_network(), images(20)
        y = model(x).argmax(dim=1)
        nested = Worst((Worst(self.parts()[:2]), self.parts()[2]))
        flat = Worst(self.parts()).run(model, x, y).by
        by = nested.run(model, x, y).by
        assert torch.equal(by == 0, (flat == 0) | (flat == 1))

    def test_the_model_is_left_as_it_was(self):
        model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 4))
        before = copy.deepcopy(model.state_dict())
        with pytest.warns(UserWarning, match="training mode"):
            Worst(self.parts()).run(model, images(3), torch.tensor([0, 1, 2]))
        assert model.training
        assert all(torch.equal(before[k], value) for k, value in model.state_dict().items())

    def test_bad_input(self):
        with pytest.raises(InputError, match=r"Linf\(eps=0.1\), Linf\(eps=0.2\)"):
            Worst((attacks.FGSM(Linf(0.1)), attacks.FGSM(Linf(0.2))))
        with pytest.raises(InputError, match="no limit"):
            Worst((PGD(Linf(torch.inf), step_size=0.1),))
        with pytest.raises(InputError, match="no attack"):
            Worst(())
        with pytest.raises(InputError, match="votes is 0"):
            Worst((attacks.FGSM(Linf(0.1)),), votes=0)
        with pytest.raises(InputError, match="stream"):
            Vote(small_network(), 3)(images(2))
        with drawing_from(Stream.of(0, torch.arange(2))):
            assert Vote(small_network(), 3)(images(2)).sum(dim=1).tolist() == [3, 3]


def test_the_penalty_is_taken_off_the_goal():
    """The attacker ascends CE - λ ‖r(x) - x‖² (MALADE 2.1.2): images that r changes pay for it."""
    network, x = small_network(), images(4)
    y = network(x).argmax(dim=1)
    goal = Minus(goals.cross_entropy, 3.0, goals.reconstruction_error(lambda x: 0.5 * x))
    value, reached = goal(network, x, y)(x)
    bare = nn.functional.cross_entropy(network(x), y, reduction="none")
    assert torch.allclose(value, bare - 3.0 * (0.5 * x).flatten(1).square().sum(dim=1))
    assert not reached.any()
    heavy = Minus(goals.cross_entropy, 1e3, goals.reconstruction_error(lambda x: 0.5 * x))
    paid = PGD(Linf(0.1), steps=10, goal=heavy)(network, x, y)
    assert paid.square().sum() < 0.9 * x.square().sum()  # towards 0, which r leaves alone


def test_a_penalty_through_a_stochastic_reconstruction_draws_from_the_stream():
    penalty = goals.reconstruction_error(nn.Sequential(GaussianNoise(0.2)))
    x, y = images(4), torch.zeros(4, dtype=torch.int64)
    goal = Minus(goals.cross_entropy, 1.0, penalty)
    slope = autograd(goal(small_network(), x, y))
    rng = Stream.of(0, torch.arange(4))
    assert torch.equal(slope(x, rng).value, slope(x, rng).value)
    assert not torch.equal(slope(x, rng).value, slope(x, rng.fold("other")).value)


def test_an_evaluation_runs_them_all_on_a_stochastic_model():
    network, x = small_network(), images(20)
    model = nn.Sequential(GaussianNoise(0.02), network).eval()
    attack = PGD(Linf(0.06), steps=5)
    named = {
        "worst": Worst((attacks.FGSM(Linf(0.06)), attack)),
        "transfer": On(small_network(seed=1), attack, name="B"),
        "bpda": BPDA(attack),
    }
    config = EvaluationConfig(votes=40, samples=3)
    rows = evaluate(model, x, network(x).argmax(dim=1), named, config=config).rows
    spent = rows[rows["clean_prediction"] == rows["label"]].groupby("attack")["forwards"]
    assert spent.max()["transfer"] == 0
    assert spent.max()["bpda"] == spent.min()["bpda"] == 5 * 3
    assert spent.min()["worst"] == 3 + 40
    assert spent.max()["worst"] == 3 + 40 + 5 * 3 + 40
