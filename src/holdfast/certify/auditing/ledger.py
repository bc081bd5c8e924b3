"""What a finished certification wrote, and what its votes prove when worked out again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from holdfast.certify.config import CertificationConfig
from holdfast.certify.sampling import Sampling, uniform_draws
from holdfast.certify.smoothing import (
    Certificates,
    certificate_stream,
    certificates,
    named_bound,
)
from holdfast.certify.top import top_certificates
from holdfast.statistics import Array


class Certificate(NamedTuple):
    """The rows of one bound with one interval, beside what their votes prove.

    Attributes:
        bound: spec of the bound.
        interval: spec of the interval.
        rows: as they were written.
        proven: worked out again, in float64.
    """

    bound: str
    interval: str
    rows: pd.DataFrame
    proven: Certificates

    def __str__(self) -> str:
        return f"{self.bound} with {self.interval}"


@dataclass(frozen=True)
class Ledger:
    """Rows and settings of one finished certification.

    Attributes:
        rows: of all certificates.
        settings: as run.json has them.
        cells: as run.json has them.
        classes: number of classes, as the data set has them; a model may have more, with which the
            limits are wider, and never narrower.
        lipschitz: Λ of what comes before the noise, by which radii were divided.
        attacked: rows of attacks on the same smoothed classifier and images, if some are known.
    """

    rows: pd.DataFrame
    settings: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]]
    classes: int
    lipschitz: float = 1.0
    attacked: pd.DataFrame | None = field(default=None, compare=False)

    @cached_property
    def config(self) -> CertificationConfig:
        """How it was certified, as the settings say."""
        known = {one.name for one in fields(CertificationConfig)}
        given: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.settings.items()
            if name in known and not (name == "top" and value is None)
        }
        return CertificationConfig(**given)

    @property
    def parts(self) -> Iterator[tuple[str, str, pd.DataFrame]]:
        """Bound, interval and rows of each certificate."""
        for (bound, interval), part in self.rows.groupby(["bound", "interval"], sort=False):
            yield str(bound), str(interval), part

    @cached_property
    def certificates(self) -> list[Certificate]:
        """Every certificate beside what its votes prove."""
        return [
            Certificate(bound, interval, part, self._proven(bound, interval, part))
            for bound, interval, part in self.parts
        ]

    @cached_property
    def holding(self) -> Certificate | None:
        """The certificate that a model can contradict: the first about votes that holds."""
        for one in self.certificates:
            limits = self.config.limits(one.interval)
            if limits.guaranteed and limits.of_votes:
                return one
        return None

    @cached_property
    def certified(self) -> pd.DataFrame:
        """Rows of that certificate with a radius, by image; none if there is none."""
        rows = self.rows[:0] if self.holding is None else self.holding.rows
        found = rows[(rows["prediction"] >= 0) & (rows["radius"] > 0)]
        return found.sort_values("index")

    @property
    def passes(self) -> int:
        """Forward passes that all votes took."""
        one = next(self.parts)[2]
        return int(one["draws"].sum()) + len(one) * self.chosen_by

    @property
    def chosen_by(self) -> int:
        """Votes of each image that only chose the class."""
        return self.config.selection_votes if self.config.chooses else 0

    def counts(self, column: "pd.Series[str]") -> Array:
        """(N, K) what a column of "class:value class:value ..." holds."""
        table = np.zeros((len(column), self._width))
        for place, text in enumerate(column):
            for name, value in _pairs(text):
                table[place, name] = value
        return table

    @cached_property
    def _width(self) -> int:
        """The number of classes, or that of the last that any vote was for."""
        columns = [self.rows[name] for name in ("votes", "scores", "choice") if name in self.rows]
        seen = (name for column in columns for text in column.unique() for name, _ in _pairs(text))
        least = self.config.top + 1  # of a model that has more classes than the data
        return max(self.classes, least, 1 + max(seen, default=0))

    def _proven(self, bound: str, interval: str, part: pd.DataFrame) -> Certificates:
        config = self.config
        choice = self.counts(part["choice"]).astype(np.int64) if "choice" in part else None
        scores = self.counts(part["scores"]) if "scores" in part else None
        counts = self.counts(part["votes"]).astype(np.int64)
        # Not what somebody wrote: those of the run's seed, or the smallest of many might be chosen.
        index = torch.tensor(part["index"].to_numpy(dtype=np.int64))
        uniform = uniform_draws(certificate_stream(config.seed, index))
        sampling = Sampling(counts, scores, choice, uniform)
        limits, wide = config.limits(interval), self.lipschitz
        if config.top > 1:
            label = part["label"].to_numpy(dtype=np.int64)
            return top_certificates(
                sampling, label, config.top, limits, config.sigma, lipschitz=wide
            )
        radius_of = named_bound(bound, config.family, wide)
        return certificates(sampling, limits, radius_of, config.sigma)


def _pairs(text: object) -> Iterator[tuple[int, float]]:
    for each in str(text).split():
        name, _, value = each.partition(":")
        yield int(name), float(value)
