"""Defects that were published of evaluations, certificates and training, as what none here may do.

docs/published-defects.md says whose each was, and which tests hold the others.
"""

import math
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from holdfast import EvaluationConfig, evaluate, files
from holdfast.attacks import PGD, DeepFool
from holdfast.bundle.manifest import Said
from holdfast.bundle.statement import statement
from holdfast.certify import CertificationConfig, certify, certify_images
from holdfast.certify.bounds.bound import BOUNDS
from holdfast.cli.main import run
from holdfast.data import Data, load
from holdfast.evaluation import evaluate_data
from holdfast.report import tables
from holdfast.report.page import build as write_report
from holdfast.report.subjects import read_subjects
from holdfast.report.views import view
from holdfast.specs import number
from holdfast.summary import radius
from holdfast.threat import L2, Linf
from tests.toys import Wrapped, images, small_network

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def given(count=8):
    model, x = small_network(), images(count)
    return model, x, model(x).argmax(dim=1)


def test_no_hook_is_left_and_the_second_count_is_that_of_the_first():
    """Adversarial-library's counted more with each call, since its hooks stayed."""
    model, x, y = given()
    mine = model[0].register_forward_hook(lambda *_: None)
    before = [dict(getattr(layer, kind)) for layer in model.modules() for kind in HOOKS]
    counts = []
    for _ in range(2):
        found = evaluate(model, x, y, [PGD(Linf(0.05), steps=3)])
        certify_images(model, x[:2], sigma=0.1, votes=50)
        counts.append([(cell["forwards"], cell["backwards"]) for cell in found.cells])
        after = [dict(getattr(layer, kind)) for layer in model.modules() for kind in HOOKS]
        assert after == before
    assert counts[0] == counts[1]
    mine.remove()


def test_what_needs_no_other_library_asks_for_none():
    """Secml-torch's attacks ran in Foolbox unless told otherwise, and failed without it."""
    program = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from holdfast import Linf, certify, evaluate
from holdfast.attacks import PGD, WorstCase
from tests.toys import images, small_network
model, x = small_network(), images(2)
y = model(x).argmax(dim=1)
evaluate(model, x, y, [PGD(Linf(0.05), steps=2), WorstCase(Linf(0.05), budget=100)])
certify.certify_images(model, x, sigma=0.1, votes=20)
"""
    others = (
        "foolbox eagerpy torchattacks art adv_lib autoattack robustbench timm cv2 ray transformers "
        "open_clip onnx onnx2torch onnxruntime datasets webdataset torchmetrics lightning pytest"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *others.split()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_debugger_goes_on_through_an_evaluation():
    """AutoAttack's check called sys.settrace(None), which ends debuggers and coverage."""
    model, x, y = given()
    before, heard = sys.gettrace(), []

    def trace(frame, event, argument):
        heard.append(event)

    sys.settrace(trace)
    try:
        evaluate(model, x, y, [PGD(Linf(0.05), steps=3)])
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert heard


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_that_gets_nothing_right_is_no_division_by_zero(tmp_path):
    """It was in adversarial-library's counts."""
    model, x, y = given()
    attacks = {"a": PGD(Linf(0.1), steps=3), "b": DeepFool(L2(math.inf))}
    found = evaluate(model, x, (y + 1) % 4, attacks, out=tmp_path / "run")
    for cell in found.cells:
        assert cell["clean_accuracy"] == cell["robust_accuracy"] == 0
        assert cell["forwards"] == cell["backwards"] == 0
    write_report([tmp_path / "run"], tmp_path / "report")
    assert run(["compare", str(tmp_path / "run"), str(tmp_path / "run")]) == 0


def test_what_is_finished_is_written_once(tmp_path, monkeypatch):
    """Torchattacks wrote all images again after each batch."""
    model, x, y = given(12)
    written = Counter()
    replace_file = files.replace_file

    def counted(path, write):
        written[path] += 1
        replace_file(path, write)

    for kind in (files.tables, files.tensors):
        monkeypatch.setattr(kind, "replace_file", counted)
    config = EvaluationConfig(batch_size=2, hidden=False, audit=0)
    evaluate(model, x, y, [PGD(Linf(0.05), steps=2)], config=config, out=tmp_path / "run")
    chunks = [path for path in written if path.suffix in (".csv", ".safetensors")]
    assert len(chunks) > 6
    assert {written[path] for path in chunks} == {1}


def test_votes_are_drawn_a_batch_at_a_time():
    """ART made all noisy copies of an image at once: 60 GB for one of ImageNet at n = 100,000."""
    largest, network = 0, small_network()

    def forward(x):
        nonlocal largest
        largest = max(largest, len(x))
        return network(x)

    config = CertificationConfig(sigma=0.1, votes=3000, batch_size=64)
    _, x, y = given(2)
    certify(Wrapped(forward), x, y, config=config)
    assert largest <= 64


def test_more_of_an_image_is_never_claimed_where_a_radius_is_printed():
    """Cohen et al.'s code wrote 0.69961 as 0.7."""
    for value in np.random.default_rng(0).uniform(0, 10, 2000).tolist():
        assert 0 <= value - float(radius(value)) <= 1e-3 * max(value, 1)
    assert radius(0.69961) == "0.6996"
    assert radius(0.69999) == "0.6999"
    assert radius(0.5) == "0.5"
    assert radius(0.1 + 0.2) == "0.3"
    assert radius(29 / 100) == "0.29"


@pytest.mark.parametrize("digits", [4, 6, 10])
def test_nor_in_steps_of_the_256_levels(digits):
    """A radius a hair below 8/255 is no 8/255."""
    for levels in range(1, 255):
        exact = levels / 255
        for value in (exact, np.nextafter(exact, 0), exact - 1e-12, exact + 1e-12):
            assert 0 <= value - number(radius(float(value), digits)) <= 10.0 ** (1 - digits)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nor_in_a_summary_or_a_table(tmp_path):
    """Both name the radius that the accuracy below it is of; four images are certified there."""
    asked = 0.069999999
    model, x, y = given(4)
    config = CertificationConfig(sigma=0.1, votes=1000, radii=(asked,))
    result = certify(model, x, y, config=config, out=tmp_path / "run")
    [shown] = re.findall(r"at ([\d.]+)", result.summary())
    table = tables.summary_table(read_subjects([tmp_path / "run"]), "l2")
    [column] = [name for name in table if name.startswith("certified, ")]
    for written in (shown, column.removeprefix("certified, ")):
        assert float(written) <= asked


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nor_on_a_page_or_in_a_test_report(tmp_path):
    """The radius asked for stands there; all that is certified of it is certified of that."""
    model, x, y = given(4)
    config = CertificationConfig(sigma=0.1, votes=1000, radii=(0.069999,))
    certify(model, x, y, config=config, out=tmp_path / "run")
    about = files.read_json(tmp_path / "run" / "run.json")
    assert "| l2 0.06999 |" in statement({"run": about}, Said())
    write_report([tmp_path / "run"], tmp_path / "report")
    page = (tmp_path / "report" / "report.html").read_text()
    assert re.search(r"ℓ2\s≤\s0\.06999\s\(", page)  # the first sentence
    assert re.search(r"ℓ2\s≤\s0\.06999;", page)  # the table below it


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_curve_is_that_of_the_radii_as_they_are_written(tmp_path):
    model, x, y = given(12)
    config = CertificationConfig(sigma=1.0, votes=1000)
    rows = certify(model, x, y, config=config, out=tmp_path / "run").rows
    (subject,) = read_subjects([tmp_path / "run"])
    (classifier,) = subject.classifiers
    right = rows["radius"][rows["prediction"] == rows["label"]]
    assert any(float(f"{radius:.5g}") > radius for radius in right)
    for size, accuracy, *_ in view(classifier, "l2", list(right))["floor"]:
        assert accuracy <= (right >= size).sum() / len(rows) + 1e-5


def test_a_limit_ends_a_run_whatever_is_left_out():
    """Cohen et al.'s certify.py --skip 20 --max 50 went on to the end."""
    assert len(load("digits", limit=7)) == 7
    assert len(load("digits", "train", limit=50)) == 50


@pytest.mark.parametrize("limits", [(0.30, 0.45), (0.2, 0.2), (0.5, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize("bound", BOUNDS)
def test_limits_that_overlap_certify_nothing(bound, limits):
    """STN's code gave 0.175 σ for p1 >= 0.30, p2 <= 0.45, since its formula is symmetric."""
    low, high = (np.array([limit]) for limit in limits)
    assert BOUNDS[bound](low, high, 1.0).item() == 0


def test_what_fell_at_one_size_is_taken_over_at_the_next():
    """Foolbox runs the whole attack again at every size."""
    model, x, y = given(40)
    attacks = [("pgd", PGD(Linf(eps), steps=20, early_stop=False)) for eps in (0.05, 0.3)]
    config = EvaluationConfig(share_sizes=True, hidden=False, audit=0)
    rows = evaluate_data(model, Data.of(x, y), attacks, config).rows.query("norm == 'linf'")
    small, large = (part.set_index("index") for _, part in rows.groupby("eps"))
    fell = small["fooled"]
    assert 0 < fell.sum() < 40
    assert large.loc[fell, "fooled"].all()
    assert (large.loc[fell, "backwards"] == 0).all()
    assert (large.loc[~fell, "backwards"] == 20).all()
