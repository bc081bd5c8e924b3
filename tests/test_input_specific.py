"""Votes by an image's selection votes: the certificate's confidence, and where the votes go."""

import numpy as np
import pytest
import torch

from holdfast.auditing.check import Verdict
from holdfast.certify import (
    AtLeast,
    CertificationConfig,
    ClopperPearson,
    InputSpecific,
    Sampling,
    TwoSample,
    Within,
    certify,
    certify_images,
    cohen_radius,
)
from holdfast.certify.input_specific import allotted
from holdfast.certify.sequential import looks
from holdfast.errors import InputError
from tests.toys import images, small_network

ERROR, MOST, N0 = 0.05, 20_000, 200


def two(votes, n, leading, n0=N0):
    votes, leading = np.broadcast_arrays(votes, leading)
    chosen = np.stack([leading, n0 - leading], axis=1)
    return Sampling(np.stack([votes, n - votes], axis=1), None, chosen)


def drawn(question, p, repeats, error=ERROR, seed=0):
    """Numbers of votes of images of one probability, and the limits that they prove."""
    rng = np.random.default_rng(seed)
    limits = InputSpecific(1 - error, most=MOST)
    enough = allotted([question], limits, [cohen_radius], 1.0)
    leading = rng.binomial(N0, p, size=repeats)
    n = np.zeros(repeats, dtype=np.int64)
    for _, last in looks(MOST):
        going = n == 0
        n[going & enough(two(np.full(repeats, last), last, leading))] = last
    votes = rng.binomial(n, p)
    found = Sampling(np.stack([votes, n - votes], axis=1), None, np.tile([1, 0], (repeats, 1)))
    return n, limits(found).p1


class TestConfidence:
    @pytest.mark.parametrize("question", [Within(0.8), AtLeast((0.5, 1.0))])
    @pytest.mark.parametrize("p", [0.55, 0.7, 0.95])
    def test_it_is_that_of_two_samples(self, question, p):
        """Though the number of votes hangs on the draws that chose the class."""
        _, lower = drawn(question, p, 4000)
        assert (lower > p).mean() <= ERROR + 3 * np.sqrt(ERROR / 4000)

    def test_counting_the_selection_votes_too_would_break_it(self):
        """An image that was allotted few votes because it looked well must not count that."""
        rng, p, few = np.random.default_rng(0), 0.84, 60
        chosen = rng.binomial(few, p, size=20_000)
        more = np.where(chosen > 55, 0, 600)
        votes = chosen + rng.binomial(more, p)
        lower = TwoSample(1 - ERROR)(
            Sampling(np.stack([votes, few + more - votes], 1), None, np.tile([1, 0], (20_000, 1)))
        ).p1
        assert (lower > p).mean() > 1.2 * ERROR

    def test_limits_are_those_of_two_samples(self):
        sampling = two(np.array([950, 20]), 1000, np.array([190, 150]))
        own, theirs = InputSpecific(0.99)(sampling), TwoSample(0.99)(sampling)
        assert all((a == b).all() for a, b in zip(own, theirs, strict=True))


class TestWhereTheVotesGo:
    def test_those_close_to_a_radius_get_them(self):
        """Φ(1) = 0.841: most just above the radius; far from it, and where nothing helps, few."""
        numbers = {p: drawn(AtLeast((1.0,)), p, 50)[0].mean() for p in (0.3, 0.7, 0.85, 0.97)}
        assert numbers[0.85] > 0.4 * MOST
        assert all(numbers[p] < 0.05 * MOST for p in (0.3, 0.97))
        assert numbers[0.7] < 0.2 * MOST

    @pytest.mark.parametrize("p", [0.7, 0.85, 0.97])
    def test_the_radius_is_within_the_factor_as_often_as_is_said(self, p):
        n, lower = drawn(Within(0.8), p, 400)
        reached = cohen_radius(lower, 1 - lower, 1.0)
        full = TwoSample(1 - ERROR)(two(np.array([round(p * MOST)]), MOST, np.array([N0]))).p1
        assert (reached >= 0.8 * cohen_radius(full, 1 - full, 1.0)).mean() > 0.9
        assert n.mean() < MOST / 4

    def test_no_image_has_more_than_the_most(self):
        n, _ = drawn(Within(0.99), 0.52, 20)
        assert (n == MOST).all()

    def test_the_most_must_be_said(self):
        with pytest.raises(InputError, match="most"):
            allotted([Within(0.9)], InputSpecific(0.9), [cohen_radius], 1.0)


class TestOnANetwork:
    def test_an_image_depends_on_itself_alone(self):
        """Neither on the others, nor on their order, nor on the batch."""
        model, x = small_network(), images(6)
        how = {"sigma": 0.2, "interval": InputSpecific, "confidence": 0.9, "selection_votes": 20}
        how |= {"votes": 300, "until": Within(0.7)}
        found = certify_images(model, x, **how)
        assert len(set(found.sampling.n)) > 1
        order = torch.tensor([4, 1, 5])
        again = certify_images(model, x[order], index=order, batch_size=7, **how)
        assert (again.counts == found.counts[order]).all()
        assert (again.radius == found.radius[order]).all()

    def test_an_interrupted_run_goes_on(self, tmp_path):
        """Rows of a run that was killed between chunks are those of one that was not."""
        model, x = small_network(), images(6)
        y = torch.zeros(6).long()
        config = CertificationConfig(
            sigma=0.2,
            votes=300,
            confidence=0.9,
            selection_votes=20,
            intervals=("input-specific",),
            within=0.7,
        )
        whole = certify(model, x, y, config=config)
        assert whole.audit is not None
        assert not [check.id for check in whole.audit.checks if check.verdict is Verdict.FAIL]
        kept = certify(model, x, y, config=config, out=tmp_path / "run")
        assert kept.rows.equals(certify(model, x, y, config=config, out=tmp_path / "run").rows)
        assert (kept.rows["draws"] == whole.rows["draws"]).all()
        assert kept.rows["draws"].max() <= 300

    def test_it_wants_a_question_and_stands_alone(self):
        with pytest.raises(InputError, match="what the question is"):
            CertificationConfig(sigma=0.2, intervals=("input-specific",))
        with pytest.raises(InputError, match="on their own"):
            CertificationConfig(sigma=0.2, intervals=("input-specific", "two-sample"), within=0.9)
        with pytest.raises(InputError, match="InputSpecific"):
            certify_images(
                small_network(), images(2), sigma=0.1, interval=ClopperPearson, until=Within(0.9)
            )
