"""From rows to numbers. Pure functions of tables: no model, no attack, no file."""

from holdfast.metrics.accuracy import (
    CELL,
    at_finite_sizes,
    broken_by,
    broken_by_size,
    cells,
    evaluation_cells,
    finite_sizes,
    from_zero,
    met_by_all,
    round_sizes,
    without_attack,
    worst_case,
)
from holdfast.metrics.certificates import (
    accuracy_at,
    broken_certificates,
    certification_cells,
    certified,
    certified_curve,
    overclaimed,
    telling,
)
from holdfast.metrics.classes import by_class, certified_by_class
from holdfast.metrics.idle import idle_attacks
from holdfast.metrics.masking import blind_attacks, misleading
from holdfast.metrics.notes import crafted_elsewhere, left_out, noted, skipped, title, untried
from holdfast.metrics.overlap import (
    broken_within,
    contributions,
    first_broken,
    overlap,
    times_broken,
)
from holdfast.metrics.paired import Paired, paired
from holdfast.metrics.pilot import Pilot, drawn_order, spared
from holdfast.metrics.relative import (
    FRACTIONS,
    accuracies_at,
    mean_length,
    perturbation_sizes,
    reference_size,
    relative_lengths,
    rho,
)
from holdfast.metrics.top5 import TOP5, aimed_at_five, among_five, ranked, top5, with_clean_rank

__all__ = [
    "CELL",
    "FRACTIONS",
    "TOP5",
    "Paired",
    "Pilot",
    "accuracies_at",
    "accuracy_at",
    "aimed_at_five",
    "among_five",
    "at_finite_sizes",
    "blind_attacks",
    "broken_by",
    "broken_by_size",
    "broken_certificates",
    "broken_within",
    "by_class",
    "cells",
    "certification_cells",
    "certified",
    "certified_by_class",
    "certified_curve",
    "contributions",
    "crafted_elsewhere",
    "drawn_order",
    "evaluation_cells",
    "finite_sizes",
    "first_broken",
    "from_zero",
    "idle_attacks",
    "left_out",
    "mean_length",
    "met_by_all",
    "misleading",
    "noted",
    "overclaimed",
    "overlap",
    "paired",
    "perturbation_sizes",
    "ranked",
    "reference_size",
    "relative_lengths",
    "rho",
    "round_sizes",
    "skipped",
    "spared",
    "telling",
    "times_broken",
    "title",
    "top5",
    "untried",
    "with_clean_rank",
    "without_attack",
    "worst_case",
]
