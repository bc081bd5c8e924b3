"""What a model hides from attacks without a declaration, and ways round it."""

from holdfast.evaluation.hidden.find import find
from holdfast.evaluation.hidden.findings import Finding, Findings, Kind

__all__ = ["Finding", "Findings", "Kind", "find"]
