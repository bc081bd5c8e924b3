import math

import pandas as pd
import pytest
import torch

from holdfast import evaluate
from holdfast.attacks import FGSM, DeepFool
from holdfast.errors import InputError
from holdfast.metrics import (
    accuracies_at,
    at_finite_sizes,
    mean_length,
    perturbation_sizes,
    reference_size,
    relative_lengths,
    rho,
)
from holdfast.threat import L2, Linf
from tests.toys import images, two_class


def plane(count=9):
    """A linear model, images well inside the box, and labels of which one is wrong."""
    x = images(count, margin=0.4, seed=1)
    normal = torch.randn(36, generator=torch.Generator().manual_seed(2))
    model = two_class(normal, float((x.flatten(1) @ normal).median()) + 1e-3)
    f = x.flatten(1) @ normal - float(-model.bias[1].detach())
    y = (f > 0).long()
    y[0] = 1 - y[0]
    return model, x, y, f.abs().double(), normal.double()


def test_rho_2_in_closed_form():
    """DeepFool is exact: ‖Δ‖₂ = (1 + η) |f| / ‖w‖₂, and 0 where the label was lost already."""
    model, x, y, f, normal = plane()
    rows = evaluate(model, x, y, [DeepFool(L2(math.inf), overshoot=0.01)]).rows
    rows = rows[rows["attack"] != "clean"]
    length = 1.01 * f / normal.norm()
    length[0] = 0
    expected = (length / x.flatten(1).double().norm(dim=1)).mean()
    assert rho(rows) == pytest.approx(float(expected), rel=1e-3)
    shuffled = rows.sample(frac=1, random_state=0)
    assert rho(shuffled) == pytest.approx(rho(rows))
    assert mean_length(rows) == pytest.approx(float(length.mean()), rel=1e-3)


def fgs_error(model, x, y):
    def error(eps):
        x_adv = FGSM(Linf(eps))(model, x, y)
        return float((model(x_adv).argmax(dim=1) != y).float().mean())

    return error


def test_reference_size_and_accuracies_in_closed_form():
    """FGS fools an image of a linear model at ε = |f| / ‖w‖₁: half of them at the median."""
    model, x, y, f, normal = plane(9)
    thresholds = (f / normal.abs().sum()).clone()
    thresholds[0] = 0  # misclassified without an attack
    order = thresholds.sort().values
    error, sizes = fgs_error(model, x, y), [0.02, 0.04, 0.08, 0.16]
    eps = reference_size(error, sizes, tolerance=1e-5)
    assert order[4] - 1e-6 <= eps <= order[4] + 1.2e-5  # 5 of 9 is the first of at least half
    assert error(eps) == pytest.approx(5 / 9)
    most = reference_size(error, sizes, fraction=0.9, tolerance=1e-5)
    assert order[8] - 1e-6 <= most <= order[8] + 1.2e-5
    found = accuracies_at(error, eps)
    assert list(found) == ["accuracy@0.2", "accuracy@0.5", "accuracy@1"]
    for fraction, accuracy in zip((0.2, 0.5, 1.0), found.values(), strict=True):
        assert accuracy == pytest.approx(float((thresholds > fraction * eps).double().mean()))


def test_rho_inf_at_the_reference_size():
    """‖Δ‖∞ = ε for every image that FGS was tried on."""
    model, x, y, *_ = plane()
    rows = evaluate(model, x, y, [FGSM(Linf(0.03))]).rows
    rows = rows[rows["attack"] != "clean"]
    length = torch.full((9,), 0.03).double()
    length[0] = 0
    expected = (length / x.flatten(1).double().amax(dim=1)).mean()
    assert rho(rows, math.inf) == pytest.approx(float(expected), rel=1e-4)


def test_the_smallest_size_is_meant_where_the_error_does_not_grow():
    def error(eps):
        return 0.6 if 0.1 <= eps < 0.2 else 0.0 if eps < 0.3 else 1.0

    found = reference_size(error, [0.05, 0.15, 0.25, 0.35], tolerance=1e-6)
    assert 0.1 <= found <= 0.1 + 1e-6


def table(**columns):
    """Rows of an attack in ℓ2, written by hand."""
    count = len(columns["l2"])
    fixed = {"attack": "a", "norm": "l2", "eps": math.inf, "blind": False, "linf": columns["l2"]}
    norms = {"x_l2": [1.0] * count, "x_linf": [1.0] * count}
    return pd.DataFrame({**fixed, **norms, "fooled": [True] * count, **columns})


def test_black_images():
    rows = table(l2=[0.0, 0.5], x_l2=[0.0, 1.0])
    assert rho(rows) == pytest.approx(0.25)
    with pytest.raises(InputError, match="black"):
        rho(rows.assign(l2=1.0))
    (line,) = perturbation_sizes(rows.assign(l2=1.0)).itertuples()
    assert math.isnan(line.rho_2)
    assert line.mean_l2 == 1


def test_rows_without_norms_tell_lengths_and_no_rho():
    old = table(l2=[0.1, 0.3]).drop(columns=["x_l2", "x_linf"])
    with pytest.raises(InputError, match="x_l2"):
        relative_lengths(old)
    (line,) = perturbation_sizes(old).itertuples()
    assert math.isnan(line.rho_2)
    assert line.mean_l2 == pytest.approx(0.2)
    assert line.eps_ref == pytest.approx(0.1)


def test_accuracy_at_fractions_of_the_size_that_fools_half():
    """ε_ref is the third of five perturbations; what is not fooled is robust at every size."""
    rows = table(l2=[0.0, 0.2, 1.0, 2.0, 0.0], fooled=[True, True, True, True, False])
    (line,) = perturbation_sizes(rows).to_dict("records")
    assert line["eps_ref"] == 1
    assert line["fooled"] == pytest.approx(4 / 5)
    accuracies = [line[f"accuracy@{fraction}"] for fraction in ("0.2", "0.5", "1")]
    assert accuracies == pytest.approx([3 / 5, 3 / 5, 2 / 5])
    (other,) = perturbation_sizes(rows, {("a", "l2"): 0.5}).to_dict("records")
    assert other["accuracy@0.2"] == pytest.approx(4 / 5)
    robust = rows.assign(fooled=[True, True, False, False, False])
    (line,) = perturbation_sizes(robust).to_dict("records")
    assert math.isnan(line["eps_ref"])
    assert math.isnan(line["accuracy@1"])


def test_an_attack_at_some_sizes_tells_only_what_was_run():
    runs = [(0.1, 0), (0.2, 1), (0.4, 2), (0.8, 3)]
    rows = pd.concat(
        table(l2=[eps] * 4, eps=eps, fooled=[place < count for place in range(4)])
        for eps, count in runs
    )
    (line,) = perturbation_sizes(rows).to_dict("records")
    assert (line["eps_ref"], line["eps"], line["rho_2"]) == (0.4, 0.4, pytest.approx(0.4))
    assert math.isnan(line["accuracy@0.2"])  # 0.08 was not run
    assert (line["accuracy@0.5"], line["accuracy@1"]) == (0.75, 0.5)


def test_an_attack_that_saw_nothing_has_no_line():
    rows = table(l2=[0.0, 0.0], fooled=[True, False], blind=[False, True])
    assert not len(perturbation_sizes(rows))
    assert len(perturbation_sizes(rows.assign(blind=False))) == 1


def test_parameters_are_checked():
    with pytest.raises(InputError, match="p is 1"):
        rho(table(l2=[0.0]), 1.0)
    for sizes in ([], [0.2, 0.1], [0.0, 0.1]):
        with pytest.raises(InputError, match="increase"):
            reference_size(lambda eps: 1.0, sizes)
    for wrong in ({"fraction": 0.0}, {"tolerance": 0.0}):
        with pytest.raises(InputError, match="positive"):
            reference_size(lambda eps: 1.0, [0.1], **wrong)
    with pytest.raises(InputError, match=r"even at 0\.1"):
        reference_size(lambda eps: 0.4, [0.1])


def test_sizes_in_l0_are_whole():
    """Where none was asked for they are read off the distances, which are counts there."""
    rows = pd.DataFrame({"norm": "l0", "eps": math.inf, "fooled": True, "l0": [1.0, 2, 3, 3]})
    found = at_finite_sizes(rows.assign(attack="a", index=range(4)))
    assert sorted(found["eps"].unique()) == [1, 2, 3]
    assert found.groupby("eps")["fooled"].sum().tolist() == [1, 2, 4]
