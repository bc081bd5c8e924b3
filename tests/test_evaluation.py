import itertools
import json
import math
import random
import re
import warnings
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import holdfast
from holdfast import metrics
from holdfast.attacks import FGSM, FMN, PGD, Attack, DeepFool, SecondOrder, Square, Worst
from holdfast.certify import certify_images
from holdfast.certify.config import INTERVALS, CertificationConfig
from holdfast.certify.run import certify, certify_data
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.diagnose import Diagnosis, diagnose_data, live_filters
from holdfast.errors import (
    GradientError,
    InputError,
    InputTypeError,
    ModelError,
    OutputError,
    UnknownNameError,
)
from holdfast.evaluation import EvaluationConfig, evaluate, evaluate_data, scoring, study
from holdfast.evaluation.asking import Asker
from holdfast.evaluation.rounding import to_8_bit
from holdfast.evaluation.scoring import Scorer
from holdfast.files import read_json
from holdfast.goals import margin
from holdfast.random import Stream, drawing_from
from holdfast.results import Run, read_images, read_rows
from holdfast.results.chunks import Chunks
from holdfast.statistics import proportion_interval
from holdfast.threat import L2, Linf
from holdfast.types import Threat
from tests.toys import Linear, Wrapped, images, random_linear, small_network, two_class

#: Models and attacks as they are: no probe asks the one, and no variant is added to the other.
BLINDFOLDED = EvaluationConfig(hidden=False)


@dataclass(frozen=True, kw_only=True)
class Move(Attack):
    """Moves every pixel by a fixed amount, whatever the model says."""

    threat: Threat
    by: float
    calls: int = 0

    def perturb(self, model, x0, y, rng, callback=None):
        for _ in range(self.calls):
            with drawing_from(rng):
                model(x0)
        return self.threat.project(x0 + self.by, x0)


def example(count=30):
    model, x = small_network(), images(count)
    y = model(x).argmax(dim=1)
    y[:5] = (y[:5] + 1) % 4  # five images that the model gets wrong
    return model, x, y


@dataclass(frozen=True, kw_only=True)
class Company(Move):
    """Moves nothing; remembers which images it was given together, and forgets earlier passes."""

    passes: list
    attacked: list

    def perturb(self, model, x0, y, rng, callback=None):
        self.passes.clear()
        self.attacked[:] = sorted(x0.flatten().tolist())
        return x0


class TestRows:
    def test_rank_counts_the_classes_that_are_preferred_to_the_label(self):
        model, x, _ = example(40)
        y = torch.arange(40) % 4
        rows = evaluate(model, x, y, {"move": Move(threat=Linf(0.1), by=0.1)}).rows
        with torch.no_grad():
            logits = model(x).double().numpy()
        own = logits[np.arange(40), y.numpy()]
        clean = rows[rows["attack"] == "clean"]
        assert (clean["rank"].to_numpy() == (logits > own[:, None]).sum(axis=1)).all()
        assert set(clean["rank"]) == {0, 1, 2, 3}
        assert ((rows["rank"] == 0) == (rows["prediction"] == rows["label"])).all()

    def test_ranks_are_the_same_however_far_apart_the_logits_are(self):
        """Beyond 745 the probabilities of all classes but one are 0, and ranks are of logits."""
        model, x, y = random_linear(4, 36), images(40), torch.arange(40) % 4
        near, far = (
            evaluate(one, x, y, {"move": Move(threat=Linf(0.1), by=0.1)}, config=BLINDFOLDED).rows
            for one in (model, Linear(2.0**20 * model.weight.detach()))
        )
        assert set(near["rank"]) == {0, 1, 2, 3}
        assert far["rank"].tolist() == near["rank"].tolist()

    def test_a_label_that_is_level_with_the_answer_is_behind_it(self):
        x, y = torch.rand(3, 1, 2, 2), torch.arange(3)
        rows = evaluate(Linear(torch.zeros(3, 4)), x, y, {"move": Move(threat=Linf(0.1), by=0.1)})
        assert rows.rows["rank"].tolist() == 2 * [0, 1, 1]

    @pytest.mark.filterwarnings("ignore:.*asked the model nothing:UserWarning")
    def test_all_images_are_attacked_if_that_is_asked_for_and_none_gets_robust_by_it(self):
        model, x, y = example()
        y = torch.arange(30) % 4  # most are wrong, and some get right by moving
        passes, attacked = [], []
        found = {}
        for attack_all in (False, True):
            attack = Company(threat=Linf(0.5), by=0.3, passes=passes, attacked=attacked)
            config = EvaluationConfig(attack_all=attack_all)
            evaluate(model, x, y, {"c": attack}, config=config)
            found[attack_all] = len(attacked) // x[0].numel()
            moved = {"m": Move(threat=Linf(0.5), by=0.3)}
            rows = evaluate(model, x, y, moved, config=config).rows
            rows = rows[rows["attack"] == "m"]
            wrong = rows["clean_prediction"] != rows["label"]
            assert rows.loc[wrong, "fooled"].all()
            got_right = (rows["prediction"] == rows["label"])[wrong]
            assert got_right.any() == attack_all
        right = int((model(x).argmax(dim=1) == y).sum())
        assert found == {False: right, True: 30}

    def test_robust_accuracy_is_what_the_model_says_of_the_adversarial_images(self):
        model, x, y = example()
        attack = PGD(Linf(0.1), steps=10)
        result = evaluate(model, x, y, {"pgd": attack})
        (cell,) = result.cells
        right = torch.arange(30) >= 5
        x_adv = x.clone()
        x_adv[right] = attack(model, x[right], y[right], index=torch.arange(5, 30))
        robust = (model(x_adv).argmax(dim=1) == y).float().mean()
        assert cell["robust_accuracy"] == pytest.approx(float(robust))
        assert cell["clean_accuracy"] == pytest.approx(25 / 30)
        assert 0 < cell["robust_accuracy"] < cell["clean_accuracy"]
        assert cell["low"] < cell["robust_accuracy"] < cell["high"]
        assert cell["n"] == 30

    def test_rows_hold_distances_predictions_and_losses(self):
        model, x, y = example()
        result = evaluate(model, x, y, {"move": Move(threat=Linf(0.2), by=0.1)})
        rows = result.rows[result.rows["attack"] == "move"].set_index("index")
        moved = x.clone()
        moved[5:] = (x[5:] + 0.1).clamp(max=1)
        delta = (moved - x).double().flatten(1)
        assert np.allclose(rows["linf"], delta.abs().amax(dim=1))
        assert np.allclose(rows["l2"], delta.norm(dim=1))
        assert np.allclose(rows["l1"], delta.abs().sum(dim=1))
        assert (rows["l0"] == (delta != 0).sum(dim=1).numpy()).all()
        assert (rows["prediction"] == model(moved).argmax(dim=1).numpy()).all()
        loss = nn.functional.cross_entropy(model(moved), y, reduction="none")
        assert np.allclose(rows["loss"], loss.detach(), atol=1e-5)
        assert (rows["fooled"] == (rows["prediction"] != rows["label"])).all()

    def test_images_that_are_wrong_already_are_left_alone_and_count_as_fooled(self):
        model, x, y = example()
        result = evaluate(model, x, y, {"move": Move(threat=Linf(0.2), by=0.1, calls=3)})
        wrong = result.rows[(result.rows["attack"] == "move") & (result.rows["index"] < 5)]
        assert (wrong["linf"] == 0).all()
        assert (wrong["forwards"] == 0).all()
        assert wrong["fooled"].all()

    @pytest.mark.filterwarnings("ignore:.*asked the model nothing:UserWarning")
    def test_an_attacks_own_belief_is_not_a_result(self):
        """An attack that fools nothing, and one that fools all but was never asked."""
        model = two_class(torch.ones(4), 2.0)
        x = torch.full((6, 1, 2, 2), 0.45)
        y = torch.zeros(6, dtype=torch.int64)
        result = evaluate(
            model,
            x,
            y,
            {"nothing": Move(threat=Linf(0.3), by=0.0), "all": Move(threat=Linf(0.3), by=0.2)},
        )
        assert [cell["robust_accuracy"] for cell in result.cells] == [1.0, 0.0]

    @pytest.mark.filterwarnings("ignore:.*asked the model nothing:UserWarning")
    def test_median_distance_is_over_what_was_fooled(self):
        model, x, y = example()
        result = evaluate(model, x, y, {"pgd": PGD(L2(0.5)), "still": Move(threat=L2(0.5), by=0.0)})
        rows = result.rows[result.rows["attack"] == "pgd"]
        fooled = rows[rows["fooled"] & (rows["clean_prediction"] == rows["label"])]
        assert result.cells[0]["median_distance"] == pytest.approx(fooled["l2"].median())
        assert result.cells[1]["median_distance"] is None
        still = metrics.cells(result.rows[result.rows["attack"] == "still"])
        assert still["median_distance"].dtype == float  # so that tables of it can be stacked

    def test_no_limit_is_null_in_json_and_infinite_in_rows(self, tmp_path):
        attack = {"move": Move(threat=L2(math.inf), by=0.2)}
        found = evaluate(*example(), attack, out=tmp_path / "run")
        assert found.cells[0]["eps"] is None
        assert json.loads((tmp_path / "run" / "run.json").read_text(), parse_constant=pytest.fail)
        assert np.isinf(found.rows.loc[found.rows["attack"] == "move", "eps"]).all()

    def test_points_that_are_no_images(self):
        model, x = random_linear(3, 5), images(9, (5,))
        y = model(x).argmax(dim=1)
        (cell,) = evaluate(model, x, y, {"pgd": PGD(L2(0.4))}).cells
        assert cell["clean_accuracy"] == 1
        assert cell["robust_accuracy"] < 1

    def test_size_zero_leaves_the_clean_accuracy(self):
        model, x, y = example()
        for threat in (Linf(0), L2(0)):
            (cell,) = evaluate(model, x, y, {"pgd": PGD(threat)}).cells
            assert cell["robust_accuracy"] == cell["clean_accuracy"]

    def test_the_result_does_not_depend_on_the_batch_size(self):
        model, x, y = example()
        strong = PGD(Linf(0.08))
        attacks = {
            "pgd": PGD(Linf(0.05)),
            "so": SecondOrder(L2(0.3), steps=5),
            "both": Worst((replace(strong, steps=2), strong), called=("weak", "strong")),
        }
        results = [
            evaluate(model, x, y, attacks, config=EvaluationConfig(batch_size=size)).rows
            for size in (30, 29, 4, 1)  # 29 leaves a rest of one image
        ]
        columns = ["attack", "index", "prediction", "fooled", "by", "forwards", "backwards"]
        for result in results[1:]:
            pd.testing.assert_frame_equal(result[columns], results[0][columns])
            assert np.allclose(result["l2"], results[0]["l2"], atol=1e-4)

    def test_no_image_is_scored_in_the_company_it_was_attacked_in(self):
        """A pixel is an image's name; every subset of a batch may be what the model got right."""
        passes, attacked = [], []

        def remembers(x):
            passes.append(sorted(x.flatten().tolist()))
            return torch.tensor([[1.0, 0.0]]).expand(len(x), 2)

        attack = Company(threat=Linf(0.1), by=0.0, passes=passes, attacked=attacked)
        for count in (1, 2, 3, 4, 5):
            x = torch.arange(count).view(-1, 1, 1, 1) / 10
            data = Data.of(x, torch.zeros(count, dtype=torch.int64))
            asker = Asker(Wrapped(remembers), data, seed=0, votes=1, batch_size=count)
            scorer = Scorer(asker)
            for clean in itertools.product([0, 1], repeat=count):
                if 0 in clean:
                    batch = asker.batch(torch.arange(count))
                    scorer.attack_rows("a", attack, batch, torch.tensor(clean))
                    assert {name for batch in passes for name in batch} == set(x.flatten().tolist())
                    assert attacked not in passes

    def test_the_seed_counts(self):
        model, x, y = example()
        attacks = {"pgd": PGD(Linf(0.05))}
        first, again, other = (
            evaluate(model, x, y, attacks, config=EvaluationConfig(seed=seed)).rows
            for seed in (1, 1, 2)
        )
        pd.testing.assert_frame_equal(first, again)
        assert (first["l2"] != other["l2"]).any()


class LaterOther(nn.Module):
    """Answers as it should until it has been asked ``calls`` times."""

    def __init__(self, calls, other):
        super().__init__()
        self.network, self.left, self.other = small_network(), calls, other

    def forward(self, x):
        self.left -= 1
        logits = self.network(x)
        return logits if self.left >= 0 else self.other(logits)


def broken(logits):
    raise RuntimeError("out of\nsorts")


class TestWhatIsGiven:
    @pytest.mark.parametrize(
        ("other", "words"),
        [
            (lambda z: z / 0, "infinite logits|NaN"),
            (lambda z: z.log().where(z > 0, -torch.inf), "infinite logits"),
            (lambda z: z.long(), "torch.int64"),
            (lambda z: z > 0, "torch.bool"),
            (lambda z: z.to(torch.complex64), "torch.complex64"),
        ],
    )
    def test_logits_are_finite_numbers(self, tmp_path, other, words):
        model, (_, x, y) = LaterOther(0, other), example()
        with pytest.raises(ModelError, match=words):
            evaluate(model, x, y, {"move": Move(threat=Linf(0.1), by=0.1)}, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        with pytest.raises(ModelError, match=words):
            PGD(Linf(0.1), steps=2)(model.eval(), x, y)

    @pytest.mark.parametrize("other", [broken, lambda z: z[:, 0], lambda z: z > 0])
    def test_a_model_that_fails_before_anything_is_finished_leaves_no_folder(self, tmp_path, other):
        attacks, out = {"move": Move(threat=Linf(0.1), by=0.1)}, tmp_path / "new" / "run"
        _, x, y = example()
        for calls in range(2, 5):  # two of the probe, two to know the model again, the scorer's
            with pytest.raises(ModelError, match=r"out of sorts|returned"):
                evaluate(LaterOther(calls, other), x, y, attacks, config=BLINDFOLDED, out=out)
            assert not list(tmp_path.iterdir())
        out.mkdir(parents=True)  # a folder of the user's own stays, empty
        with pytest.raises(ModelError):
            evaluate(LaterOther(4, other), x, y, attacks, config=BLINDFOLDED, out=out)
        assert not list(out.iterdir())

    def test_a_model_that_fails_later_leaves_what_is_finished(self, tmp_path):
        attacks, (_, x, y) = {"move": Move(threat=Linf(0.1), by=0.1)}, example()
        few = EvaluationConfig(batch_size=10, hidden=False)
        with pytest.raises(ModelError, match="out of sorts"):
            evaluate(LaterOther(6, broken), x, y, attacks, config=few, out=tmp_path)
        assert 0 < len(list(tmp_path.glob("rows/*.csv"))) < 6
        again = evaluate(LaterOther(99, broken), x, y, attacks, config=few, out=tmp_path)
        whole = evaluate(LaterOther(99, broken), x, y, attacks, config=few)
        pd.testing.assert_frame_equal(again.rows, whole.rows)

    def test_certifying_leaves_no_folder_either(self, tmp_path):
        _, x, y = example()
        how = CertificationConfig(sigma=0.1, votes=20)
        for calls in range(1, 9):  # the probe, what it is known by, and then the votes
            model = LaterOther(calls, broken)
            with pytest.raises(ModelError, match="out of sorts"):
                certify_data(model, Data.of(x, y), how, "later", tmp_path / "run")
            assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("name", ["clean", "Clean", "none", "None", "", " ", "a\nb", "a\rb"])
    def test_words_that_mean_something_else_in_rows_name_no_attack(self, tmp_path, name):
        model, x, y = example()
        move = Move(threat=Linf(0.1), by=0.1)
        with pytest.raises(InputError, match="is named"):
            evaluate(model, x, y, {name: move}, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize(
        "name", ["1", "1e5", "True", "inf", "N", 'a "b", c', "é", "NA", "null", "nan"]
    )
    def test_any_other_name_is_what_it_was(self, tmp_path, name):
        model, x, y = example()
        attack = Move(threat=Linf(0.1), by=0.1)
        found = evaluate(model, x, y, {name: attack}, out=tmp_path / "run")
        assert [cell["attack"] for cell in found.cells] == [name]
        assert set(read_rows(tmp_path / "run")["attack"]) == {"clean", name}

    @pytest.mark.parametrize(
        "change", [{"batch_size": True}, {"keep_images": 2**64}, {"seed": 2**64}]
    )
    def test_parameters_are_what_the_protocol_says(self, change):
        with pytest.raises((InputError, InputTypeError), match=next(iter(change))):
            EvaluationConfig(**change)

    @pytest.mark.parametrize(
        ("config", "eps"),
        [
            ({"batch_size": 2**62}, 0.1),
            ({"votes": 2**53}, 0.1),
            ({"keep_images": 2**60}, 0.1),
            ({"penalties": (1e17,)}, 0.1),
            ({"audit": 1e12}, 0.1),
            ({}, 1e17),
        ],
    )
    def test_what_no_run_could_be_read_with_is_refused_before_the_folder(
        self, tmp_path, config, eps
    ):
        model, x, y = example()
        with pytest.raises(InputError, match=next(iter(config), "eps")):
            evaluate(
                model,
                x,
                y,
                [FGSM(Linf(eps))],
                config=EvaluationConfig(**config),
                out=tmp_path / "run",
            )
        assert not (tmp_path / "run").exists()

    @pytest.mark.parametrize("name", ["", " ", "a\ud800", "a\nb"], ids=ascii)
    def test_a_models_name_can_be_read(self, tmp_path, name):
        model, x, y = example()
        config = CertificationConfig(sigma=0.1)
        found = Diagnosis("filters", {}, live_filters, lambda found: {})
        calls = [
            lambda: evaluate(model, x, y, [FGSM(Linf(0.1))], name=name, out=tmp_path / "run"),
            lambda: certify(model, x, y, config=config, name=name, out=tmp_path / "run"),
            lambda: study(
                {name: model}, Data.of(x, y), [("f", FGSM(Linf(0.1)))], out=tmp_path / "run"
            ),
            lambda: diagnose_data(found, {name: model}, Data.of(x, y), out=tmp_path / "run"),
        ]
        for call in calls:
            with pytest.raises(InputError, match=r"model is called .*no table can show"):
                call()
        assert not (tmp_path / "run").exists()

    @pytest.mark.usefixtures("unchecked")
    def test_numpys_seeds_are_seeds(self, tmp_path):
        model, x, y = example()
        attack = PGD(Linf(0.1), steps=2)
        assert torch.equal(attack(model, x, y, seed=np.int64(3)), attack(model, x, y, seed=3))
        rows = [
            evaluate(
                model, x, y, [attack], config=EvaluationConfig(seed=seed), out=tmp_path / name
            ).rows
            for name, seed in (("plain", 3), ("numpy", np.int64(3)))
        ]
        pd.testing.assert_frame_equal(
            *(one.drop(columns="seconds", errors="ignore") for one in rows)
        )

    def test_an_empty_path_is_no_folder(self):
        model, x, y = example()
        with pytest.raises(InputError, match="out is empty"):
            evaluate(model, x, y, [FGSM(Linf(0.1))], out="")


class TestMasking:
    """A planted weakness of the model must not pass for robustness."""

    def stepped(self, x):
        return small_network()((x * 4).round() / 4)

    def test_a_model_without_slope_is_warned_of(self):
        _, x, _ = example(20)
        model = Wrapped(self.stepped)
        y = model(x).argmax(dim=1)
        with pytest.warns(UserWarning, match="fgsm linf 0.1: for 20 of 20 images") as caught:
            result = evaluate(model, x, y, {"fgsm": FGSM(Linf(0.1))}, config=BLINDFOLDED)
        assert len(caught) == 1
        assert result.cells[0]["robust_accuracy"] == 1
        assert result.rows[result.rows["attack"] == "fgsm"]["blind"].all()

    def test_a_saturated_softmax_is_warned_of_and_the_margin_sees(self):
        model, x, _ = example(20)
        y = model(x).argmax(dim=1)
        saturated = Wrapped(lambda x: 1e5 * model(x))
        with pytest.warns(UserWarning, match="try goal=margin"):
            masked = evaluate(saturated, x, y, {"pgd": PGD(Linf(0.1), random_start=False)})
        seeing = evaluate(saturated, x, y, {"pgd": PGD(Linf(0.1), goal=holdfast.goals.margin)})
        honest = evaluate(model, x, y, {"pgd": PGD(Linf(0.1))})
        accuracies = [r.cells[0]["robust_accuracy"] for r in (masked, seeing, honest)]
        assert accuracies[0] > accuracies[1] + 0.2
        assert accuracies[1] <= accuracies[2] + 0.05

    def test_an_honest_model_is_not_warned_of(self):
        model, x, y = example()
        rows = evaluate(model, x, y, {"pgd": PGD(Linf(0.1)), "so": SecondOrder(L2(0.2))}).rows
        assert not rows["blind"].any()


def unwarned(*arguments, **options):
    """An evaluation whose warnings are read off the result."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluate(*arguments, **options)


class Spoilt(torch.autograd.Function):
    """The identity, with whatever a function makes of the gradient."""

    @staticmethod
    def forward(ctx, x, spoil):
        ctx.spoil = spoil
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return ctx.spoil(grad), None


def spoilt(spoil):
    """A network that is honest but for its gradient, and images that it gets right."""
    network, x = small_network(), images(40)
    return Wrapped(lambda x: network(Spoilt.apply(x, spoil))), x, network(x).argmax(dim=1)


class TestMisleadingGradients:
    """Gradients that are there and lead nowhere must not pass for robustness either."""

    square = Square(Linf(0.1), queries=100)

    def test_one_that_is_not_finite_is_blind(self):
        model, x, y = spoilt(lambda grad: grad * torch.nan)
        attacks = {"pgd": PGD(Linf(0.1), steps=5, random_start=False)}
        with pytest.warns(UserWarning, match="pgd linf 0.1: for .* not finite") as caught:
            found = evaluate(model, x, y, attacks, config=BLINDFOLDED)
        assert found.rows[found.rows["attack"] == "pgd"]["blind"].all()
        assert [str(warning.message) for warning in caught] == found.warnings

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda grad: -grad, "left 40 of the 40 .* lowered the loss of 40"),
            (lambda grad: grad * torch.randn_like(grad), "pgd linf 0.02: left"),
            (lambda grad: (1e4 * grad).sin(), "pgd linf 0.02: left"),
        ],
        ids=["flipped", "random", "shattered"],
    )
    def test_an_attack_that_leaves_nearly_everything_is_told_of(self, spoil, words):
        model, x, y = spoilt(spoil)
        with pytest.warns(UserWarning, match=words):
            evaluate(model, x, y, {"pgd": PGD(Linf(0.02), steps=20)}, config=BLINDFOLDED)

    def test_in_the_largest_ball_only(self):
        """That little falls in a small one is no sign, where the attack succeeds in a larger."""
        model, x, y = spoilt(lambda grad: grad)
        attacks = {f"{eps}": PGD(Linf(eps), steps=5) for eps in (0.001, 0.1)}
        found = evaluate_data(
            model,
            Data.of(x, y),
            [("pgd", attack) for attack in attacks.values()],
            EvaluationConfig(),
            "m",
            self.folder / "run",
        )
        assert found.cells[0]["robust_accuracy"] == 1
        assert not found.warnings

    @pytest.fixture(autouse=True)
    def place(self, tmp_path):
        self.folder = tmp_path

    def test_an_attack_without_gradients_that_beats_them_is_told_of(self):
        attacks = {"pgd": PGD(Linf(0.1), steps=5), "square": self.square}
        model, x, y = spoilt(lambda grad: -grad)
        found = unwarned(model, x, y, attacks, config=BLINDFOLDED)
        assert found.cells[1]["robust_accuracy"] < found.cells[0]["robust_accuracy"] - 0.3
        more = "square linf 0.1: without gradients of the model it fooled"
        assert any(note.startswith(more) for note in found.warnings)
        honest, x, y = spoilt(lambda grad: grad)
        assert not evaluate(honest, x, y, attacks).warnings

    def test_so_is_one_at_the_end_of_a_cascade(self):
        cascade = Worst((PGD(Linf(0.1), goal=margin), self.square), called=("pgd", "square"))
        model, x, y = spoilt(lambda grad: -grad)
        notes = unwarned(model, x, y, {"all": cascade}, config=BLINDFOLDED).warnings
        assert any(re.match("all linf 0.1: square broke .* of 40 images", note) for note in notes)
        honest, x, y = spoilt(lambda grad: grad)
        assert not evaluate(honest, x, y, {"all": cascade}).warnings
        beside = {"all": cascade, "square": self.square}  # which met what gradients break, too
        assert not evaluate(honest, x, y, beside).warnings

    def test_probabilities_are_told_of(self):
        model, x, y = example()
        probabilities = Wrapped(lambda x: model(x).softmax(dim=1))
        with pytest.warns(UserWarning, match="look like probabilities"):
            found = evaluate(probabilities, x, y, {"pgd": PGD(Linf(0.1), steps=5)})
        assert len(found.warnings) == 1
        logarithms = Wrapped(lambda x: model(x).log_softmax(dim=1))
        assert not evaluate(logarithms, x, y, {"pgd": PGD(Linf(0.1), steps=5)}).warnings

    def test_all_warnings_are_kept_and_given_again(self):
        model, x, y = spoilt(lambda grad: -grad)
        twice = Wrapped(lambda x: model(x).softmax(dim=1)).train()
        attacks, out = {"pgd": PGD(Linf(0.05), steps=5)}, self.folder / "run"
        for _ in range(2):
            with pytest.warns(UserWarning, match="probabilities|training|left") as caught:
                evaluate(twice, x, y, attacks, config=BLINDFOLDED, out=out)
            kept = read_json(self.folder / "run" / "run.json")["warnings"]
            assert [str(warning.message) for warning in caught] == kept
            assert len(kept) == 3


class TestCutOffGradients:
    """Where no gradient reaches the images, what needs one is skipped and the rest goes on."""

    def example(self):
        network, x = small_network(), images(30)
        return Wrapped(lambda x: network(x.detach())), x, network(x).argmax(dim=1)

    def test_what_needs_a_gradient_is_skipped_with_its_reason(self, tmp_path):
        model, x, y = self.example()
        square = Square(Linf(0.1), queries=100)
        attacks = {
            "pgd": PGD(Linf(0.1)),
            "square": square,
            "all": Worst((PGD(Linf(0.1)), square), called=("pgd", "square")),
        }
        small = EvaluationConfig(batch_size=8, hidden=False)
        found = unwarned(model, x, y, attacks, config=small, out=tmp_path / "run")
        assert any("all linf 0.1: skipped pgd: no gradient" in note for note in found.warnings)
        pgd, alone, cascade = found.cells
        assert pgd["robust_accuracy"] is pgd["low"] is pgd["high"] is None
        assert "no gradient reaches" in pgd["skipped"]["pgd"]
        assert "skipped" not in alone
        assert alone["robust_accuracy"] < 0.9
        assert set(cascade["skipped"]) == {"pgd"}
        assert cascade["broken_by"]["pgd"] == 0
        assert cascade["broken_by"]["square"] > 3
        assert read_json(tmp_path / "run" / "run.json")["cells"] == found.cells

    def test_nothing_is_written_where_nothing_can_run(self, tmp_path):
        model, x, y = self.example()
        attacks = {"pgd": PGD(Linf(0.1)), "all": Worst((FGSM(Linf(0.1)), DeepFool(Linf(0.1))))}
        with pytest.raises(GradientError, match="BPDA"):
            evaluate(model, x, y, attacks, config=BLINDFOLDED, out=tmp_path / "run")
        assert not list(tmp_path.iterdir())


def test_the_seed_reaches_python_and_numpy():
    """A stranger's model draws from them, whatever state they are in."""
    network, (_, x, y) = small_network(), example()
    model = Wrapped(lambda x: network(x + random.gauss(0, 0.3) + np.random.normal(0, 0.3)))  # noqa: NPY002
    found = []
    for other in (1, 2):
        random.seed(other)
        np.random.seed(other)  # noqa: NPY002
        found.append(unwarned(model, x, y, {"pgd": PGD(Linf(0.1), steps=2)}).rows)
    pd.testing.assert_frame_equal(*found)


class TestCounting:
    def test_passes_are_counted_exactly(self):
        model, x, y = example()
        attack = PGD(Linf(1e-6), steps=7)  # too small to fool, so that all steps are spent
        with pytest.warns(UserWarning, match="left 25 of the 25 images"):
            (cell,) = evaluate(model, x, y, {"pgd": attack}).cells
        assert (cell["forwards"], cell["backwards"]) == (25 * 7, 25 * 7)
        attack = SecondOrder(Linf(1e-6), steps=3, samples=4)
        with pytest.warns(UserWarning, match="left 25 of the 25 images"):
            (cell,) = evaluate(model, x, y, {"so": attack}).cells
        # Four draws, and one look at the image itself, for each step.
        assert (cell["forwards"], cell["backwards"]) == (25 * 3 * 5, 25 * 3 * 4)
        attack = PGD(Linf(1e-6), steps=3, restarts=2)
        with pytest.warns(UserWarning, match="left 25 of the 25 images"):
            (cell,) = evaluate(model, x, y, {"pgd": attack}).cells
        assert (cell["forwards"], cell["backwards"]) == (25 * 7, 25 * 6)

    def test_an_early_stop_saves_passes_for_that_example_only(self):
        model, x, y = example()
        rows = evaluate(model, x, y, {"pgd": PGD(Linf(0.15), random_start=False)}).rows
        rows = rows[(rows["attack"] == "pgd") & (rows["index"] >= 5)]
        assert (rows.loc[~rows["fooled"], "forwards"] == 40).all()
        assert (rows.loc[rows["fooled"], "forwards"] < 40).any()

    def test_passes_without_names_are_spread(self):
        counted = Counted(random_linear(3, 4), torch.tensor([10, 20, 30]))
        counted(torch.zeros(7, 4))
        assert counted.forwards.tolist() == [3, 2, 2]
        with drawing_from(Stream.of(0, torch.tensor([30, 10]))):
            counted(torch.zeros(2, 4))
        assert counted.forwards.tolist() == [4, 2, 3]
        assert counted.backwards.tolist() == [0, 0, 0]


class TestStochastic:
    def test_a_noisy_model_is_attacked_through_its_average_and_scored_by_votes(self):
        base, x, y = example()
        model = nn.Sequential(GaussianNoise(0.1), base)
        result = evaluate(
            model,
            x,
            y,
            {"pgd": PGD(Linf(0.1), steps=3)},
            config=EvaluationConfig(votes=50, samples=4),
        )
        rows = result.rows[result.rows["attack"] == "pgd"]
        assert (rows["votes"] == 50).all()
        assert rows["votes_for_label"].between(0, 50).all()
        assert (rows["votes_for_prediction"] >= rows["votes_for_label"]).all()
        attacked = rows[rows["forwards"] > 0]
        assert (attacked["forwards"] == 3 * 4).all()
        assert rows["votes_for_label"].nunique() > 3

    @pytest.mark.filterwarnings("ignore:.*asked the model nothing:UserWarning")
    def test_the_vote_that_is_attacked_is_the_one_that_is_certified(self):
        base, x, _ = example()
        noisy = nn.Sequential(GaussianNoise(0.3), base)
        found = certify_images(base, x, sigma=0.3, votes=2000)
        result = evaluate(
            noisy,
            x,
            torch.tensor(found.counts.argmax(axis=1)),
            {"unmoved": Move(threat=Linf(0.1), by=0.0)},
            config=EvaluationConfig(votes=2000),
        )
        rows = result.rows[result.rows["attack"] == "unmoved"]
        fractions = rows["votes_for_label"].to_numpy() / 2000
        certain = found.counts.max(axis=1) / 2000
        # Two independent estimates of the same probability.
        assert (abs(fractions - certain) < 4.5 * np.sqrt(2 * 0.25 / 2000)).all()

    def test_the_record_says_which_noise_was_attacked(self, tmp_path):
        base, x, y = example(4)
        for name, model in (("a", base), ("b", nn.Sequential(GaussianNoise(0.3), base))):
            evaluate(model, x, y, {"f": FGSM(Linf(0.1))}, out=tmp_path / name)
        sigmas = [read_json(tmp_path / n / "run.json")["settings"]["sigma"] for n in "ab"]
        assert sigmas == [None, 0.3]

    def test_undeclared_randomness_is_noticed(self):
        model = nn.Sequential(small_network(), nn.Dropout(0.5))
        model.eval()
        model[1].forward = lambda x: nn.functional.dropout(x, 0.5, training=True)
        x = images(10)
        state = torch.get_rng_state()
        with pytest.warns(
            UserWarning, match="draws random numbers without declaring it"
        ):  # and of nothing else
            result = evaluate(
                model,
                x,
                torch.zeros(10, dtype=torch.int64),
                {"fgsm": FGSM(Linf(0.1))},
                config=EvaluationConfig(votes=20),
            )
        assert (result.rows["votes"] == 20).all()
        assert torch.equal(torch.get_rng_state(), state)

    def test_noise_is_the_same_in_any_batch(self):
        base, x, y = example(12)
        model = nn.Sequential(GaussianNoise(0.3), base)
        rows = [
            evaluate(
                model,
                x,
                y,
                {"pgd": PGD(Linf(0.1), steps=2)},
                config=EvaluationConfig(votes=9, samples=3, batch_size=size),
            ).rows
            for size in (12, 11, 5, 1)
        ]
        for column in ("prediction", "votes_for_label"):
            assert all((some[column] == rows[0][column]).all() for some in rows[1:])


class TestWhoBrokeIt:
    def test_each_row_names_the_attack_that_broke_the_image(self):
        model, x, y = example()
        weak = PGD(Linf(0.08), steps=2, step_size=0.015, random_start=False)
        strong = PGD(Linf(0.08))
        cascade = Worst((weak, strong), called=("weak", "strong"))
        rows = evaluate(model, x, y, {"both": cascade, "weak": weak, "strong": strong}).rows
        by = {name: part.set_index("index")["by"] for name, part in rows.groupby("attack")}
        assert (by["clean"][:5] == "clean").all()
        assert (by["clean"][5:] == "none").all()
        assert (by["both"][:5] == "clean").all()
        assert ((by["both"] == "weak") == (by["weak"] == "weak")).all()
        assert ((by["both"] == "none") <= (by["strong"] == "none")).all()
        assert {"weak", "strong", "none"} <= set(by["both"])

    @pytest.mark.filterwarnings("ignore:.*asked the model nothing:UserWarning")
    def test_an_unfooled_image_was_broken_by_nobody(self):
        rows = evaluate(*example(), {"move": Move(threat=Linf(0.5), by=0.0)}).rows
        assert set(rows["by"]) == {"clean", "none"}


class Rounds(nn.Module):
    """Rounds images to black and white, and says that its gradient is useless."""

    differentiable = False

    def forward(self, x):
        return (x > 0.5).to(x.dtype)


class TestAdaptive:
    def test_a_layer_that_hides_its_gradient_is_attacked_through_another(self):
        model = nn.Sequential(Rounds(), small_network()).eval()
        x = images(20)
        y = model(x).argmax(dim=1)
        attacks = {"pgd": PGD(Linf(0.3), steps=10), "far": PGD(L2(math.inf), step_size=0.1)}
        found = evaluate(model, x, y, attacks)
        assert found.table["robust_accuracy"].max() < 0.5

    def test_every_part_of_a_cascade_is_adapted(self, tmp_path):
        class Cleans(nn.Module):
            purifies = True

            def forward(self, x):
                return 0.9 * x + 0.05

        model = nn.Sequential(Cleans(), GaussianNoise(0.1), small_network()).eval()
        x, y = images(4), torch.tensor([0, 1, 2, 3])
        cascade = Worst((FGSM(Linf(0.1)), PGD(Linf(0.1), steps=2)), called=("fgsm", "pgd"))
        evaluate(
            model,
            x,
            y,
            {"all": cascade},
            config=EvaluationConfig(votes=5, samples=2),
            out=tmp_path / "run",
        )
        (record,) = read_json(tmp_path / "run" / "run.json")["settings"]["attacks"]
        text = record["attack"]
        assert text.count("BPDA(") == 4
        assert text.count("Minus(") == 2
        assert [text.count(f"Average(samples={m},") for m in (1, 30, 2)] == [2, 2, 4]
        assert "votes=30" in text  # more than the evaluator's 5, which luck would decide


class TestResume:
    def run(self, out, attack_calls=None, **config):
        model, x, y = example()
        attacks = {"pgd": PGD(Linf(0.1), steps=5), "so": SecondOrder(L2(0.3), steps=3)}
        return evaluate(
            model, x, y, attacks, config=EvaluationConfig(batch_size=8, **config), out=out
        )

    def begin(self, out, monkeypatch):
        """A run that is killed at the sixth of its batches."""
        original, calls = Scorer.attack_rows, []

        def dies(self, *arguments):
            calls.append(1)
            if len(calls) == 6:
                raise KeyboardInterrupt
            return original(self, *arguments)

        with monkeypatch.context() as killing:
            killing.setattr(Scorer, "attack_rows", dies)
            with pytest.raises(KeyboardInterrupt):
                self.run(out)

    def test_a_killed_run_ends_as_an_unbroken_one(self, tmp_path, monkeypatch):
        whole = self.run(tmp_path / "whole")
        self.begin(tmp_path / "broken", monkeypatch)
        assert not read_json(tmp_path / "broken" / "run.json")["complete"]
        broken = self.run(tmp_path / "broken")
        for name in ("rows.csv",):
            assert (tmp_path / "whole" / name).read_bytes() == (
                tmp_path / "broken" / name
            ).read_bytes()
        without = [
            [{k: v for k, v in cell.items() if k != "seconds"} for cell in result.cells]
            for result in (whole, broken)
        ]
        assert without[0] == without[1]
        assert not (tmp_path / "broken" / "rows").exists()

    @pytest.mark.parametrize("lacking", [["ahead"], ["rank", "ahead"]])
    def test_a_run_of_an_earlier_version_is_finished_by_a_later_one(
        self, tmp_path, monkeypatch, lacking
    ):
        """What the first rows do not say is said of none; all else is as of an unbroken run."""
        whole = self.run(tmp_path / "whole").rows
        rows_of = scoring.rows_of
        with monkeypatch.context() as earlier:
            earlier.setattr(scoring, "rows_of", lambda *of: rows_of(*of).drop(columns=lacking))
            self.begin(tmp_path / "broken", earlier)
        rows = self.run(tmp_path / "broken").rows
        pd.testing.assert_frame_equal(rows, whole.drop(columns=lacking))

    def test_images_are_read_once_for_all_attacks(self):
        model, x, y = example()
        data, reads = Data.of(x, y), []

        def counting(index):
            reads.append(index.tolist())
            return x[index]

        attacks = [("fgsm", FGSM(Linf(0.1))), ("so", SecondOrder(L2(0.3), steps=3))]
        evaluate_data(model, replace(data, _read=counting), attacks, EvaluationConfig(batch_size=8))
        last = [index for index in reads if index[0] == len(x) // 8 * 8]
        assert len(last) == 1

    def test_clean_predictions_are_read_back_only_where_they_were_written_before(
        self, tmp_path, monkeypatch
    ):
        whole = self.run(tmp_path / "whole")
        read, asked = [], []
        read_chunk, clean_rows = Chunks.read, Scorer.clean_rows
        monkeypatch.setattr(
            Chunks, "read", lambda *given: read.append(given[1:]) or read_chunk(*given)
        )
        monkeypatch.setattr(
            Scorer, "clean_rows", lambda *given: asked.append(1) or clean_rows(*given)
        )
        self.run(tmp_path / "again")
        assert not read
        chunks, attack_rows = len(asked), Scorer.attack_rows

        def dies(self, name, *arguments):
            if name == "so":
                raise KeyboardInterrupt
            return attack_rows(self, name, *arguments)

        monkeypatch.setattr(Scorer, "attack_rows", dies)
        with pytest.raises(KeyboardInterrupt):
            self.run(tmp_path / "broken")
        monkeypatch.setattr(Scorer, "attack_rows", attack_rows)
        asked.clear()
        broken = self.run(tmp_path / "broken")
        assert read == [(0, 0)]
        assert len(asked) == chunks - 1
        pd.testing.assert_frame_equal(broken.rows, whole.rows)

    def test_where_images_changed_it_is_said_of_them_and_not_of_the_model(self, tmp_path):
        model, x, y = example()
        evaluate(model, x, y, {"pgd": PGD(Linf(0.1), steps=2)}, out=tmp_path / "run")
        with pytest.raises(OutputError, match="a run of other images or labels"):
            evaluate(model, 1 - x, y, {"pgd": PGD(Linf(0.1), steps=2)}, out=tmp_path / "run")

    def test_a_finished_run_is_read_not_run(self, tmp_path, monkeypatch):
        first = self.run(tmp_path / "run")
        monkeypatch.setattr(Scorer, "attack_rows", None)
        before = (tmp_path / "run" / "run.json").read_bytes()
        second = self.run(tmp_path / "run")
        assert first.cells == second.cells
        pd.testing.assert_frame_equal(first.rows, second.rows)
        assert (tmp_path / "run" / "run.json").read_bytes() == before

    def test_other_settings_are_refused(self, tmp_path):
        self.run(tmp_path / "run")
        with pytest.raises(OutputError, match="seed = 0, and now it is 1"):
            self.run(tmp_path / "run", seed=1)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "thesis.txt").write_text("mine")
        with pytest.raises(OutputError, match="not empty"):
            self.run(tmp_path / "other")
        with pytest.raises(OutputError, match="is a file"):
            self.run(tmp_path / "other" / "thesis.txt")
        assert (tmp_path / "other" / "thesis.txt").read_text() == "mine"

    def test_another_model_is_refused(self, tmp_path):
        _, x, y = example()
        attacks = {"fgsm": FGSM(Linf(0.1))}
        evaluate(small_network(seed=0), x, y, attacks, out=tmp_path / "run")
        with pytest.raises(OutputError, match="model_fingerprint"):
            evaluate(small_network(seed=1), x, y, attacks, out=tmp_path / "run")

    def test_the_record_is_complete(self, tmp_path):
        result = self.run(tmp_path / "run")
        about = read_json(tmp_path / "run" / "run.json")
        assert about["complete"]
        assert about["kind"] == "evaluate"
        assert about["cells"] == result.cells
        assert about["settings"]["seed"] == 0
        assert about["settings"]["attacks"][0]["attack"].startswith("PGD(threat=Linf(eps=0.1)")
        assert set(about["versions"]) >= {"python", "torch", "holdfast"}
        assert about["hardware"]["cores"] >= 1
        pd.testing.assert_frame_equal(read_rows(tmp_path / "run"), result.rows)


class TestImages:
    def test_adversarial_images_are_kept(self, tmp_path):
        model, x, y = example()
        attack = PGD(Linf(0.1), steps=5)
        evaluate(
            model,
            x,
            y,
            {"pgd": attack},
            config=EvaluationConfig(keep_images=10, batch_size=8),
            out=tmp_path / "run",
        )
        kept = read_images(tmp_path / "run", 1)
        assert kept["index"].tolist() == list(range(10))
        assert torch.equal(kept["x"], x[:10])
        rows = read_rows(tmp_path / "run")
        rows = rows[rows["attack"] == "pgd"].head(10)
        assert (model(kept["x_adv"]).argmax(dim=1).numpy() == rows["prediction"]).all()
        assert (Linf(0.1).distance(kept["x_adv_8bit"], x[:10]) <= 0.1 * (1 + 1e-6)).all()
        levels = kept["x_adv_8bit"] * 255
        assert torch.allclose(levels, levels.round(), atol=1e-4)
        assert torch.equal(kept["prediction_8bit"], model(kept["x_adv_8bit"]).argmax(dim=1))

    def test_none_are_kept_on_request(self, tmp_path):
        model, x, y = example()
        evaluate(
            model,
            x,
            y,
            {"f": FGSM(Linf(0.1))},
            config=EvaluationConfig(keep_images=0),
            out=tmp_path / "run",
        )
        assert read_images(tmp_path / "run", 1) == {}

    @pytest.mark.parametrize("threat", [Linf(3.4 / 255), L2(0.2), Linf(0.4 / 255)])
    def test_the_8_bit_grid_stays_within_the_ball(self, threat):
        x0 = (images(20) * 255).round() / 255
        x_adv = threat.project(x0 + 0.1 * (images(20, seed=3) - 0.5), x0)
        rounded, possible = to_8_bit(x_adv, x0, threat)
        assert possible.all()
        assert (threat.distance(rounded, x0) <= threat.eps * (1 + 1e-6)).all()

    def test_a_ball_without_a_grid_point_is_told(self):
        x0 = torch.full((1, 1, 1, 1), 0.5 / 255)
        _, possible = to_8_bit(x0, x0, Linf(0.1 / 255))
        assert not possible.any()


class TestMetrics:
    def table(self, fooled, eps, attack="a", norm="l2"):
        return pd.DataFrame(
            {
                "attack": attack,
                "norm": norm,
                "eps": eps,
                "index": range(len(fooled)),
                "label": 0,
                "clean_prediction": 0,
                "fooled": fooled,
                "forwards": 0,
                "backwards": 0,
            }
        )

    def test_the_worst_case_is_taken_per_example_over_attacks_and_smaller_sizes(self):
        rows = pd.concat(
            [
                self.table([True, False, False, False], 0.1, "a"),
                self.table([False, True, False, False], 0.1, "b"),
                self.table([False, False, True, False], 0.2, "a"),
            ]
        )
        found = metrics.worst_case(rows)
        assert found["eps"].tolist() == [0.0, 0.1, 0.2]
        assert found["robust_accuracy"].tolist() == [1.0, 0.5, 0.25]

    def test_an_attack_without_a_limit_is_read_at_the_sizes_of_the_others(self):
        free = self.table([True, True, True, False], math.inf, "free")
        free["l2"] = [0.05, 0.15, 0.9, 0.0]
        bound = pd.concat([self.table([False] * 4, eps, "bound") for eps in (0.1, 0.2)])
        bound["l2"] = 0.1
        found = metrics.cells(metrics.at_finite_sizes(pd.concat([bound, free])))
        assert found[["attack", "eps", "robust_accuracy"]].values.tolist() == [
            ["bound", 0.1, 1.0],
            ["bound", 0.2, 1.0],
            ["free", 0.1, 0.75],
            ["free", 0.2, 0.5],
        ]
        alone = metrics.cells(metrics.at_finite_sizes(free))
        assert alone["eps"].tolist() == pytest.approx(np.arange(0.1, 0.95, 0.1))
        truth = [float((free["l2"] > size).mean() + 0.25) for size in alone["eps"]]
        assert alone["robust_accuracy"].tolist() == truth

    def test_sizes_are_sound_where_nothing_was_fooled(self):
        free = self.table([False, False], math.inf).assign(l2=0.0)
        assert metrics.cells(metrics.at_finite_sizes(free))["robust_accuracy"].tolist() == [1.0]

    def test_curves_begin_at_size_zero(self):
        def cell(attack, eps, accuracy):
            return {
                "attack": attack,
                "norm": "l2",
                "eps": eps,
                "n": 10,
                "clean_accuracy": 0.9,
                "robust_accuracy": accuracy,
                "low": 0.0,
                "high": 1.0,
            }

        table = pd.DataFrame([cell("a", 0.1, 0.5), cell("a", 0.2, 0.1), cell("b", 0.0, 0.9)])
        found = metrics.from_zero(table)
        assert found[["attack", "eps", "robust_accuracy"]].values.tolist() == [
            ["a", 0.0, 0.9],
            ["a", 0.1, 0.5],
            ["a", 0.2, 0.1],
            ["b", 0.0, 0.9],
        ]
        low, high = proportion_interval(9, 10)
        assert (found["low"][0], found["high"][0]) == pytest.approx((float(low), float(high)))

    def test_the_certified_curve_counts_right_answers_by_radius(self):
        rows = pd.DataFrame(
            {"prediction": [0, 0, 1, -1], "label": 0, "radius": [0.5, 1.0, 2.0, 0.0]}
        )
        curve = metrics.certified_curve(rows)
        assert curve == [(0.0, 0.5), (0.5, 0.5), (1.0, 0.25)]
        assert metrics.accuracy_at(curve, 0.5) == 0.5
        assert metrics.accuracy_at(curve, 0.500001) == 0.25
        assert metrics.accuracy_at(curve, 1.1) == 0.0
        found = metrics.certified(rows, [0.0, 0.7, 3.0])
        assert found["robust_accuracy"].tolist() == [0.5, 0.25, 0.0]

    def test_a_planted_false_certificate_is_found(self):
        proven = pd.DataFrame(
            {"index": [0, 1, 2], "label": 0, "prediction": [0, 0, 1], "radius": [1.0, 1.0, 1.0]}
        )
        attacked = pd.DataFrame(
            {
                "attack": "a",
                "index": [0, 1, 2],
                "l2": [0.5, 0.5, 0.5],
                "fooled": [True, True, True],
                # Lost by far; lost within chance; not certified rightly in the first place.
                "votes_for_prediction": [90, 51, 90],
                "votes_for_label": [10, 49, 10],
            }
        )
        assert metrics.broken_certificates(attacked, proven) == (1, 2)
        attacked["l2"] = 1.5
        assert metrics.broken_certificates(attacked, proven) == (0, 0)

    def test_more_certified_than_robust_is_found(self):
        proven = pd.DataFrame({"index": range(4), "label": 0, "prediction": 0, "radius": 1.0})
        attacked = pd.DataFrame(
            {
                "attack": "a",
                "norm": "l2",
                "eps": np.repeat([0.5, 1.5], 4),
                "index": [*range(4)] * 2,
                "label": 0,
                "clean_prediction": 0,
                "fooled": [False, False, False, True] + [True] * 4,
                "votes_for_prediction": 90,
                "votes_for_label": 10,
            }
        )
        wrong = metrics.overclaimed(attacked, proven)
        assert wrong["eps"].tolist() == [0.5]
        assert wrong["robust_accuracy"].tolist() == [0.75]
        chance = attacked.assign(votes_for_prediction=51, votes_for_label=49)
        assert not len(metrics.overclaimed(chance, proven))
        proven.loc[3, "radius"] = 0.4
        assert not len(metrics.overclaimed(attacked, proven))
        assert not len(metrics.overclaimed(attacked, proven, "l1"))


class TestCertification:
    def test_rows_and_cell(self, tmp_path):
        model, x, y = example()
        how = CertificationConfig(sigma=0.2, votes=200, confidence=0.9)
        (cell,) = certify_data(model, Data.of(x, y), how, "m", tmp_path / "run").cells
        expected = certify_images(model, x, sigma=0.2, votes=200, confidence=0.9)
        rows = read_rows(tmp_path / "run")
        assert (rows["prediction"] == expected.prediction).all()
        assert (rows["radius"] == expected.radius).all()
        assert np.allclose(rows["p1"], expected.p1)
        counts = [
            {int(k): int(v) for k, v in (part.split(":") for part in line.split())}
            for line in rows["votes"]
        ]
        for found, count in zip(counts, expected.counts, strict=True):
            assert found == {k: v for k, v in enumerate(count) if v}
        right = expected.prediction == y.numpy()
        assert cell["accuracy"] == pytest.approx(right.mean())
        assert cell["abstained"] == pytest.approx(expected.abstained.mean())
        assert cell["forwards"] == 30 * (how.selection_votes + 200)
        assert cell["curve"][0] == [0.0, pytest.approx(right.mean())]
        values = [accuracy for _, accuracy in cell["curve"]]
        assert values == sorted(values, reverse=True)
        assert json.loads(json.dumps(cell, allow_nan=False)) == cell

    def test_it_resumes(self, tmp_path, monkeypatch):
        from holdfast.certify import chunks as certification

        model, x, y = example()
        how = CertificationConfig(sigma=0.2, votes=5000)  # few images in a chunk
        whole = certify_data(model, Data.of(x, y), how, "m", tmp_path / "whole").cells
        original, calls = certification.rows_of, []

        def dies(*arguments):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return original(*arguments)

        monkeypatch.setattr(certification, "rows_of", dies)
        with pytest.raises(KeyboardInterrupt):
            certify_data(model, Data.of(x, y), how, "m", tmp_path / "broken")
        broken = certify_data(model, Data.of(x, y), how, "m", tmp_path / "broken").cells
        assert len(calls) == 3 + 4 - 2
        assert (tmp_path / "whole/rows.csv").read_bytes() == (
            tmp_path / "broken/rows.csv"
        ).read_bytes()
        assert whole[0]["curve"] == broken[0]["curve"]

    def test_bounds_and_intervals_from_one_sampling(self, tmp_path):
        model, x, y = example(20)
        how = CertificationConfig(
            sigma=0.2,
            votes=300,
            bounds=("renyi", "cohen", "pixeldp"),
            intervals=("clopper-pearson", "two-sample", "hoeffding"),
            radii=(0.1, 0.2),
        )
        cells = certify_data(model, Data.of(x, y), how, "m", tmp_path / "run").cells
        assert [(c["bound"], c["interval"]) for c in cells] == list(how.certificates)
        rows = read_rows(tmp_path / "run")
        assert len(rows) == 9 * 20
        assert (rows.groupby("index")["votes"].nunique() == 1).all()
        for cell in cells:
            expected = certify_images(
                model,
                x,
                sigma=0.2,
                votes=300,
                bound=cell["bound"],
                interval=INTERVALS[cell["interval"]],
            )
            part = rows[(rows["bound"] == cell["bound"]) & (rows["interval"] == cell["interval"])]
            assert (part["radius"] == expected.radius).all()
            assert part["index"].tolist() == list(range(20))
            for point in cell["at"]:
                robust = (expected.prediction == y.numpy()) & (expected.radius >= point["radius"])
                assert point["accuracy"] == robust.mean()
        assert "choice" in rows

    def test_a_sequential_run_asks_less_and_says_the_same(self, tmp_path):
        model, x, y = example(20)
        fixed = CertificationConfig(
            sigma=0.2, votes=4000, bounds=("cohen",), intervals=("two-sample",)
        )
        early = replace(fixed, intervals=("sequential",), radii=(0.1, 0.2))
        (whole,) = certify_data(model, Data.of(x, y), fixed, "m", tmp_path / "fixed").cells
        (cell,) = certify_data(model, Data.of(x, y), early, "m", tmp_path / "early").cells
        assert cell["forwards"] < whole["forwards"] / 2
        rows = read_rows(tmp_path / "early")
        assert cell["forwards"] == rows["draws"].sum() + 20 * 100
        for radius in (0.1, 0.2):
            before = metrics.accuracy_at(whole["curve"], radius)
            assert metrics.accuracy_at(cell["curve"], radius) == pytest.approx(before, abs=0.1)

    def test_a_damaged_chunk_is_named_and_only_that_is_computed_again(self, tmp_path, monkeypatch):
        from holdfast.certify import chunks as certification

        model, x, y = example()
        how = CertificationConfig(sigma=0.2, votes=2600)  # eight images in a chunk
        whole = certify_data(model, Data.of(x, y), how, "m", tmp_path / "whole").cells
        merge = Run.merge
        monkeypatch.setattr(Run, "merge", lambda run: 1 / 0)  # stop with all chunks on disk
        with pytest.raises(ZeroDivisionError):
            certify_data(model, Data.of(x, y), how, "m", tmp_path / "run")
        monkeypatch.setattr(Run, "merge", merge)
        chunk = tmp_path / "run" / "rows" / "0000.00002.csv"
        content = chunk.read_text()
        chunk.write_text(content.replace("1", "7", 1))
        sample, asked = certification.sampled, []
        monkeypatch.setattr(
            certification, "sampled", lambda *a: (asked.append(a[2].tolist()), sample(*a))[1]
        )
        with pytest.warns(UserWarning, match=r"00002\.csv is damaged: chunk 2"):
            again = certify_data(model, Data.of(x, y), how, "m", tmp_path / "run").cells
        assert asked == [list(range(16, 24))]
        assert again[0]["curve"] == whole[0]["curve"]

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"intervals": ("sequential",)}, InputError),
            ({"intervals": ("sequential", "two-sample"), "within": 0.9}, InputError),
            ({"within": 0.9}, InputError),
            ({"bounds": ()}, InputError),
            ({"bounds": ("cohen", "cohen")}, InputError),
            ({"bounds": ("laplace",)}, InputError),
            ({"noise": "uniform"}, UnknownNameError),
            ({"selection_votes": 0}, InputError),
            ({"radii": (-1.0,)}, InputError),
            ({"sigma": 0.0}, InputError),
            ({"votes": 0}, InputError),
            ({"confidence": 1.0}, InputError),
            ({"bounds": ("x",)}, UnknownNameError),
            ({"intervals": ("x",)}, UnknownNameError),
            ({"batch_size": 0}, InputError),
        ],
    )
    def test_bad_parameters(self, change, error):
        with pytest.raises(error):
            CertificationConfig(**{"sigma": 0.1, **change})


@pytest.mark.usefixtures("unchecked")
class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"x": images(4) * 2}, InputError, "image 0"),
            ({"x": images(4).int()}, InputTypeError, "int32"),
            ({"y": torch.tensor([0, 1])}, InputError, "4 images"),
            ({"y": torch.tensor([0, 1, 2, 9])}, InputError, "label 3 is 9"),
            ({"attacks": []}, InputError, "no attack"),
            ({"attacks": [FGSM(Linf(0.1))] * 2}, InputError, "same name"),
            ({"model": Wrapped(lambda x: x)}, ModelError, "shape"),
            ({"model": Wrapped(lambda x: x @ torch.ones(3, 3))}, ModelError, "RuntimeError"),
            ({"model": Wrapped(lambda x: x.flatten(1) * torch.nan)}, ModelError, "image 0"),
            ({"model": Wrapped(lambda x: x.flatten(1) + 0j)}, ModelError, "complex64"),
            ({"model": Wrapped(lambda x: x.flatten(1) > 0)}, ModelError, "bool"),
            ({"model": small_network().to("meta")}, ModelError, "meta"),
            ({"model": lambda x: x.flatten(1)}, InputTypeError, "a function"),
            ({"x": images(4).to_sparse()}, InputTypeError, "sparse"),
            ({"attacks": FGSM(Linf(0.1))}, InputTypeError, "attacks is FGSM.* list"),
            ({"attacks": {"fgsm": FGSM}}, InputTypeError, "attacks is .* an Attack"),
            ({"config": {"seed": 0}}, InputTypeError, "config is .* an EvaluationConfig"),
            ({"name": None}, InputTypeError, "name is None, but must be text"),
            ({"progress": print}, InputTypeError, "progress is .* a Progress"),
            ({"twin": "net"}, InputTypeError, "twin is 'net'"),
            ({"workers": 1.5}, InputTypeError, "workers is 1.5"),
        ],
    )
    def test_nothing_is_written(self, tmp_path, change, error, words):
        arguments = {
            "model": small_network(),
            "x": images(4),
            "y": torch.tensor([0, 1, 2, 3]),
            "attacks": [FGSM(Linf(0.1))],
            **change,
        }
        given = [arguments.pop(name) for name in ("model", "x", "y", "attacks")]
        with pytest.raises(error, match=words):
            evaluate(*given, **arguments, out=tmp_path / "run")
        assert not list(tmp_path.iterdir())

    def test_nor_within_inference_mode(self, tmp_path):
        model, x, y = example(4)
        with torch.inference_mode(), pytest.raises(GradientError, match="inference_mode"):
            evaluate(model, x, y, [FGSM(Linf(0.1))], out=tmp_path / "run")
        assert not list(tmp_path.iterdir())

    def test_out_is_a_path(self):
        with pytest.raises(InputTypeError, match="out is 5, but must be text or a path or None"):
            evaluate(*example(4), [FGSM(Linf(0.1))], out=5)

    def test_nan_under_attack_is_told(self):
        def brittle(x):
            flat = x.flatten(1)
            return torch.where(flat > 0.75, torch.nan, flat)[:, :4]

        x = torch.full((3, 1, 2, 2), 0.7)
        x[:, 0, 0, 0] = 0.74
        y = torch.zeros(3, dtype=torch.int64)
        with pytest.raises(ModelError, match="NaN for image 0 under move"):
            evaluate(Wrapped(brittle), x, y, {"move": Move(threat=Linf(0.1), by=0.1)})

    @pytest.mark.parametrize(
        "wrong", [{"batch_size": 0}, {"votes": 0}, {"samples": 0}, {"keep_images": -1}]
    )
    def test_protocol(self, wrong):
        with pytest.raises(InputError):
            EvaluationConfig(**wrong)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_images_that_are_part_of_a_graph_are_not_afterwards(tmp_path, dtype):
    model, x, y = example(4)
    given = x.to(dtype).requires_grad_()
    found = evaluate(model, given, y, [FGSM(Linf(0.1))], out=tmp_path / "run")
    assert given.grad is None
    assert given.requires_grad
    pd.testing.assert_frame_equal(
        found.rows, evaluate(model, given.detach(), y, [FGSM(Linf(0.1))]).rows
    )


def test_training_mode_is_warned_of_once_and_restored():
    model, x, y = example()
    model.train()
    with pytest.warns(UserWarning, match="training mode") as caught:
        evaluate(model, x, y, {"a": FGSM(Linf(0.1)), "b": FGSM(L2(0.1))})
    assert len(caught) == 1
    assert all(layer.training for layer in model.modules())


def test_the_names_that_stay():
    assert holdfast.evaluate is evaluate
    assert holdfast.certify.certify is certify
    assert math.isclose(holdfast.certify.renyi_radius(0.6, 0.4, 1.0), 0.202216, abs_tol=1e-6)
    for name in ("FGSM", "RFGSM", "StepLL", "PGD", "SecondOrder"):
        assert callable(getattr(holdfast.attacks, name))
    assert holdfast.Linf(0.1).eps == holdfast.L2(0.1).eps


class TestResults:
    """What evaluate and certify return says the same as text, as HTML and as numbers."""

    def test_of_an_evaluation(self):
        model, x, y = example()
        attacks = {"<pgd>": PGD(Linf(0.1), steps=3), "fmn": FMN(L2(torch.inf), steps=3)}
        found = evaluate(model, x, y, attacks, name="a <b>")
        text, html = found.summary(), found._repr_html_()
        for cell in found.cells:
            assert f"{100 * cell['robust_accuracy']:.1f} %" in text
            assert f">{100 * cell['robust_accuracy']:.1f} %</td>" in html
        assert "no limit" in text
        assert "a <b>" in text
        assert "<b>" not in html
        assert ">&lt;pgd&gt;</td>" in html
        for note in found.warnings:
            assert note in text

    def test_of_a_certification(self, tmp_path):
        model, x, y = example()
        config = CertificationConfig(
            sigma=0.2, votes=200, bounds=("cohen", "renyi"), radii=(0.05, 0.1)
        )
        found = certify(model, x, y, config=config)
        kept = certify(model, x, y, config=config, out=tmp_path / "run")
        pd.testing.assert_frame_equal(found.rows, kept.rows)
        text, html = found.summary(), found._repr_html_()
        for cell in found.cells:
            part = found.rows[found.rows["bound"] == cell["bound"]]
            right = part["prediction"] == part["label"]
            for line in cell["at"]:
                fraction = float((right & (part["radius"] >= line["radius"])).mean())
                assert line["accuracy"] == fraction
                assert f"{100 * fraction:.1f} %" in text
                assert f">{100 * fraction:.1f} %</td>" in html
        images = certify_images(model, x, sigma=0.2, votes=200, bound="cohen")
        cohen = found.rows[found.rows["bound"] == "cohen"]
        assert (cohen["radius"].to_numpy() == images.radius).all()
        assert list(found.table["bound"]) == ["cohen", "renyi"]
