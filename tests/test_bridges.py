"""Holdfast's attacks called as other libraries call theirs: the same images as Holdfast's own call.

Each against the installed library; without it the test is skipped.
"""

import json
import struct
import sys
from dataclasses import dataclass, field
from importlib import import_module
from math import inf
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from holdfast import EvaluationConfig, __version__, certify, evaluate
from holdfast.attacks import (
    APGDT,
    DDN,
    FGSM,
    FMN,
    PGD,
    Attack,
    DeepFool,
    Restarts,
    SigmaZero,
    Worst,
)
from holdfast.bridges.aims import toward_classes, within
from holdfast.bridges.attackbench import for_attackbench
from holdfast.bridges.box import Box
from holdfast.bridges.maite import (
    AttackedBatch,
    HoldfastDataset,
    HoldfastModel,
    RobustAccuracyMetric,
)
from holdfast.bridges.robustbench import export, known
from holdfast.data import Data
from holdfast.errors import (
    DamagedFileError,
    InputError,
    InputTypeError,
    MissingFileError,
    MissingPackageError,
    OutputError,
)
from holdfast.threat import L0, L1, L2, Linf
from holdfast.types import Threat
from tests.toys import images, small_network

pytestmark = pytest.mark.filterwarnings("ignore")  # of other projects' imports and calls


@pytest.fixture
def given():
    """A network, images of which it is right on three of four, and labels."""
    model, x = small_network(), images(8)
    y = model(x).argmax(dim=1)
    return model, x, torch.where(torch.arange(8) % 4 == 3, (y + 1) % 4, y)


def bridge(name, library):
    pytest.importorskip(library, exc_type=ImportError)
    return import_module(f"holdfast.bridges.{name}")


class TestAims:
    def test_a_size_reaches_all_parts(self):
        attack = Worst((FGSM(Linf(0.3)), Restarts(attack=PGD(Linf(0.3)), count=2)))
        assert within(attack, 0.1) == Worst(
            (FGSM(Linf(0.1)), Restarts(attack=PGD(Linf(0.1)), count=2))
        )

    def test_a_target_is_reached_by_all_parts(self, given):
        model, x, y = given
        target = (y + 2) % 4
        attack = toward_classes(Restarts(attack=PGD(Linf(0.9)), count=2), target)
        assert torch.equal(model(attack(model, x, y)).argmax(dim=1), target)

    @pytest.mark.parametrize("attack", [APGDT(Linf(0.3)), DeepFool(L2(inf))])
    def test_what_has_no_goal_for_it_refuses_a_target(self, attack, given):
        with pytest.raises(InputError, match="such as PGD"):
            toward_classes(attack, given[2])


class TestFoolbox:
    @pytest.fixture
    def foolbox(self):
        self.to = bridge("foolbox", "foolbox").to_foolbox
        return pytest.importorskip("foolbox")

    @pytest.mark.parametrize("bounds", [(0, 1), (-1, 3)])
    @pytest.mark.parametrize("threat", [Linf, L2, L1])
    def test_the_images_are_those_of_holdfasts_own_call(self, foolbox, given, bounds, threat):
        model, x, y = given
        low, width = bounds[0], bounds[1] - bounds[0]
        there = Scaled(model, low, width).eval()
        fmodel = foolbox.PyTorchModel(there, bounds=bounds, device="cpu")
        attack = self.to(PGD(threat(1.0)), seed=3)
        sizes = [0.05, 0.5]
        _, clipped, success = attack(
            fmodel, x * width + low, y, epsilons=[size * width for size in sizes]
        )
        for size, found, fooled in zip(sizes, clipped, success, strict=True):
            own = PGD(threat(size))(model, x, y, seed=3)
            assert torch.allclose((found - low) / width, own, atol=1e-5)
            assert torch.equal(fooled, model(own).argmax(dim=1) != y)

    def test_foolboxs_own_attacks_take_what_it_gives(self, foolbox, given):
        model, x, y = given
        low, high = float(np.float32(-1.8)), 2.25
        there = Scaled(model, low, high - low).eval()
        fmodel = foolbox.PyTorchModel(there, bounds=(low, high), device="cpu")
        clean = torch.full_like(x, high)
        found, _, _ = self.to(PGD(Linf(0.1)))(fmodel, clean, y, epsilons=0.0)
        assert torch.equal(found, clean)
        found, _, _ = self.to(PGD(Linf(0.1)))(fmodel, x * 4 - 1.75, y, epsilons=9.0)
        foolbox.attacks.LinfPGD(steps=1)(fmodel, found, y, epsilons=0.1)

    @pytest.mark.parametrize("attack", [PGD(Linf(0.1)), DDN(L2(inf), steps=5)])
    def test_a_network_in_training_mode_is_attacked_out_of_it_and_left_as_it_was(
        self, foolbox, given, attack
    ):
        model, x, y = given
        network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), model).eval()
        fmodel = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        own = self.to(attack)(fmodel, x, y, epsilons=0.1)
        network.train()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for there in (fmodel, fmodel.transform_bounds((0, 1), wrapper=True)):
            with pytest.warns(UserWarning, match="the model is in training mode"):
                found = self.to(attack)(there, x, y, epsilons=0.1)
            assert all(map(torch.equal, found, own))
        assert network.training
        assert all(torch.equal(before[name], now) for name, now in network.state_dict().items())

    def test_the_seed_is_the_attacks(self, foolbox, given):
        model, x, y = given
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = PGD(Linf(0.01), early_stop=False)
        first, other = (self.to(attack, seed=s)(fmodel, x, y, epsilons=0.01)[1] for s in (0, 1))
        assert torch.equal(first, attack(model, x, y, seed=0))
        assert not torch.equal(first, other)

    @pytest.mark.parametrize("attack", [DDN(L2(inf), steps=10), FMN(Linf(inf), steps=10)])
    def test_the_smallest_perturbations(self, foolbox, given, attack):
        model, x, y = given
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        raw, _, success = self.to(attack)(fmodel, x, y, epsilons=None)
        own = attack(model, x, y)
        assert torch.allclose(raw, own, atol=1e-4)
        assert torch.equal(success, model(own).argmax(dim=1) != y)

    @pytest.mark.parametrize("bounds", [(0, 1), (-1, 3)])
    def test_what_needs_more_pixels_than_an_epsilon_stays_clean(self, foolbox, given, bounds):
        model, x, y = given
        low, width = bounds[0], bounds[1] - bounds[0]
        there = Scaled(model, low, width).eval()
        fmodel = foolbox.PyTorchModel(there, bounds=bounds, device="cpu")
        x = x * width + low
        attack = self.to(SigmaZero(L0(inf), steps=20))
        (raw, *_), clipped, success = attack(fmodel, x, y, epsilons=[0, 1, 3, 36])
        needed = (raw != x).flatten(1).sum(dim=1)
        assert needed.max() > 1
        for most, found, fooled in zip([0, 1, 3, 36], clipped, success, strict=True):
            within = (needed <= most)[:, None, None, None]
            assert torch.equal(found, torch.where(within, raw, x))
            assert torch.equal(fooled, there(found).argmax(dim=1) != y)

    def test_targets(self, foolbox, given):
        model, x, y = given
        target = (y + 2) % 4
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        criterion = foolbox.criteria.TargetedMisclassification(target)
        _, found, success = self.to(PGD(Linf(0.5)))(fmodel, x, criterion, epsilons=0.9)
        assert success.all()
        assert torch.equal(model(found).argmax(dim=1), target)

    def test_another_criterion_is_refused(self, foolbox, given):
        model, x, y = given
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        both = foolbox.criteria.Misclassification(y) & foolbox.criteria.Misclassification(y)
        with pytest.raises(InputError, match="know labels, Misclassification"):
            self.to(PGD(Linf(0.5)))(fmodel, x, both, epsilons=0.9)

    @pytest.mark.parametrize("attack", [PGD(Linf(0.1)), DDN(L2(inf), steps=5)])
    def test_what_it_does_not_know_is_refused(self, foolbox, given, attack):
        model, x, y = given
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        for more in ({"steps": 1000}, {"starting_points": x}):
            with pytest.raises(InputTypeError, match=f"given {next(iter(more))}, which it does"):
                self.to(attack)(fmodel, x, y, epsilons=0.1, **more)

    def test_foolbox_can_repeat_it(self, foolbox, given):
        model, x, y = given
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        found = self.to(PGD(Linf(0.1))).repeat(2)(fmodel, x, y, epsilons=0.1)[1]
        assert torch.allclose(found, PGD(Linf(0.1))(model, x, y), atol=1e-6)

    def test_each_repetition_draws_anew_and_the_best_is_kept(self, foolbox, given):
        model, x, y = given
        fmodel = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = self.to(Drawn(Linf(0.9)))
        once, *more = (attack.repeat(n)(fmodel, x, y, epsilons=0.9) for n in (1, 2, 8))
        assert torch.equal(once[0], attack(fmodel, x, y, epsilons=0.9)[0])
        fooled = [int(found[2].sum()) for found in (once, *more)]
        assert fooled == sorted(fooled)
        assert fooled[-1] > fooled[0]
        again = attack.repeat(4).repeat(2)
        for _ in range(2):
            assert torch.equal(again(fmodel, x, y, epsilons=0.9)[0], more[-1][0])


@dataclass(frozen=True, kw_only=True)
class Drawn(Attack):
    """One draw in the ball."""

    threat: Threat = field(kw_only=False)

    def perturb(self, model, x0, y, rng, callback=None):
        return self.threat.project(self.threat.sample(x0, rng), x0)


class TestART:
    @pytest.fixture
    def classifier(self, given):
        self.attack = bridge("art", "art").HoldfastAttack
        from art.estimators.classification import PyTorchClassifier

        def make(model, **more):
            return PyTorchClassifier(
                model, nn.CrossEntropyLoss(), (1, 6, 6), 4, device_type="cpu", **more
            )

        return make

    @pytest.mark.parametrize("batch_size", [3, 128])
    @pytest.mark.parametrize("form", ["numbers", "column", "one-hot"])
    def test_the_images_are_those_of_holdfasts_own_call(self, classifier, given, batch_size, form):
        model, x, y = given
        there = classifier(model, clip_values=(0, 1))
        labels = {"numbers": y, "column": y[:, None], "one-hot": nn.functional.one_hot(y, 4)}[form]
        attack = self.attack(there, PGD(Linf(0.1)), batch_size=batch_size, seed=3)
        found = torch.from_numpy(attack.generate(x.numpy(), labels.numpy()))
        assert torch.allclose(found, PGD(Linf(0.1))(model, x, y, seed=3), atol=1e-6)

    def test_preprocessing_and_bounds_are_the_classifiers(self, classifier, given):
        model, x, y = given
        there = classifier(
            Scaled(model, 0, 10).eval(), clip_values=(0, 20), preprocessing=(0.0, 2.0)
        )
        found = self.attack(there, PGD(Linf(0.1))).generate((x * 20).numpy(), y.numpy())
        own = PGD(Linf(0.1))(model, x, y)
        assert torch.allclose(torch.from_numpy(found) / 20, own, atol=1e-5)

    @pytest.mark.parametrize("eps", [8, 7.6, 0.4])
    @pytest.mark.parametrize("threat", [Linf, L2, L1])
    def test_images_of_eight_bits_are_rounded_and_stay_in_the_ball(
        self, classifier, given, threat, eps
    ):
        model, x, y = given
        there = classifier(Scaled(model, 0, 255).eval(), clip_values=(0, 255))
        ball = threat(eps / 255 * {Linf: 1, L2: 6, L1: 36}[threat])
        x = (x * 255).round()
        found = self.attack(there, PGD(ball)).generate(x.to(torch.uint8).numpy(), y.numpy())
        assert found.dtype == np.uint8
        found = torch.from_numpy(found).double()
        assert ball.distance(found / 255, x.double() / 255).max() <= ball.eps * (1 + 1e-6)
        own = PGD(ball)(model, x / 255, y).double() * 255
        assert (found - own).abs().max() < 1
        if eps == 8 and threat is Linf:
            assert (found - own).abs().max() <= 0.5

    def test_images_beyond_its_bounds_are_refused(self, classifier, given):
        model, x, y = given
        attack = self.attack(classifier(model, clip_values=(-1, 1)), PGD(Linf(0.1)))
        with pytest.raises(InputError, match="but the model's bounds are -1 and 1"):
            attack.generate((x * 6 - 3).numpy(), y.numpy())

    def test_labels_left_out_are_those_predicted(self, classifier, given):
        model, x, _ = given
        found = self.attack(classifier(model), PGD(Linf(0.1))).generate(x.numpy())
        own = PGD(Linf(0.1))(model, x, model(x).argmax(dim=1))
        assert torch.equal(torch.from_numpy(found), own)

    def test_targets(self, classifier, given):
        model, x, y = given
        target = ((y + 2) % 4).numpy()
        attack = self.attack(classifier(model), PGD(Linf(0.9)), targeted=True)
        found = torch.from_numpy(attack.generate(x.numpy(), target))
        assert np.array_equal(model(found).argmax(dim=1).numpy(), target)
        with pytest.raises(InputError, match="which classes to go to"):
            attack.generate(x.numpy())

    def test_what_it_does_not_know_is_refused(self, classifier, given):
        model, x, y = given
        attack = self.attack(classifier(model), PGD(Linf(0.1)))
        with pytest.raises(InputTypeError, match="given mask, which it does not know"):
            attack.generate(x.numpy(), y.numpy(), mask=np.zeros_like(x))
        assert np.array_equal(attack.generate(x.numpy(), mask=None), attack.generate(x.numpy()))

    def test_any_array_is_taken(self, classifier, given):
        model, x, y = given
        attack = self.attack(classifier(model, clip_values=(0, 1)), FGSM(Linf(0.1)))
        own = attack.generate(x.numpy(), y.numpy())
        for xs, ys in (
            (x.flip(0).numpy()[::-1], y.flip(0).numpy()[::-1]),
            (x.numpy().astype(">f4"), y.numpy().astype(float)),
            (x, y),
        ):
            assert np.array_equal(attack.generate(xs, ys), own)
        assert np.array_equal(attack.generate(x.numpy(), None), attack.generate(x.numpy()))
        double = x.numpy().astype(np.float64)
        for labels in (y.numpy(), None):
            found = attack.generate(double, y=labels)
            assert found.dtype == np.float64
            assert np.abs(found - attack.generate(x.numpy(), y=labels)).max() < 1e-6
        targeted = self.attack(classifier(model), FGSM(Linf(0.1)), targeted=True)
        assert targeted.generate(double, y.numpy()).dtype == np.float64

    def test_labels_are_one_for_each_image(self, classifier, given):
        model, x, y = given
        attack = self.attack(classifier(model), FGSM(Linf(0.1)))
        for labels in (y[:3], torch.cat([y, y]), nn.functional.one_hot(y, 4)[:3]):
            with pytest.raises(InputError, match="the labels have shape"):
                attack.generate(x.numpy(), labels.numpy())
        with pytest.raises(InputTypeError, match="the labels have type"):
            attack.generate(x.numpy(), y.numpy() + 0.5)
        with pytest.raises(InputTypeError, match=r"the labels are .* must be an array of numbers"):
            attack.generate(x.numpy(), np.array(["cat"] * 8))

    def test_parameters_are_checked_whenever_they_are_set(self, classifier, given):
        attack = self.attack(classifier(given[0]), FGSM(Linf(0.1)))
        with pytest.raises(InputError, match="batch_size is 0"):
            attack.set_params(batch_size=0)
        with pytest.raises(InputTypeError, match="attack is 'pgd'"):
            attack.set_params(attack="pgd")

    def test_art_tells_its_parameters_and_refuses_other_estimators(self, classifier, given):
        attack = self.attack(classifier(given[0]), PGD(Linf(0.1)), seed=3)
        assert "seed=3" in repr(attack)
        attack.set_params(seed=4)
        assert attack.seed == 4
        with pytest.raises(Exception, match="HoldfastAttack requires an estimator"):
            self.attack(given[0], PGD(Linf(0.1)))


class TestAttackBench:
    def test_the_images_are_those_of_holdfasts_own_call(self, given):
        model, x, y = given
        own = DDN(L2(inf), steps=10)(model, x, y, seed=3)
        assert torch.equal(for_attackbench(DDN(L2(inf), steps=10), seed=3)(model, x, y), own)

    def test_targets(self, given):
        model, x, y = given
        attack, target = for_attackbench(PGD(Linf(0.9))), (y + 2) % 4
        found = attack(model=model, inputs=x, labels=y, targets=target, targeted=True)
        assert torch.equal(model(found).argmax(dim=1), target)
        with pytest.raises(InputError, match="targets are missing"):
            attack(model, x, y, targeted=True)


class TestMAITE:
    @pytest.fixture
    def things(self, given):
        model, x, y = given
        return SimpleNamespace(
            model=HoldfastModel(model, "net", list("abcd")),
            data=HoldfastDataset(Data.of(x, y)),
            augmentation=AttackedBatch(model, PGD(Linf(0.05)), seed=3),
            metric=RobustAccuracyMetric(),
        )

    def test_each_is_what_its_protocol_says(self, things):
        protocols = pytest.importorskip("maite.protocols.image_classification")
        assert isinstance(things.model, protocols.Model)
        assert isinstance(things.data, protocols.Dataset)
        assert isinstance(things.augmentation, protocols.Augmentation)
        assert isinstance(things.metric, protocols.Metric)

    def test_maites_own_evaluation_gives_the_robust_accuracy_of_holdfast(self, things, given):
        tasks = pytest.importorskip("maite.tasks")
        model, x, y = given
        metrics, _, _ = tasks.evaluate(
            model=things.model,
            dataset=things.data,
            augmentation=things.augmentation,
            metric=things.metric,
            batch_size=3,
        )
        own = PGD(Linf(0.05))(model, x, y, seed=3)
        stands = (model(own).argmax(dim=1) == y).float().mean()
        assert 0 < stands < 1
        assert metrics == {"robust_accuracy": pytest.approx(float(stands))}

    def test_a_batch_is_attacked_as_its_places_say(self, things, given):
        model, x, y = given
        own = PGD(Linf(0.05))(model, x, y, seed=3)
        batch = zip(*(things.data[place] for place in (5, 2)), strict=True)
        found, _, _ = things.augmentation(tuple(batch))
        assert np.allclose(np.stack(found), own[[5, 2]].numpy(), atol=1e-6)
        assert len(list(things.data)) == 8

    def test_a_target_is_a_vector_of_scores(self, things, given):
        _, x, y = given
        said = [{"id": str(place)} for place in range(8)]
        with pytest.raises(InputError, match=r"target 0 has shape \(\), but .* one-hot vector"):
            things.augmentation((list(x.numpy()), y.tolist(), said))
        with pytest.raises(InputError, match="target 0 has shape"):
            things.metric.update([[0.9, 0.1]], [1], [{}])
        with pytest.raises(InputError, match=r"prediction 0 has shape \(\)"):
            things.metric.update([1], [[0, 1]], [{}])
        assert things.metric.total == 0

    def test_scores_are_finite_and_one_for_each_target(self, things):
        with pytest.raises(InputError, match=r"prediction 1 is .*nan.* finite"):
            things.metric.update([[0.9, 0.1], [np.nan, 0.1]], [[1, 0], [1, 0]], [{}, {}])
        with pytest.raises(InputError, match="1 predictions and 2 targets"):
            things.metric.update([[0.9, 0.1]], [[1, 0], [1, 0]], [{}, {}])
        assert np.isnan(things.metric.compute()["robust_accuracy"])

    def test_images_are_checked(self, things, given):
        x = given[1].numpy()
        target, said = np.eye(4)[:1], [{"id": "0"}]
        for wrong, match in (
            ((x * 255).astype(np.uint8), "the images have type"),
            (x * 255, "images must lie in"),
        ):
            for call in (
                lambda batch: things.model(batch),
                lambda batch: things.augmentation((batch[:1], target, said)),
            ):
                with pytest.raises((InputError, InputTypeError), match=match):
                    call(list(wrong))
        with pytest.raises(InputError, match="of one size"):
            things.model([x[0], x[1, :, 1:]])


class TestTorchmetrics:
    @pytest.fixture
    def metrics(self):
        return bridge("torchmetrics", "torchmetrics")

    def test_robust_accuracy_is_that_of_an_evaluation_whatever_the_batches(self, metrics, given):
        model, x, y = given
        own = evaluate(model, x, y, [PGD(Linf(0.05))], config=EvaluationConfig(audit=0))
        for size in (8, 3):
            metric = metrics.RobustAccuracy(PGD(Linf(0.05)))
            for xs, ys in zip(x.split(size), y.split(size), strict=True):
                metric.update(model, xs, ys)
            assert float(metric.compute()) == pytest.approx(own.cells[0]["robust_accuracy"])
        assert 0 < float(metric.compute()) < 1

    @pytest.mark.parametrize("top", [2, 5])
    def test_top_k_is_that_of_an_evaluation_which_attacks_all(self, metrics, top):
        model, x = small_network(shape=(1, 8, 8), classes=12), images(64, shape=(1, 8, 8))
        y = model(x).argsort(dim=1, descending=True)[torch.arange(64), torch.arange(64) % 4]
        attack = PGD(Linf(0.1), steps=5, early_stop=False)
        config = EvaluationConfig(audit=0, hidden=False, attack_all=True)
        rows = evaluate(model, x, y, [attack], config=config).rows
        clean, after = (part.set_index("index")["rank"] for _, part in rows.groupby("eps"))
        metric = metrics.RobustAccuracy(attack, top=top)
        for xs, ys in zip(x.split(40), y.split(40), strict=True):
            metric.update(model, xs, ys)
        left = ((clean < top) & (after < top)).mean()
        assert float(metric.compute()) == pytest.approx(left)
        first = metrics.RobustAccuracy(attack)
        first.update(model, x, y)
        assert 0 <= float(first.compute()) < left < (clean < top).mean() <= 1

    @pytest.mark.parametrize("top", [0, 4, 9, "5"])
    def test_top_is_a_number_of_classes_that_says_something(self, metrics, given, top):
        model, x, y = given
        with pytest.raises((InputError, InputTypeError), match=f"top is {top!r}"):
            metrics.RobustAccuracy(FGSM(Linf(0.05)), top=top).update(model, x, y)

    @pytest.mark.parametrize("step", [False, True])
    def test_an_image_is_attacked_as_its_place_says_in_every_way_to_count_it(
        self, metrics, given, step
    ):
        model, x = given[0], images(64)
        y = model(x).argmax(dim=1)
        whole, updated, called = (metrics.RobustAccuracy(Drawn(Linf(0.9))) for _ in range(3))
        called.dist_sync_on_step = step  # by which forward updates twice
        for _ in range(2):  # and so after a reset
            whole.update(model, x, y)
            for xs, ys in zip(x.split(3), y.split(3), strict=True):
                updated.update(model, xs, ys)
                assert called(model, xs, ys).shape == ()
            found = [float(metric.compute()) for metric in (whole, updated, called)]
            assert 0 < found[0] < 1
            assert found == [found[0]] * 3
            for metric in (whole, updated, called):
                metric.reset()

    def test_it_attacks_in_inference_mode_and_leaves_the_model_as_it_was(self, metrics, given):
        model, x, y = given
        model.train()
        metric = metrics.RobustAccuracy(PGD(Linf(1.0)))
        with torch.inference_mode():
            metric.update(model, x.clone(), y.clone())
        assert float(metric.compute()) == 0
        assert model.training
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_certified_accuracy_is_that_of_a_certification(self, metrics, given):
        model, x, y = given
        radii = (0.05, 0.1, 0.2, 9.0)
        config = certify.CertificationConfig(sigma=0.25, votes=200, radii=radii, audit=0)
        own = certify.certify(model, x, y, config=config)
        metric = metrics.CertifiedAccuracy(radii)
        for part in torch.arange(8).split(3):
            rows = own.rows.iloc[part.tolist()]
            metric.update(
                torch.tensor(rows["prediction"].to_numpy()),
                torch.tensor(rows["radius"].to_numpy()),
                y[part],
            )
        said = [line["accuracy"] for line in own.cells[0]["at"]]
        assert metric.compute().tolist() == pytest.approx(said)
        assert metric.compute()[0] > 0

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda x, y: (x, torch.tensor(3)), "the labels have shape"),
            (lambda x, y: (x, y[:1]), "the labels have shape"),
            (lambda x, y: (x, y + 9), "but the model has 4 classes"),
            (lambda x, y: (x, y.float()), "the labels have type"),
            (lambda x, y: (x * 255, y), "images must lie in"),
            (lambda x, y: ((x * 255).to(torch.uint8), y), "the images have type"),
            (lambda x, y: (x, y, torch.arange(3)), "index has shape"),
            (lambda x, y: (x, y, ["a"] * 8), "must be an integer tensor"),
        ],
    )
    def test_robust_accuracy_says_what_is_wrong_with_a_batch(self, metrics, given, change, match):
        model, x, y = given
        metric = metrics.RobustAccuracy(FGSM(Linf(0.05)))
        with pytest.raises((InputError, InputTypeError), match=match):
            metric.update(model, *change(x, y))
        with pytest.raises(InputTypeError, match="attack is 'pgd'"):
            metrics.RobustAccuracy("pgd")

    def test_robust_accuracy_takes_what_attacks_take(self, metrics, given):
        model, x, y = given
        found = []
        for xs, ys, index in (
            (x, y, None),
            (x.double(), y.to(torch.uint8), list(range(8))),
        ):
            metric = metrics.RobustAccuracy(FGSM(Linf(0.05)))
            metric.update(model, xs, ys, index)
            found.append(float(metric.compute()))
        assert found[0] == found[1] > 0

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda p, r, y: (p, r, y[:1]), "the labels have shape"),
            (lambda p, r, y: (p, r[:1], y), "one of each for each image"),
            (lambda p, r, y: (p[:, None], r[:, None], y), "one of each for each image"),
            (lambda p, r, y: (p, r * torch.nan, y), "radius 0 is nan"),
            (lambda p, r, y: (p, r - 1, y), "radius 0 is -0.5"),
            (lambda p, r, y: (p.float(), r, y), "the predictions have type"),
        ],
    )
    def test_certified_accuracy_says_what_is_wrong_with_a_batch(self, metrics, change, match):
        metric = metrics.CertifiedAccuracy((0.0, 0.25))
        given = change(torch.tensor([0, 1, -1]), torch.full((3,), 0.5), torch.tensor([0, 1, 2]))
        with pytest.raises((InputError, InputTypeError), match=match):
            metric.update(*given)

    @pytest.mark.parametrize("radii", [0.25, torch.tensor([0.25]), np.array([0.1, 0.2])])
    def test_radii_are_a_list(self, metrics, radii):
        with pytest.raises(InputTypeError, match=r"radii is .* but must be a list"):
            metrics.CertifiedAccuracy(radii)

    def test_radii_are_some(self, metrics):
        with pytest.raises(InputError, match="none below 0"):
            metrics.CertifiedAccuracy((-0.1,))


class TestLightning:
    @pytest.fixture
    def lightning(self):
        bridge("torchmetrics", "torchmetrics")
        try:
            self.bridge = import_module("holdfast.bridges.lightning")
        except MissingPackageError:
            pytest.skip("no Lightning")
        return self.bridge

    def fit(self, lightning, given, tmp_path, loader, **more):
        """Two epochs, and what was logged of them."""
        logger = loggers(lightning).CSVLogger(tmp_path)
        self.train(lightning, given, logger, loader, **more)
        logger.save()
        return pd.read_csv(tmp_path / logger.name / "version_0" / "metrics.csv")

    def train(self, lightning, given, logger, loader, **more):
        model, _, _ = given
        network = more.pop("net", model)

        class Module(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.net = network

            def forward(self, x):
                return self.net(x)

            def training_step(self, batch):
                return nn.functional.cross_entropy(self(batch[0]), batch[1])

            def validation_step(self, batch):
                self.log("accuracy", (self(batch[0]).argmax(dim=1) == batch[1]).float().mean())

            def configure_optimizers(self):
                return torch.optim.SGD(self.parameters(), lr=0.0)

        callback = lightning.RobustAccuracyCallback(PGD(Linf(0.05)), **more)
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            callbacks=[callback],
            logger=logger,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            log_every_n_steps=1,
        )
        trainer.fit(Module(), loader, loader)

    def own(self, given):
        """The robust accuracy of Holdfast's own evaluation."""
        config = EvaluationConfig(audit=0)
        return evaluate(*given, [PGD(Linf(0.05))], config=config).cells[0]["robust_accuracy"]

    def loader(self, x, y):
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=3)

    def test_every_validation_logs_the_robust_accuracy(self, lightning, given, tmp_path):
        _, x, y = given
        logged = self.fit(lightning, given, tmp_path, self.loader(x, y))["robust_accuracy"].dropna()
        assert list(logged) == pytest.approx([self.own(given)] * 2)

    def test_tensorboard_draws_it(self, lightning, given, tmp_path):
        _, x, y = given
        logger = loggers(lightning).TensorBoardLogger(tmp_path)
        self.train(lightning, given, logger, self.loader(x, y))
        drawn = EventAccumulator(logger.log_dir).Reload().Scalars("robust_accuracy")
        assert [point.value for point in drawn] == pytest.approx([self.own(given)] * 2)

    def test_mlflow_draws_it(self, lightning, given, tmp_path, monkeypatch):
        pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # without a server or a data base
        _, x, y = given
        logger = loggers(lightning).MLFlowLogger(save_dir=tmp_path)
        self.train(lightning, given, logger, self.loader(x, y))
        drawn = logger.experiment.get_metric_history(logger.run_id, "robust_accuracy")
        assert [point.value for point in drawn] == pytest.approx([self.own(given)] * 2)

    def test_wandb_draws_it(self, lightning, given, tmp_path, monkeypatch):
        wandb = pytest.importorskip("wandb")
        monkeypatch.setenv("WANDB_SILENT", "true")
        monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")  # it waits for a network
        _, x, y = given
        logger = loggers(lightning).WandbLogger(save_dir=tmp_path, offline=True)
        self.train(lightning, given, logger, self.loader(x, y))
        wandb.teardown()  # ends the process that writes the file
        drawn = wandb_history(tmp_path, "robust_accuracy")
        assert drawn == pytest.approx([self.own(given)] * 2)

    def test_images_that_the_loader_normalised(self, lightning, given, tmp_path):
        model, x, y = given
        there = Scaled(model, -2.0, 4.0).eval()  # takes (x - 0.5) / 0.25
        own = evaluate(model, x[:5], y[:5], [PGD(Linf(0.05))], config=EvaluationConfig(audit=0))
        loader = self.loader((x - 0.5) / 0.25, y)
        logged = self.fit(
            lightning,
            given,
            tmp_path,
            loader,
            net=there,
            mean=[0.5],
            std=[0.25],
            images=5,
            every=2,
            network=lambda module: module.net,
        )["robust_accuracy"].dropna()
        assert list(logged) == pytest.approx([own.cells[0]["robust_accuracy"]])

    @pytest.mark.parametrize(
        ("given", "match"),
        [
            ({"attack": "pgd"}, "attack is 'pgd'"),
            ({"every": 1.5}, "every is 1.5"),
            ({"images": 2.5}, "images is 2.5"),
            ({"every": 0}, "every is 0"),
            ({"mean": 0.5, "std": 0.5}, "mean is 0.5"),
            ({"name": ""}, "the metric is called"),
        ],
    )
    def test_what_it_is_made_of_is_checked_as_it_is_made(self, lightning, given, match):
        with pytest.raises((InputError, InputTypeError), match=match):
            lightning.RobustAccuracyCallback(**{"attack": PGD(Linf(0.05)), **given})

    def validated(self, lightning, batch, model, **more):
        """The callback, after a batch of a validation."""
        trainer = SimpleNamespace(sanity_checking=False, current_epoch=0)
        callback = lightning.RobustAccuracyCallback(FGSM(Linf(0.05)), **more)
        callback.on_validation_batch_end(trainer, model, None, batch, 0)
        return callback

    def test_batches_have_an_order(self, lightning, given):
        model, x, y = given
        for batch in ({"image": x, "label": y}, (x,), [x, "labels"]):
            with pytest.raises(InputTypeError, match=r"must be \(images, labels, \.\.\.\)"):
                self.validated(lightning, batch, model)
        assert int(self.validated(lightning, [x, y, "more"], model).metric.total) == 8

    def test_a_mean_is_of_the_channels_of_the_images(self, lightning, given):
        model, x, y = given
        with pytest.raises(InputError, match="of 3 channels, but the images have 1"):
            self.validated(lightning, (x, y), model, mean=[0.5] * 3, std=[0.2] * 3)

    def test_a_mean_needs_a_deviation(self, lightning):
        with pytest.raises(InputError, match="give both"):
            lightning.RobustAccuracyCallback(PGD(Linf(0.05)), mean=[0.5])


def loggers(lightning):
    """Those of whichever name Lightning is installed under."""
    package = lightning.Trainer.__module__.split(".trainer")[0]
    return import_module(f"{package}.loggers")


def wandb_history(folder, name):
    """What `wandb sync` would send of it: its values in the file of the one run in a folder.

    The file is a log as LevelDB writes it, blocks of 32 KiB with records whose first 7 bytes hold
    checksum, size and kind, after a header of 7 bytes; wandb has no reader of its own in Python.
    """
    record = import_module("wandb.proto.wandb_internal_pb2").Record
    (path,) = folder.rglob("*.wandb")
    log, at, whole, values = path.read_bytes(), 7, b"", []
    while at + 7 < len(log):
        size, kind = struct.unpack("<4xHB", log[at : at + 7])
        whole, at = whole + log[at + 7 : at + 7 + size], at + 7 + size
        at += -at % 32768 if -at % 32768 < 7 else 0
        if kind in (1, 4):  # all of a record, or the last of its pieces
            items = record.FromString(whole).history.item
            values += [json.loads(i.value_json) for i in items if name in (i.key, *i.nested_key)]
            whole = b""
    return values


class Scaled(nn.Module):
    """A model on images that were stretched."""

    def __init__(self, model, low, width):
        super().__init__()
        self.model, self.low, self.width = model, low, width

    def forward(self, x):
        return self.model((x - self.low) / self.width)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 255.0), (-2.1179, 2.64)])
def test_images_leave_their_bounds_by_rounding_alone(low, high):
    box, x = Box(low, high), images(8) * (high - low) + low
    end = torch.tensor([low, high])
    assert box.unit(torch.nextafter(end, 2 * end)).tolist() == [0, 1]
    for beyond in (x + 0.01 * (high - low), x - high, 300 + x.to(torch.int64)):
        with pytest.raises(InputError, match="scale the images, or give the bounds"):
            box.unit(beyond)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("ends", [(-1.0, 1.0), (float(np.float32(-1.8)), 2.25), (-2.1179, 2.64)])
def test_what_is_brought_back_is_within_the_bounds_and_where_nothing_changed_the_same(ends, dtype):
    box = Box(*ends)
    x = images(8).to(dtype) * (ends[1] - ends[0]) + ends[0]
    x[:, 0, 0, :2] = torch.tensor(ends, dtype=dtype)
    assert torch.equal(box.restored(box.unit(x), x), x)
    changed = torch.linspace(0, 1, x.numel(), dtype=dtype).view_as(x)
    back = box.restored(changed, x)
    assert float(back.min()) >= box.low
    assert float(back.max()) <= box.high
    assert torch.allclose(box.unit(back), changed, atol=8 * torch.finfo(dtype).eps)


def test_bounds_are_two():
    with pytest.raises(InputError, match="the first must be the smaller"):
        Box(1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("foolbox", ["foolbox", "foolbox.attacks.base"]),
        ("art", ["art", "art.attacks.attack"]),
        ("torchmetrics", ["torchmetrics"]),
        ("lightning", ["lightning", "lightning.pytorch", "pytorch_lightning"]),
    ],
)
def test_a_bridge_says_what_it_needs(name, packages, monkeypatch):
    if name == "lightning":
        pytest.importorskip("torchmetrics")
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"holdfast.bridges.{name}", raising=False)
    with pytest.raises(MissingPackageError, match=rf'pip install "holdfast\[{name}\]"'):
        import_module(f"holdfast.bridges.{name}")


class TestRobustBench:
    def test_a_run_becomes_what_the_leaderboard_asks_for(self, given, tmp_path):
        model, x, y = given
        attacks = {"fgsm": FGSM(Linf(0.03)), "pgd": PGD(Linf(0.03))}
        found = evaluate(
            model, x, y, attacks, out=tmp_path / "run", config=EvaluationConfig(audit=0)
        )
        exported = export(tmp_path / "run", tmp_path / "net.pt", model="Net2020")
        saved = torch.load(tmp_path / "net.pt", weights_only=True)
        assert torch.equal(saved, exported)
        assert exported.shape == x.shape
        assert (exported - x).abs().max() <= 0.03
        rows = found.rows[found.rows["attack"] != "clean"]
        fooled = torch.tensor(rows.groupby("index")["fooled"].any().to_numpy())
        assert 0 < fooled.sum() < 8
        assert torch.equal(model(exported).argmax(dim=1) != y, fooled)
        said = (tmp_path / "net.md").read_text()
        assert "identifier(s):** Net2020" in said
        assert f"accuracy:** {100 * (1 - float(fooled.float().mean())):.2f}%" in said

    def test_nothing_is_overwritten_or_left_out(self, given, tmp_path):
        model, x, y = given
        config = EvaluationConfig(audit=0, keep_images=3)
        evaluate(model, x, y, [FGSM(Linf(0.1))], out=tmp_path / "run", config=config)
        with pytest.raises(InputError, match="kept 3 of its 8 images"):
            export(tmp_path / "run", tmp_path / "net.pt")
        assert not (tmp_path / "net.pt").exists()
        attacks = {"small": FGSM(Linf(0.1)), "large": FGSM(Linf(0.2))}
        evaluate(model, x, y, attacks, out=tmp_path / "two", config=EvaluationConfig(audit=0))
        with pytest.raises(InputError, match="within 2 balls"):
            export(tmp_path / "two", tmp_path / "net.pt")
        (tmp_path / "net.pt").touch()
        with pytest.raises(OutputError, match="is there already"):
            export(tmp_path / "run", tmp_path / "net.pt")

    def test_its_form_says_by_what_the_images_were_found(self, given, tmp_path):
        model, x, y = given
        attacks = {"mine": PGD(L2(0.5), steps=3), "fgsm": FGSM(L2(0.5))}
        config = EvaluationConfig(audit=0, seed=7)
        evaluate(model, x, y, attacks, out=tmp_path / "run", config=config)
        export(tmp_path / "run", tmp_path / "net.pt")
        said = (tmp_path / "net.md").read_text()
        assert ", L2, eps=0.5" in said
        assert f"Holdfast {__version__}, seed 7: " in said
        for name, attack in attacks.items():
            assert f"{name} = {attack!r}" in said

    def test_it_is_of_a_norm_that_has_a_leaderboard(self, given, tmp_path):
        config = EvaluationConfig(audit=0)
        evaluate(*given, [PGD(L1(1.0))], out=tmp_path / "run", config=config)
        with pytest.raises(InputError, match="in l1, but the leaderboards are of linf and l2"):
            export(tmp_path / "run", tmp_path / "net.pt")

    def test_neither_the_form_nor_another_file_is_overwritten(self, given, tmp_path):
        evaluate(*given, [FGSM(Linf(0.1))], out=tmp_path / "run", config=EvaluationConfig(audit=0))
        (tmp_path / "README.md").write_text("mine")
        with pytest.raises(OutputError, match=r"README\.md is there already"):
            export(tmp_path / "run", tmp_path / "README.pt")
        with pytest.raises(InputError, match=r"give NAME\.pt"):
            export(tmp_path / "run", tmp_path / "form.md")
        assert (tmp_path / "README.md").read_text() == "mine"
        assert {path.name for path in tmp_path.iterdir()} == {"run", "README.md"}

    def test_what_is_known_of_a_model(self, tmp_path):
        path = tmp_path / "cifar10" / "Linf" / "Net2020.json"
        path.parent.mkdir(parents=True)
        path.write_text('{"eps": "8/255", "clean_acc": "89.69", "autoattack_acc": "59.53"}')
        found = known("Net2020", tmp_path)
        assert (found.clean, found.autoattack, found.best_known) == (0.8969, 0.5953, 0.5953)
        assert found.eps == pytest.approx(8 / 255)
        for text in ("{}", "[]", '{"eps": "x", "clean_acc": 1, "autoattack_acc": 1}'):
            path.write_text(text)
            with pytest.raises(DamagedFileError, match="does not describe a model"):
                known("Net2020", tmp_path)
        with pytest.raises(MissingFileError, match="model_info of a clone"):
            known("Net2021", tmp_path)
