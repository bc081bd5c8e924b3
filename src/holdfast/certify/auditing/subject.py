"""The smoothed classifier that was certified, asked again: by the run's draws and by others."""

import math

import numpy as np
import torch

from holdfast.auditing.asked import Asked, Some
from holdfast.auditing.check import NotRun
from holdfast.auditing.fresh import fresh
from holdfast.batch_size import first_batch
from holdfast.certify.auditing.ledger import Ledger
from holdfast.data import Data
from holdfast.random import Stream
from holdfast.statistics import Counts
from holdfast.types import Images, Model
from holdfast.votes import take_votes


class Subject(Asked):
    """A network under the noise that a run records, with the ledger of that run.

    Args:
        network: without the noise, in evaluation mode.
        data: that it was certified on.
        ledger: what the certification wrote.
        share: passes that may be taken, over those of the votes; infinite for no limit.
        unasked: the network as it was before anything was asked, where that is known.
    """

    def __init__(
        self,
        network: Model,
        data: Data,
        ledger: Ledger,
        share: float = math.inf,
        unasked: Model | None = None,
    ) -> None:
        config = ledger.config
        smoothed = config.family.around(network, config.sigma, data.shape).model
        limit = math.inf if math.isinf(share) else share * ledger.passes
        super().__init__(smoothed, data, seed=config.seed, limit=limit)
        self.network, self.ledger = network, ledger
        self._unasked = fresh(network) if unasked is None else unasked

    def certified(self, each: float, most: int) -> Some:
        """As many images with a radius as the check under way can pay for, evenly spaced.

        Raises:
            NotRun: if there are none, or not the passes.
        """
        index = self.ledger.certified["index"].to_numpy()
        if not len(index):
            raise NotRun("no certificate about votes, whose limits hold, has a radius.")
        number = min(self.purse.images(each, most, fewest=1), len(index))
        return self.read(index[np.linspace(0, len(index) - 1, number).round().astype(int)])

    def unasked(self) -> Model:
        """A copy of the smoothed classifier that nobody has asked anything."""
        config = self.ledger.config
        return config.family.around(fresh(self._unasked), config.sigma, self.data.shape).model

    def divided(self, column: str, each: float, most: int) -> Some:
        """The images whose votes agree least, as many as the check under way can pay for."""
        rows = next(self.ledger.parts)[2]
        counts = self.ledger.counts(rows[column])
        order = (counts.max(axis=1) / counts.sum(axis=1)).argsort(kind="stable")
        number = self.purse.images(each, most, fewest=1)
        return self.read(rows["index"].to_numpy()[order[:number]])

    def votes(self, x: Images, rng: Stream, n: int) -> Counts:
        """(N, K) votes of the smoothed classifier."""
        votes = take_votes(self.model, x, rng, n=n, batch_size=self.batch_size)
        return np.asarray(votes.counts.cpu())

    @property
    def batch_size(self) -> int:
        """Noisy images in one forward pass, as of the certification itself."""
        return first_batch(self.ledger.config.batch_size)

    def fresh(self, some: Some, x: Images, n: int, *purpose: str) -> Counts:
        """(N, K) votes by draws that the run did not take."""
        return self.votes(x, self.rng(some, *purpose), n)

    def claimed(self, some: Some, column: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """What the certificate's rows say of some images."""
        rows = self.ledger.certified.set_index("index")
        return rows.loc[some.index.numpy(), column].to_numpy(dtype=np.float64)

    def voted(self, some: Some) -> torch.Tensor:
        """(N,) the classes that are certified."""
        return torch.from_numpy(self.claimed(some, "prediction")).long().to(some.x.device)
