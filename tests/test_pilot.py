"""Parts that are spared to images far from falling: the bound, the rows, and where none is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from holdfast import metrics
from holdfast.attacks import PGD, Attack, Square, Worst, WorstCase, adapted
from holdfast.bundle import verify
from holdfast.cli.main import run
from holdfast.counting import Counted
from holdfast.data import Data
from holdfast.defenses import GaussianNoise
from holdfast.errors import DamagedFileError, InputError
from holdfast.evaluation import EvaluationConfig, compare, evaluate, evaluate_data
from holdfast.files import read_json, write_json
from holdfast.metrics import Pilot, drawn_order
from holdfast.report.folders import RunFolder, read_folder
from holdfast.report.gallery import lost
from holdfast.report.page import build
from holdfast.results import read_about, read_images, read_rows
from holdfast.results.chunks import Chunks
from holdfast.threat import Linf
from tests.toys import Wrapped, images, small_network

COUNT, EPS, NEAR = 60, 0.03, 0.5
CONFIG = EvaluationConfig(batch_size=16, keep_images=20, audit=0, hidden=False)
PARTS = (PGD(Linf(EPS), steps=10), Square(Linf(EPS), queries=10))
SUITE = Worst(PARTS, called=("pgd", "square"), near=(NEAR, 1.0), pilot=10)


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


def rows_of(far, breakable):
    """Rows of images that pgd broke but for those ``far``; square breaks those ``breakable``."""
    by = np.where(~far, "pgd", np.where(breakable, "square", "none"))
    return pd.DataFrame(
        {
            "index": np.arange(len(far)),
            "norm": "linf",
            "linf": 0.1,
            "loss": 1.0,
            "label": 0,
            "clean_prediction": 0,
            "fooled": ~far | breakable,
            "by": by,
            "blind": False,
            "far": far,
            "backwards": 3,
        }
    )


class TestBound:
    """What is said of the parts that were not run."""

    @pytest.mark.parametrize("share", [0.03, 0.06])
    def test_it_is_too_small_in_one_of_twenty_runs_at_most(self, share):
        """Of all draws: also of those where a far image fell, which spare nothing."""
        images, runs = 600, 250
        far = np.arange(images) % 3 > 0
        breakable = far & (np.arange(images) < share * images)
        rows, pilot = rows_of(far, breakable), Pilot(60, (0.3, 1.0))
        true, wrong, spared = breakable.sum() / far.sum(), 0, 0
        for seed in range(runs):
            said = pilot.said(rows, CLEAN, drawn_order(images, seed))
            spared += said is not None
            wrong += said is not None and said["at_most"] < true
        assert wrong <= 0.05 * runs + 3 * (0.05 * 0.95 * runs) ** 0.5
        assert spared > 0  # it is no limit that says nothing

    def test_it_is_clopper_and_pearsons_of_the_far_images_tried(self):
        far = np.arange(300) % 2 > 0
        order = drawn_order(300, 0)
        said = Pilot(100, (1.0,)).said(rows_of(far, np.zeros(300, bool)), CLEAN, order)
        assert said["tried"] == far[order[:100]].sum()
        assert said["far"] == 150
        assert said["at_most"] == pytest.approx(1 - 0.05 ** (1 / said["tried"]))

    def test_where_no_image_tried_was_far_all_the_others_may_fall(self):
        order = drawn_order(300, 0)
        far = np.ones(300, bool)
        far[order[:100]] = False
        said = Pilot(100, (1.0,)).said(rows_of(far, np.zeros(300, bool)), CLEAN, order)
        assert (said["tried"], said["far"], said["at_most"]) == (0, 200, 1.0)

    def test_the_sentence_rounds_up(self):
        spared = {"tried": 100, "far": 812, "at_most": 0.02951, "confidence": 0.95}
        cell = {"attack": "suite", "norm": "linf", "eps": 0.1, "n": 1000}
        (said,) = metrics.untried([cell | {"spared": spared}, cell])
        assert said == (
            "suite linf 0.1: 812 images were too far from falling for the parts that followed; "
            "these were run on 100 of them, drawn by the seed, and broke none; with 95 % "
            "confidence they would break at most 3.0 % of them, and so lower the robust accuracy "
            "by at most 2.4 points."
        )

    def test_who_is_tried_on_is_drawn_evenly(self):
        first = torch.stack([drawn_order(8, seed)[:2] for seed in range(2000)])
        counts = torch.bincount(first.flatten(), minlength=8)
        assert ((counts - 500).abs() < 5 * 500**0.5).all()

    @pytest.mark.parametrize(
        ("changed", "spares"),
        [
            ({}, True),
            ({"by": "square", "fooled": True}, False),  # it fell after all
            ({"blind": True}, False),  # nothing was seen there
            ({"backwards": 0}, False),  # or looked at
            ({"loss": 0.4}, True),  # it fell for one
            ({"by": "square", "fooled": True, "far": False}, True),  # nobody would have spared it
            ({"clean_prediction": 1, "fooled": True, "by": "clean"}, True),
        ],
    )
    def test_what_keeps_all_parts_for_all(self, changed, spares):
        rows = rows_of(np.ones(10, bool), np.zeros(10, bool))
        for name, value in changed.items():
            rows.loc[3, name] = value
        assert Pilot(10, (1.0,)).spares(rows, CLEAN) is spares

    def test_an_ascent_that_led_downhill_does_too(self):
        rows = rows_of(np.ones(20, bool), np.zeros(20, bool))
        rows.loc[:5, "loss"] = 0.4
        assert Pilot(20, (1.0,)).spares(rows, CLEAN) is False


class TestFar:
    """Which images a cascade finds far."""

    def test_those_that_keep_more_of_their_margin_than_is_near(self):
        """On a line the margin is the way to the border, and a step takes what it is long."""
        x, y = torch.tensor([0.5, 0.3, 0.2, 0.05]).view(4, 1, 1, 1), torch.ones(4).long()
        model = Wrapped(lambda x: torch.cat([0 * x.flatten(1), x.flatten(1)], dim=1) - 1e-3)
        worst = Worst((PGD(Linf(0.1), steps=3),) * 2, called=("one", "two"), near=(0.7, 0.6))
        first = replace(worst, attacks=worst.attacks[:1], called=("one",), near=(0.7,))
        # 0.4 of 0.5, 0.2 of 0.3, 0.1 of 0.2 are left; the last falls.
        assert first.run(model, x, y).far.tolist() == [True, False, False, False]
        assert worst.run(model, x, y).far.tolist() == [True, True, False, False]
        for near in ((), (1.0, 1.0)):
            assert not replace(worst, near=near).run(model, x, y).far.any()

    def test_what_leads_away_from_falling_makes_no_image_far_by_itself(self):
        """Square alone sees through that, and must not be spared for it."""
        x, y = torch.tensor([0.5]).view(1, 1, 1, 1), torch.ones(1).long()
        model = Wrapped(lambda x: torch.cat([0 * x, 2 * x.detach() - x], dim=1).flatten(1))
        worst = Worst((PGD(Linf(0.1), steps=3),), near=(1.0,))
        assert not worst.run(model, x, y).far.any()

    def test_they_are_spared_what_follows_where_that_is_asked_for(self):
        model, x, y = example()
        passes = []
        for suite in (SUITE, replace(SUITE, spare=True)):
            counted = Counted(model, torch.arange(COUNT))
            found = suite.run(counted, x, y)
            passes.append(counted.forwards)
        spared = passes[0] > passes[1]
        assert torch.equal(spared, found.far)
        assert spared.any()
        assert (passes[0] == passes[1]).any()

    def test_there_are_as_many_bounds_as_parts(self):
        with pytest.raises(InputError, match="1 bounds of what is near for 2 attacks"):
            replace(SUITE, near=(0.5,))


class TestRows:
    """An evaluation with a pilot."""

    def test_those_tried_on_met_every_part_and_of_the_others_those_that_were_near(self):
        rows = evaluated().rows
        every = evaluated(replace(SUITE, pilot=0)).rows
        early = evaluated(Worst(PARTS[:1], called=("pgd",), near=(NEAR,))).rows
        attacked = [part[part["attack"] == "suite"] for part in (rows, every, early)]
        assert (attacked[0]["index"].to_numpy() == np.arange(COUNT)).all()
        tried = attacked[0]["index"].isin(drawn_order(COUNT, 0)[:10].tolist()).to_numpy()
        tried = tried | ~attacked[0]["far"].to_numpy()
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
        """At the smaller size images are far, at the larger one they are not."""
        suites = {
            "small": replace(SUITE, attacks=tuple(resized(part, 0.01) for part in PARTS)),
            "large": replace(SUITE, attacks=tuple(resized(part, 0.3) for part in PARTS)),
        }
        found = evaluate(*example(), suites, config=CONFIG)
        small, large = found.cells
        assert 0 < small["spared"]["tried"] < small["spared"]["far"]
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
    """Where all parts are run on all images."""

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

    def test_in_a_budget_it_has_a_pilot(self):
        assert WorstCase(Linf(0.1), budget=900).pilot == 100
        assert WorstCase(Linf(0.1), budget=900, pilot=0).pilot == 0
        assert WorstCase(Linf(0.1)).pilot == 0

    def test_a_batch_by_itself_meets_every_part(self):
        """Only an evaluation has a pilot that may spare some."""
        assert not WorstCase(Linf(0.1), budget=900).spare

    def test_variants_of_its_parts_know_nothing_of_near_and_far(self):
        noisy = nn.Sequential(GaussianNoise(0.01), small_network()).eval()
        assert WorstCase(Linf(0.1), budget=250).near
        assert adapted(WorstCase(Linf(0.1), budget=250), noisy).near == ()

    def test_a_short_run_calls_fewer_images_far_than_a_long_one(self):
        assert WorstCase(Linf(0.1), budget=1000).near == (1, 1, 0.3, 0.3, 0, 1)
        told = WorstCase(Linf(0.1), budget=1500)
        assert dict(zip(told.names, told.near, strict=True)) == {
            "apgd-ce": 1,
            "odi-averaged": 1,
            "malt": 0.25,
            "odi-averaged-again": 0.15,
            "odi": 0,
            "square": 1,
        }

    @pytest.mark.parametrize("budget", [250, 1500])
    def test_square_is_run_on_the_pilot_alone_if_it_breaks_none_of_it(self, budget):
        """Also on images that no early part found far, of which there are some at this size."""
        suite = WorstCase(Linf(0.05), budget=budget, pilot=10)
        rows = evaluated(suite).rows
        stand = rows[(rows["attack"] == "suite") & ~rows["fooled"]]
        tried = stand["index"].isin(drawn_order(COUNT, 0)[:10].tolist())
        assert 0 < tried.sum() < len(stand)
        passes = stand["forwards"] + stand["backwards"]
        queries = suite.attacks[-1].queries
        assert (passes[tried] > budget - queries).all()
        assert (passes[~tried] <= budget - queries).all()

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
        asked += ["--attacks", "worst-case(budget=1500, pilot=5)", "--eps", "0.01", "--audit=off"]
        assert run(asked) == 0
        assert "of them, drawn by the seed, and broke none; with 95 %" in capsys.readouterr().out

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

    def test_rows_that_do_not_say_who_was_far_are_damaged(self, tmp_path):
        evaluated(out=tmp_path)
        about = read_json(tmp_path / "run.json")
        del about["rows_sha256"]
        write_json(tmp_path / "run.json", about)
        rows = read_rows(tmp_path).drop(columns="far")
        rows.to_csv(tmp_path / "rows.csv", index=False)
        with pytest.raises(DamagedFileError, match="the column far"):
            read_folder(tmp_path)
