"""Diagnoses: what a model or a defence does on the way, as arrays and tables."""

from holdfast.diagnose.purification import purification as purification
