"""How to evaluate, whatever the attack."""

from dataclasses import asdict, dataclass
from typing import Any

from holdfast.auditing.purse import check_share
from holdfast.batch_size import BatchSize, check_batch_size
from holdfast.errors import InputError
from holdfast.execution import Execution, Precision
from holdfast.parameters import Seed, check_fields

__all__ = ["EvaluationConfig"]


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How to evaluate, whatever the attack.

    Attributes:
        seed: of all randomness.
        batch_size: images attacked at once, or "auto" for as many as free memory holds; of no
            consequence for the result but for rounding.
        votes: draws that decide a stochastic model's prediction, at least 1.
        samples: draws that an attack averages over on a stochastic model, at least 1.
        each: give every variant of an attack that the model calls for a line of its own, and run it
            on every image; otherwise they are one attack, each run on what the others left. An
            attack without a limit is always run so.
        penalties: weights of the purifier's reconstruction error in R, each a variant of its own
            (`adaptive`); which is strongest hangs on the purifier.
        variants: names of the variants to run of those that a model calls for (`adaptive`); all by
            default. Others are recorded as left out, since accuracies may then be too high.
        attack_all: attack images too that the model gets wrong without an attack, as EAT does; they
            count as fooled either way, and ``prediction`` is what the model says after it. So it is
            wherever an attack pushes labels out of more than the first class (`TopMargin`).
        keep_images: the first so many images are saved with their adversarial versions.
        audit: passes that the audit of the result may take, over those of the attacks; 0 for no
            audit, infinity for no limit.
        share_sizes: what an attack breaks at a size is not attacked again at a larger one, where it
            is asked about again; an attack that looks for the smallest perturbation is run once,
            without a limit, where others keep the sizes at which it is then read.
        hidden: look for what the model hides from attacks without a declaration, and go round it
            (`holdfast.evaluation.hidden`).
        precision: in which attacks ask the model, and what it is asked: "bf16" or "fp16" under
            autocast; whether an image fools is always asked in the model's own, "float32". What
            fools in the other one alone is attacked again in its own.
        compile: attack the model by `torch.compile`, and on CUDA by graphs; a model that draws
            random numbers, or hides or declares what attacks must go round, is attacked as it is.
        channels_last: convolutions in the layout (N, H, W, C), the same up to rounding.

    Example:
        >>> from torch import nn
        >>> from holdfast import EvaluationConfig, Linf, evaluate
        >>> from holdfast.attacks import PGD
        >>> from holdfast.defenses import GaussianNoise
        >>> noisy = nn.Sequential(GaussianNoise(0.1), model)
        >>> config = EvaluationConfig(votes=20, samples=2)
        >>> result = evaluate(noisy, x, y, [PGD(Linf(0.1), steps=2)], config=config)
        >>> result.rows["votes_for_prediction"].between(1, 20).all().item()
        True
    """

    seed: Seed = 0
    batch_size: BatchSize = 128
    votes: int = 100
    samples: int = 10
    penalties: tuple[float, ...] = (1.0,)
    each: bool = False
    variants: tuple[str, ...] = ()
    attack_all: bool = False
    keep_images: int = 16
    audit: float = 0.15
    share_sizes: bool = False
    hidden: bool = True
    precision: Precision = "float32"
    compile: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("votes", 1), ("samples", 1), ("keep_images", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}, but must be at least {least}.")
        check_batch_size(self.batch_size)
        check_share(self.audit)

    @property
    def execution(self) -> Execution:
        """How attacks ask the model."""
        return Execution(
            precision=self.precision, compile=self.compile, channels_last=self.channels_last
        )

    def record(self) -> dict[str, Any]:
        """As a run's record holds it; what is new since there are records, if it is no default.

        The audit is none of it: the rows are the same without.
        """
        record = {**asdict(self), "variants": list(self.variants)}
        del record["penalties"], record["audit"], record["hidden"]
        for name in ("precision", "compile", "channels_last"):
            del record[name]
        record |= self.execution.record()
        if not self.share_sizes:
            del record["share_sizes"]
        if self.penalties != (1.0,):
            record["penalties"] = [*self.penalties]
        return record if self.hidden else {**record, "hidden": False}
