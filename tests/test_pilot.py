"""Late parts that must earn their keep: the bound, the rows, and where all images meet them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import metrics
from holdfast.attacks import PGD, Attack, Square, Worst, WorstCase
from holdfast.bundle import verify
from holdfast.cli.main import run
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import InputError
from holdfast.evaluation import EvaluationConfig, compare, evaluate, evaluate_data
from holdfast.files import read_json, write_json
from holdfast.metrics import Pilot, drawn_order, pilot_ends
from holdfast.report.folders import RunFolder
from holdfast.report.gallery import lost
from holdfast.report.page import build
from holdfast.results import read_about, read_images, read_rows
from holdfast.results.chunks import Chunks
from holdfast.threat import L1, Linf
from tests.toys import Wrapped, images, small_network

COUNT, EPS = 60, 0.03
CONFIG = EvaluationConfig(batch_size=16, keep_images=20, audit=0, hidden=False)
PARTS = (PGD(Linf(EPS), steps=10), Square(Linf(EPS), queries=10))
SUITE = Worst(PARTS, called=("pgd", "square"), pilot=10)


#: Losses of unattacked images.
CLEAN = pd.Series(0.5, index=range(600))


def example():
    """Images that the network gets right but for five, and of which PGD leaves some."""
    model, x = small_network(), images(COUNT)
    y = model(x).argmax(dim=1)
    y[:5] = (y[:5] + 1) % 4
    return model, x, y


def staircase():
    """Its slopes are 0, and random search climbs it."""
    honest = small_network()
    return Wrapped(lambda x: honest((16 * x).round() / 16))


def evaluated(suite=SUITE, config=CONFIG, **more):
    return evaluate(*example(), {"suite": suite}, config=config, **more)


def rows_of(left, breakable):
    """Rows of images that pgd broke but for those ``left``; square breaks those ``breakable``."""
    fooled = ~left | breakable
    by = np.where(~left, "pgd", np.where(breakable, "square", "none"))
    return pd.DataFrame(
        {
            "index": np.arange(len(left)),
            "norm": "linf",
            "linf": 0.1,
            "loss": 1.0,
            "label": 0,
            "clean_prediction": 0,
            "fooled": fooled,
            "by": by,
            "blind": False,
            "backwards": 3,
        }
    )


class TestBound:
    """What is said of the parts that were not run."""

    @pytest.mark.parametrize("share", [0.03, 0.06])
    def test_it_is_too_small_in_one_of_twenty_runs_at_most(self, share):
        """Of all draws: also of those where the parts earned their keep, which say nothing."""
        images, runs = 600, 250
        left = np.arange(images) % 3 > 0  # also those that are tried on hang on who was left
        breakable = left & (np.arange(images) < share * images)
        rows, pilot = rows_of(left, breakable), Pilot(("square",), images=40)
        true, wrong, spared = breakable.sum() / left.sum(), 0, 0
        for seed in range(runs):
            order = drawn_order(images, seed)
            said = pilot.spared(rows, CLEAN, order, list(pilot_ends(images, [pilot])))
            spared += said is not None
            wrong += said is not None and said["at_most"] < true
        assert wrong <= 0.05 * runs + 3 * (0.05 * 0.95 * runs) ** 0.5
        assert spared > 0  # it is no limit that says nothing

    def test_it_is_clopper_and_pearsons_of_the_images_tried(self):
        rows, pilot = rows_of(np.ones(300, bool), np.zeros(300, bool)), Pilot(("square",), 100)
        said = pilot.spared(rows, CLEAN, drawn_order(300, 0), [100, 200])
        assert said["tried"] == 100
        assert said["at_most"] == pytest.approx(1 - 0.05 ** (1 / 100))

    def test_the_sentence_rounds_up(self):
        spared = {"parts": ["square"], "tried": 100, "left": 812, "at_most": 0.02951}
        cell = {"attack": "suite", "norm": "linf", "eps": 0.1, "n": 1000}
        (said,) = metrics.untried([cell | {"spared": {**spared, "confidence": 0.95}}, cell])
        assert said == (
            "suite linf 0.1: square was run on 100 of the 812 images left, drawn by the seed, and "
            "broke none; with 95 % confidence it would break at most 3.0 % of them, and so lower "
            "the robust accuracy by at most 2.4 points."
        )

    def test_who_is_tried_on_is_drawn_evenly(self):
        first = torch.stack([drawn_order(8, seed)[:2] for seed in range(2000)])
        counts = torch.bincount(first.flatten(), minlength=8)
        assert ((counts - 500).abs() < 5 * 500**0.5).all()

    @pytest.mark.parametrize(
        ("changed", "earned"),
        [
            ({}, False),
            ({"by": "square", "fooled": True}, True),  # it broke one
            ({"blind": True}, True),  # nothing was seen there
            ({"backwards": 0}, True),  # or looked at
            ({"loss": 0.4}, False),  # it fell for one
            ({"by": "pgd", "fooled": True}, None),  # one too few is left
            ({"clean_prediction": 1, "fooled": True, "by": "clean"}, None),
        ],
    )
    def test_what_earns_all_images(self, changed, earned):
        rows = rows_of(np.ones(10, bool), np.zeros(10, bool))
        for name, value in changed.items():
            rows.loc[3, name] = value
        assert Pilot(("square",), 10).earned(rows, CLEAN) is earned

    def test_an_ascent_that_led_downhill_earns_them_too(self):
        rows = rows_of(np.ones(20, bool), np.zeros(20, bool))
        rows.loc[:5, "loss"] = 0.4
        assert Pilot(("square",), 20).earned(rows, CLEAN) is True


class TestRows:
    """An evaluation with a pilot."""

    def test_those_tried_on_met_every_part_and_the_others_all_but_the_late_ones(self):
        rows = evaluated().rows
        every = evaluated(replace(SUITE, pilot=0)).rows
        early = evaluated(Worst(PARTS[:1], called=("pgd",))).rows
        attacked = [part[part["attack"] == "suite"] for part in (rows, every, early)]
        assert (attacked[0]["index"].to_numpy() == np.arange(COUNT)).all()
        # In twice ten images drawn ten were left by PGD.
        tried = attacked[0]["index"].isin(drawn_order(COUNT, 0)[:20].tolist()).to_numpy()
        for mine, which, theirs in zip((0, 0), (tried, ~tried), attacked[1:], strict=True):
            one, other = (part[which].drop(columns="loss") for part in (attacked[mine], theirs))
            pd.testing.assert_frame_equal(one, other, check_exact=False, atol=1e-6)
        dearer = attacked[1]["forwards"].to_numpy() > attacked[2]["forwards"].to_numpy()
        assert (dearer & tried).any()  # so that each comparison tells
        assert (dearer & ~tried).any()

    def test_they_are_the_same_whatever_the_batch(self):
        one = evaluated()
        for size in (7, 64):
            other = evaluated(config=replace(CONFIG, batch_size=size))
            assert "spared" in one.cells[0]
            assert one.cells[0]["spared"] == other.cells[0]["spared"]
            pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=False, atol=1e-5)

    def test_sizes_have_a_pilot_each_by_itself(self):
        """At the smaller size enough is left in the first round, at the larger one in none."""
        suites = {
            "small": replace(SUITE, attacks=tuple(resized(part, 0.01) for part in PARTS)),
            "large": replace(SUITE, attacks=tuple(resized(part, 0.3) for part in PARTS)),
        }
        found = evaluate(*example(), suites, config=CONFIG)
        small, large = found.cells
        assert 10 <= small["spared"]["tried"] < small["spared"]["left"]
        assert "spared" not in large

    def test_so_they_are_where_sizes_share_what_fell(self):
        model, x, y = example()
        sizes = [
            ("suite", replace(SUITE, attacks=tuple(resized(part, eps) for part in PARTS)))
            for eps in (0.01, 0.05)
        ]
        one, other = (
            evaluate_data(
                model,
                Data.of(x, y),
                sizes,
                replace(CONFIG, share_sizes=True, batch_size=size),
            )
            for size in (7, 64)
        )
        assert all("spared" in cell for cell in one.cells)
        assert [cell["spared"] for cell in one.cells] == [cell["spared"] for cell in other.cells]
        pd.testing.assert_frame_equal(one.rows, other.rows, check_exact=False, atol=1e-5)

    def test_kept_images_stand_in_their_order(self, tmp_path):
        evaluated(out=tmp_path / "run")
        kept = read_images(tmp_path / "run", 1)
        assert kept["index"].tolist() == list(range(20))
        assert torch.equal(kept["x"], example()[1][:20])

    @pytest.mark.parametrize("chunks", [1, 2, 5])
    def test_a_killed_run_ends_as_an_unbroken_one(self, tmp_path, monkeypatch, chunks):
        whole, write, left = evaluated(out=tmp_path / "whole"), Chunks.write, [chunks]

        def dying(self, *args):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return write(self, *args)

        monkeypatch.setattr(Chunks, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            evaluated(out=tmp_path / "run")
        monkeypatch.setattr(Chunks, "write", write)
        again = evaluated(out=tmp_path / "run")
        assert again.cells[0]["spared"] == whole.cells[0]["spared"]
        assert (tmp_path / "run/rows.csv").read_bytes() == (
            tmp_path / "whole/rows.csv"
        ).read_bytes()

    def test_another_pilot_is_another_run(self, tmp_path):
        evaluated(out=tmp_path)
        with pytest.raises(Exception, match="never overwritten"):
            evaluated(replace(SUITE, pilot=11), out=tmp_path)


def resized(attack: Attack, eps: float) -> Attack:
    return replace(attack, threat=Linf(eps))


def test_no_kept_image_is_missed_but_one_whose_file_is_gone(tmp_path):
    """Those drawn first hold none of the two that are kept, nor does the first chunk."""
    assert not set(drawn_order(COUNT, 0)[:10].tolist()) & {0, 1}
    evaluated(config=replace(CONFIG, keep_images=2), out=tmp_path)
    assert not (tmp_path / "images" / "0001.00000.safetensors").exists()
    kept = RunFolder(tmp_path, read_about(tmp_path), read_rows(tmp_path))
    assert lost(kept) == []
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    (told,) = lost(kept)
    assert "are missing 2 of the images" in told


@pytest.mark.filterwarnings("ignore::UserWarning")
class TestEveryImage:
    """Where the late parts are run on all images."""

    def same_as_without_a_pilot(self, model, config=CONFIG, **more):
        x = images(COUNT)
        y = model(x).argmax(dim=1) if not isinstance(model, nn.Sequential) else example()[2]
        one, other = (
            evaluate(model, x, y, {"suite": suite}, config=config, **more)
            for suite in (SUITE, replace(SUITE, pilot=0))
        )
        assert "spared" not in one.cells[0]
        for part in ("forwards", "by", "fooled"):
            assert one.rows[part].tolist() == other.rows[part].tolist()
        return one

    def test_a_model_that_hides_its_slopes(self, tmp_path):
        """It is found out before anything is attacked."""
        model, x = staircase().eval(), images(16)
        y, config = model(x).argmax(dim=1), replace(CONFIG, hidden=True)
        suites = {"suite": replace(SUITE, pilot=1)}
        evaluate(model, x, y, suites, config=config, out=tmp_path)
        settings = read_about(tmp_path)["settings"]
        assert settings["found"]
        assert "pilot" not in settings["attacks"][0]

    def test_one_that_is_not_looked_through_is_found_out_by_the_pilot(self):
        found = self.same_as_without_a_pilot(staircase().eval())
        assert found.cells[0]["broken_by"]["square"] > 0

    def test_one_whose_slopes_lead_nowhere(self):
        """Gradients are there and point downhill."""
        honest = small_network()

        class Flipped(nn.Module):
            def forward(self, x):
                return honest(2 * x.detach() - x)

        self.same_as_without_a_pilot(Flipped().eval())

    def test_one_that_draws(self):
        noisy = nn.Sequential(GaussianNoise(0.01), small_network()).eval()
        config = replace(CONFIG, votes=3, samples=1)
        self.same_as_without_a_pilot(noisy, config)

    def test_one_with_a_twin(self):
        self.same_as_without_a_pilot(small_network(), twin=small_network())

    def test_fewer_images_than_are_asked_for(self):
        suites = [replace(SUITE, pilot=pilot) for pilot in (COUNT, 10**6)]
        for suite in suites:
            assert "spared" not in evaluated(suite).cells[0]


class TestSuite:
    """`WorstCase` in a budget."""

    def test_its_search_has_a_pilot_and_in_l1_it_follows_gradients(self):
        assert WorstCase(Linf(0.1), budget=900).pilot == 100
        assert WorstCase(Linf(0.1), budget=900, pilot=0).pilot == 0
        assert WorstCase(Linf(0.1)).pilot == 0
        found = evaluated(WorstCase(L1(0.5), budget=60, pilot=1))
        assert "spared" not in found.cells[0]

    def test_a_pilot_goes_with_a_budget(self):
        with pytest.raises(InputError, match="no budget"):
            WorstCase(Linf(0.1), pilot=10)
        with pytest.raises(InputError, match="at least 0"):
            WorstCase(Linf(0.1), budget=900, pilot=-1)


class TestSaid:
    """Where the bound is told."""

    def test_in_the_record_the_summary_the_page_and_a_comparison(self, tmp_path):
        found = evaluated(out=tmp_path / "run")
        (said,) = metrics.untried(found.cells)
        assert said in found.summary()
        assert read_about(tmp_path / "run")["cells"][0]["spared"] == found.cells[0]["spared"]
        page = build([tmp_path / "run"], tmp_path / "page")
        assert said.partition(": ")[2] in page.read_text()
        assert any(said in note for note in compare(tmp_path / "run", tmp_path / "run").notes)

    def test_on_the_command_line(self, capsys):
        asked = ["evaluate", "--model", "tests.digits:digits_network", "--images", "30"]
        asked += ["--attacks", "worst-case(budget=60, pilot=5)", "--eps", "0.01", "--audit=off"]
        assert run(asked) == 0
        assert (
            "images left, drawn by the seed, and broke none; with 95 %" in capsys.readouterr().out
        )

    def test_it_is_verified(self, tmp_path):
        evaluated(out=tmp_path)
        assert not verify(tmp_path).contradictions
        about = read_json(tmp_path / "run.json")
        spared = about["cells"][0].pop("spared")
        for edited in ({}, {"spared": {**spared, "at_most": 0.001}}):
            cells = [{**about["cells"][0], **edited}]
            write_json(tmp_path / "run.json", {**about, "cells": cells})
            said = [finding.said for finding in verify(tmp_path).contradictions]
            assert any("cells[0].spared" in each for each in said)
