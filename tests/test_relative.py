import math

import pandas as pd
import pytest
import torch

from holdfast import evaluate
from holdfast.attacks import FGSM, DeepFool
from holdfast.errors import InputError
from holdfast.relative import accuracies_at, image_norms, mean_length, reference_size, rho
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
    assert rho(rows, image_norms(x)) == pytest.approx(float(expected), rel=1e-3)
    shuffled = rows.sample(frac=1, random_state=0)
    assert rho(shuffled, image_norms(x)) == pytest.approx(rho(rows, image_norms(x)))
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
    assert order[4] - 1e-6 <= eps <= order[4] + 1.2e-5  # 5 of 9 is the first share of at least half
    assert error(eps) == pytest.approx(5 / 9)
    most = reference_size(error, sizes, share=0.9, tolerance=1e-5)
    assert order[8] - 1e-6 <= most <= order[8] + 1.2e-5
    found = accuracies_at(error, eps)
    assert list(found) == ["accuracy@0.2", "accuracy@0.5", "accuracy@1"]
    for share, accuracy in zip((0.2, 0.5, 1.0), found.values(), strict=True):
        assert accuracy == pytest.approx(float((thresholds > share * eps).double().mean()))


def test_rho_inf_at_the_reference_size():
    """‖Δ‖∞ = ε for every image that FGS was tried on."""
    model, x, y, *_ = plane()
    rows = evaluate(model, x, y, [FGSM(Linf(0.03))]).rows
    rows = rows[rows["attack"] != "clean"]
    length = torch.full((9,), 0.03).double()
    length[0] = 0
    expected = (length / x.flatten(1).double().amax(dim=1)).mean()
    assert rho(rows, image_norms(x), math.inf) == pytest.approx(float(expected), rel=1e-4)


def test_the_smallest_size_is_meant_where_the_error_does_not_grow():
    def error(eps):
        return 0.6 if 0.1 <= eps < 0.2 else 0.0 if eps < 0.3 else 1.0

    found = reference_size(error, [0.05, 0.15, 0.25, 0.35], tolerance=1e-6)
    assert 0.1 <= found <= 0.1 + 1e-6


def test_black_images():
    norms = image_norms(torch.tensor([[0.0, 0.0], [0.6, 0.8]]))
    rows = pd.DataFrame({"index": [0, 1], "l2": [0.0, 0.5], "linf": [0.0, 0.4]})
    assert rho(rows, norms) == pytest.approx(0.25)
    with pytest.raises(InputError, match="black"):
        rho(rows.assign(l2=1.0), norms)


def test_parameters_are_checked():
    rows = pd.DataFrame({"index": [0], "l2": [0.0], "linf": [0.0]})
    with pytest.raises(InputError, match="p is 1"):
        rho(rows, image_norms(torch.ones(1, 2)), 1.0)
    for sizes in ([], [0.2, 0.1], [0.0, 0.1]):
        with pytest.raises(InputError, match="increase"):
            reference_size(lambda eps: 1.0, sizes)
    for wrong in ({"share": 0.0}, {"tolerance": 0.0}):
        with pytest.raises(InputError, match="positive"):
            reference_size(lambda eps: 1.0, [0.1], **wrong)
    with pytest.raises(InputError, match=r"even at 0\.1"):
        reference_size(lambda eps: 0.4, [0.1])
