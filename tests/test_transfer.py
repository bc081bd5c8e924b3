import copy
import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from holdfast import EvaluationConfig, attacks, evaluate, goals, losses, metrics, training
from holdfast.attacks import PGD, On, Trace, Worst, against_randomness
from holdfast.counting import Counted
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError, ModelError
from holdfast.gradients import Average, autograd
from holdfast.models import Architecture, Ensemble
from holdfast.random import Stream
from holdfast.threat import L1, L2, Linf
from holdfast.training import Schedule
from tests.toys import Linear, Wrapped, images, random_linear, small_network, two_class

MODELS = [small_network(seed=seed) for seed in range(3)]


def labelled(count=20):
    x = images(count)
    return x, MODELS[0](x).argmax(dim=1)


class Never(nn.Module):
    def __init__(self):
        super().__init__()
        self.eval()

    def forward(self, x):
        raise AssertionError("the target was asked")


class TestOn:
    def test_the_images_are_those_of_the_attack_on_the_source(self):
        x, y = labelled()
        attack = PGD(Linf(0.1), steps=5, random_start=False, early_stop=False)
        on = On(MODELS[1], attack, name="B")
        assert torch.equal(on(Never(), x, y), attack(MODELS[1], x, y))

    @pytest.mark.parametrize("threat", [Linf(0.1), L2(0.5), L1(2.0)])
    def test_the_source_is_left_as_it_was(self, threat):
        source = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Dropout(0.5), nn.Linear(36, 4))
        source[1].eval()
        before = copy.deepcopy(source.state_dict())
        modes = [layer.training for layer in source.modules()]
        x, y = labelled(4)
        x_adv = On(source, PGD(threat, steps=3), name="BN")(MODELS[0], x, y)
        assert (threat.distance(x_adv, x) <= threat.eps * (1 + 1e-6)).all()
        assert not torch.equal(x_adv, x)
        assert [layer.training for layer in source.modules()] == modes
        assert all(torch.equal(before[k], value) for k, value in source.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in source.parameters())

    def test_nothing_is_counted_for_the_target(self):
        x, y = labelled(4)
        target, source = (Counted(model, torch.arange(4)) for model in MODELS[:2])
        On(source, PGD(Linf(0.1), steps=7), name="B")(target, x, y)
        assert target.forwards.tolist() == target.backwards.tolist() == [0] * 4
        assert source.forwards.tolist() == source.backwards.tolist() == [7] * 4

    def test_the_attack_spends_its_budget_on_the_source(self):
        """An image that the source gets wrong by itself would not move at all."""
        x, y = labelled()
        wrong = MODELS[1](x).argmax(dim=1) != y
        assert wrong.any()
        spent = On(MODELS[1], PGD(Linf(0.1), restarts=2), name="B")
        stopping = On(MODELS[1], attacks.IFGSM(Linf(0.1)), name="B", early_stop=True)
        assert spent.attack.early_stop
        assert not spent.crafting.early_stop
        assert torch.equal(stopping(MODELS[0], x, y)[wrong], x[wrong])
        moved = Linf(1.0).distance(spent(MODELS[0], x, y), x)
        assert (moved > 0.09).all()

    def test_a_transferred_attack_fools_a_model_whose_gradients_are_masked(self):
        """The steps hide the gradient of a copy of the source, and nothing else."""
        x, y = labelled(40)
        masked = Wrapped(lambda x: (MODELS[0](x) * 20).round() / 20 + 0 * x.sum())
        attack = PGD(Linf(0.15), steps=10)
        direct = (masked(attack(masked, x, y)).argmax(dim=1) == y).sum()
        transferred = On(MODELS[0], attack, name="copy")(masked, x, y)
        assert direct > 25
        assert (masked(transferred).argmax(dim=1) == y).sum() < 15

    def test_one_that_finds_nothing_on_the_source_is_told_so(self):
        """It asks the target nothing anyhow, and no size without a limit is what is missing."""
        x, y = labelled(4)
        found = On(MODELS[1], attacks.FAB(Linf(1e-6), steps=2), name="other")
        with pytest.warns(UserWarning, match="nothing was transferred") as told:
            made = evaluate(MODELS[0], x, y, {"fab": found}, config=EvaluationConfig(audit=0))
        assert not [one for one in told if "asked the model nothing" in str(one.message)]
        assert metrics.idle_attacks(made.rows, ["fab"]) == made.warnings

    def test_the_record_tells_sources_apart(self):
        first, second, again = (On(MODELS[i], attacks.FGSM(L2(1.0)), name="B") for i in (0, 1, 0))
        assert repr(first) == repr(again) != repr(second)
        assert repr(first).startswith("On(FGSM(threat=L2(eps=1.0)")
        assert "name='B'" in repr(first)

    def test_batch_and_seed(self):
        x, y = labelled(6)
        source = nn.Sequential(GaussianNoise(0.2), MODELS[1])
        attack = On(source, against_randomness(PGD(Linf(0.1), steps=3), 3), name="noisy")
        whole = attack(MODELS[0], x, y, seed=3)
        part = attack(MODELS[0], x[2:4], y[2:4], seed=3, index=torch.tensor([2, 3]))
        assert torch.allclose(part, whole[2:4], atol=1e-5)
        assert torch.equal(whole, attack(MODELS[0], x, y, seed=3))
        assert not torch.equal(whole, attack(MODELS[0], x, y, seed=4))

    def test_a_stochastic_target_changes_nothing_about_it(self):
        on = On(MODELS[1], PGD(Linf(0.1)), name="B")
        assert against_randomness(on, 10) is on
        both = against_randomness(Worst((on, PGD(Linf(0.1)))), 10)
        assert both.attacks[0] is on
        assert both.attacks[1].gradient == Average(samples=10)

    def test_callback_sees_the_source(self):
        x, y = labelled(4)
        trace = Trace()
        On(MODELS[1], PGD(Linf(0.1), steps=3), name="B")(MODELS[0], x, y, callback=trace)
        assert trace.loss.shape == (3, 4)
        assert trace.loss.isfinite().all()

    def test_a_source_without_the_classes_of_the_labels_is_refused(self):
        x, y = images(2), torch.tensor([0, 3])
        with pytest.raises(InputError, match=r"label 1 is 3.*2 classes"):
            On(small_network(classes=2), PGD(Linf(0.1)), name="two")(MODELS[0], x, y)
        with pytest.raises(ModelError, match="shape"):
            On(Wrapped(lambda x: x), PGD(Linf(0.1)), name="no logits")(MODELS[0], x, y)


class TestEnsembles:
    def test_cross_entropy_of_an_ensemble_is_of_the_mean_probability(self):
        """Liu et al. 2017: -log (1/m Σ_i p_i)_y; not the mean of the losses."""
        x, y = labelled()
        mean = torch.stack([model(x).softmax(dim=1) for model in MODELS]).mean(dim=0)
        logits = Ensemble(*MODELS)(x)
        assert torch.allclose(logits.exp(), mean, atol=1e-6)
        expected = -mean.gather(1, y[:, None])[:, 0].log()
        assert torch.allclose(losses.cross_entropy(logits, y), expected, atol=1e-5)
        each = torch.stack([losses.cross_entropy(model(x), y) for model in MODELS])
        assert (expected < each.mean(dim=0)).all()  # Jensen

    def test_an_ensemble_of_overflowing_members_is_finite(self):
        model = Wrapped(lambda x: 1e8 * random_linear(3, 36)(x))
        logits = Ensemble(model, MODELS[0])
        with pytest.raises(RuntimeError):
            logits(images(2))  # three classes and four
        assert not Ensemble(model, model)(images(2)).isnan().any()

    def test_average_of_has_the_mean_value_and_gradient(self):
        x, y = labelled(5)
        goal = goals.AverageOf(dict(zip("ABC", MODELS, strict=True)))
        slope = autograd(goal(Never(), x, y))(x, Stream.of(0, torch.arange(5)))
        each = [
            autograd(goals.cross_entropy(model, x, y))(x, Stream.of(0, torch.arange(5)))
            for model in MODELS
        ]
        assert torch.allclose(slope.value, torch.stack([s.value for s in each]).mean(dim=0))
        grad = torch.stack([s.grad for s in each]).mean(dim=0)
        assert torch.allclose(slope.grad, grad, atol=1e-7)
        assert torch.equal(slope.reached, torch.stack([s.reached for s in each]).all(dim=0))
        chosen = torch.tensor([3, 1, 3])
        taken = goal(Never(), x, y).take(chosen)(x[chosen])
        assert torch.allclose(taken.value, slope.value[chosen])

    def test_one_pass_through_each_source_for_a_gradient(self):
        x, y = labelled(3)
        sources = {name: Counted(model, torch.arange(3)) for name, model in zip("AB", MODELS)}  # noqa: B905
        goal = goals.AverageOf(sources)
        PGD(Linf(0.1), steps=4, goal=goal, early_stop=False)(Never(), x, y)
        for source in sources.values():
            assert source.forwards.tolist() == source.backwards.tolist() == [4] * 3

    def test_both_transfer_better_than_an_attack_on_any_one_member(self):
        """Members are the target's planes plus noise of their own; their mean has less of it."""
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn(3, 36, generator=generator)

        def centred(weight):
            return Linear(weight, -weight.sum(dim=1) / 2)

        target, x = centred(weight), images(100)
        noise = torch.randn(8, 3, 36, generator=generator)
        members = {str(i): centred(weight + noise[i]) for i in range(8)}
        y = target(x).argmax(dim=1)

        def robust(source, goal=goals.cross_entropy):
            x_adv = On(source, PGD(Linf(0.05), goal=goal), name="source")(target, x, y)
            return int((target(x_adv).argmax(dim=1) == y).sum())

        one = min(robust(member) for member in members.values())
        assert robust(Ensemble(*members.values())) <= one - 3
        assert robust(members["0"], goals.AverageOf(members)) <= one - 3

    def test_records_and_bad_input(self):
        assert repr(goals.AverageOf({"A": MODELS[0], "B": MODELS[1]})).startswith("AverageOf(A=")
        with pytest.raises(InputError, match="no source"):
            goals.AverageOf({})
        with pytest.raises(InputError, match="no member"):
            Ensemble()

    def test_sources_in_training_mode_are_run_in_evaluation_mode_and_put_back(self):
        source = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 4))
        before = copy.deepcopy(source.state_dict())
        x, y = labelled(4)
        PGD(Linf(0.1), steps=2, goal=goals.AverageOf({"BN": source}))(MODELS[0], x, y)
        assert source[1].training
        assert all(torch.equal(before[k], value) for k, value in source.state_dict().items())


class Labels(nn.Module):
    """Two classes parted by a plane, answers without a gradient; counts the images it sees."""

    def __init__(self, normal, offset):
        super().__init__()
        self.plane, self.seen = two_class(normal, offset), 0
        self.eval()

    def forward(self, x):
        self.seen += len(x)
        return nn.functional.one_hot(self.plane(x).argmax(dim=1), 2).float()


class TestSurrogates:
    architecture = Architecture(name="mlp", shape=(1, 6, 6), classes=2)
    schedule = Schedule(epochs=8, batch_size=32, lr=2e-3, accelerator="cpu")

    def target(self):
        normal = torch.randn(36, generator=torch.Generator().manual_seed(5))
        return Labels(normal, float(normal.sum()) / 2)

    def test_distillation_learns_the_targets_labels_and_counts_the_questions(self):
        target, x = self.target(), images(200)
        student, queries = training.distill(target, x, self.architecture, self.schedule)
        assert queries == target.seen == 200
        fresh = images(200, seed=9)
        agree = (student(fresh).argmax(dim=1) == target(fresh).argmax(dim=1)).float().mean()
        assert agree > 0.85
        assert not any(layer.training for layer in student.modules())
        again, _ = training.distill(target, x, self.architecture, self.schedule)
        for mine, other in zip(student.parameters(), again.parameters(), strict=True):
            assert torch.equal(mine, other)

    def test_a_student_fools_a_target_that_has_no_gradient(self):
        target, x = self.target(), images(100)
        student, _ = training.distill(target, images(300, seed=1), self.architecture, self.schedule)
        y = target(x).argmax(dim=1)
        x_adv = On(student, PGD(Linf(0.1)), name="student")(target, x, y)
        noise = (x + 0.1 * torch.randn(x.shape).sign()).clamp(0, 1)
        assert (target(noise).argmax(dim=1) != y).float().mean() < 0.4
        assert (target(x_adv).argmax(dim=1) != y).float().mean() > 0.8

    def test_a_substitute_doubles_its_images_and_asks_about_the_new_ones(self):
        target, x = self.target(), images(20)
        asked = []
        target.register_forward_pre_hook(lambda _, inputs: asked.append(inputs[0].clone()))
        schedule = Schedule(epochs=8, batch_size=16, accelerator="cpu")
        student, queries = training.substitute(
            target, x, self.architecture, schedule, rounds=4, step=0.1
        )
        assert queries == target.seen == 20 * 2**3
        every = torch.cat(asked)
        assert torch.equal(every[:20], x)
        for ends in pairwise((20, 40, 80, 160)):  # every new image is an old one moved by λ
            old, new = every[: ends[0]], every[ends[0] : ends[1]]
            step = (new - old)[(new > 0) & (new < 1)].abs()
            assert (((step - 0.1).abs() < 1e-6) | (step < 1e-6)).all()
        fresh = images(200, seed=9)
        agree = (student(fresh).argmax(dim=1) == target(fresh).argmax(dim=1)).float().mean()
        assert agree > 0.6

    def test_new_images_move_along_the_jacobian_of_the_answer(self):
        """Papernot et al. 2017, algorithm 1, with the substitute's probability of the answer."""
        from holdfast.training.surrogate import _augment

        x, y = labelled(5)
        variable = x.clone().requires_grad_()
        chosen = MODELS[1](variable).softmax(dim=1).gather(1, y[:, None])
        (row,) = torch.autograd.grad(chosen.sum(), variable)
        expected = (x + 0.05 * row.sign()).clamp(0, 1)
        assert torch.allclose(_augment(MODELS[1], x, y, 0.05, 2), expected)

    def test_votes_of_a_stochastic_target_are_counted(self):
        plane = self.target()
        target = nn.Sequential(GaussianNoise(0.05), plane)
        schedule = Schedule(epochs=1, accelerator="cpu")
        _, queries = training.distill(target, images(10), self.architecture, schedule, votes=7)
        assert queries == plane.seen == 70

    def test_bad_input(self):
        schedule = Schedule(epochs=1, accelerator="cpu")
        with pytest.raises(InputError, match="rounds is 0"):
            training.substitute(self.target(), images(3), self.architecture, schedule, rounds=0)
        with pytest.raises(InputError, match="only 2 classes"):
            training.distill(random_linear(9, 36), images(9), self.architecture, schedule)


class TestPenalties:
    def test_value_and_gradient_in_closed_form(self):
        """r(x) = a·x: the penalty is (a - 1)²‖x‖², its gradient 2(a - 1)² x."""
        x, y = labelled(4)
        penalty = goals.reconstruction_error(lambda x: 0.7 * x)
        goal = goals.Minus(goals.cross_entropy, 3.0, penalty)
        rng = Stream.of(0, torch.arange(4))
        plain, minus = (autograd(g(MODELS[0], x, y))(x, rng) for g in (goals.cross_entropy, goal))
        squares = x.flatten(1).square().sum(dim=1)
        assert torch.allclose(minus.value, plain.value - 3 * 0.09 * squares, atol=1e-5)
        assert torch.allclose(minus.grad, plain.grad - 3 * 2 * 0.09 * x, atol=1e-5)
        assert torch.equal(minus.reached, plain.reached)
        chosen = torch.tensor([2, 2, 0])
        taken = goal(MODELS[0], x, y).take(chosen)(x[chosen])
        assert torch.allclose(taken.value, minus.value[chosen])

    def test_r_pgd_finds_a_point_that_the_denoiser_keeps(self):
        """The classifier sees pixel 0 minus pixel 1; the denoiser undoes a change of pixel 0."""
        normal = torch.zeros(4)
        normal[:2] = torch.tensor([1.0, -1.0])
        model, x = two_class(normal, 0.15), torch.full((3, 4), 0.5)

        def keep(x):
            return torch.cat([torch.full_like(x[:, :1], 0.5), x[:, 1:]], dim=1)

        goal = goals.Minus(goals.margin, 100.0, goals.reconstruction_error(keep))
        y = torch.zeros(3, dtype=torch.int64)
        settings = {"steps": 40, "step_size": 0.01, "random_start": False, "early_stop": False}
        x_adv = PGD(Linf(0.2), goal=goal, **settings)(model, x, y)
        assert (model(keep(x_adv)).argmax(dim=1) == 1).all()
        assert Linf(1.0).distance(x_adv[:, :1], x[:, :1]).max() < 0.02

    def test_record_and_bad_input(self):
        penalty = goals.reconstruction_error(nn.Identity())
        assert repr(goals.Minus(goals.margin, 2.0, penalty)).startswith(
            "Minus(goal=margin, weight=2.0, penalty=reconstruction_error(Identity:"
        )
        for weight in (-1.0, math.nan, math.inf):
            with pytest.raises(InputError, match="weight"):
                goals.Minus(goals.margin, weight, penalty)
