"""Reproduction: every table and figure of the papers by one command, its claims judged.

A recipe is a short file under ``recipes/PAPER/``: a function of a `Scale` that says which runs it
needs (`train`, `tune`, `evaluate`, `certify`, `diagnose`), which numbers it reads off them, and
what the paper printed beside each. `reproduce` runs what is missing, and `page` writes the table or
figure, the differences, the intervals, and what became of the paper's claims.
"""

from holdfast.reproduce.claims import Claim, Verdict, at_least, at_most, less, more
from holdfast.reproduce.combined import Largest, MeanOver, Scaled, Smallest, SmallestOver
from holdfast.reproduce.measures import Computed, Mean, Measure, Measured, OfImages, Recorded
from holdfast.reproduce.readings import (
    accuracy,
    accuracy_within,
    certified,
    clean_accuracy,
    clean_error,
    error,
    gradient_norm,
    perturbation,
    robust_error,
)
from holdfast.reproduce.recipes import Recipe, papers, recipe
from holdfast.reproduce.results import Cell, Curves, Gallery, Line, Pictures, Plane, Result, Table
from holdfast.reproduce.run import Outcome, reproduce
from holdfast.reproduce.scale import Scale
from holdfast.reproduce.steps import (
    Spec,
    Step,
    Value,
    certify,
    diagnose,
    evaluate,
    spec,
    train,
    tune,
)

__all__ = [
    "Cell",
    "Claim",
    "Computed",
    "Curves",
    "Gallery",
    "Largest",
    "Line",
    "Mean",
    "MeanOver",
    "Measure",
    "Measured",
    "OfImages",
    "Outcome",
    "Pictures",
    "Plane",
    "Recipe",
    "Recorded",
    "Result",
    "Scale",
    "Scaled",
    "Smallest",
    "SmallestOver",
    "Spec",
    "Step",
    "Table",
    "Value",
    "Verdict",
    "accuracy",
    "accuracy_within",
    "at_least",
    "at_most",
    "certified",
    "certify",
    "clean_accuracy",
    "clean_error",
    "diagnose",
    "error",
    "evaluate",
    "gradient_norm",
    "less",
    "more",
    "papers",
    "perturbation",
    "recipe",
    "reproduce",
    "robust_error",
    "spec",
    "train",
    "tune",
]
