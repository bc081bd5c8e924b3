"""Holdfast where others work: its attacks as theirs, its numbers in their training and metrics.

A module for each library, which is imported with it and needs it installed:

    from holdfast.bridges.foolbox import to_foolbox
    from holdfast.bridges.art import HoldfastAttack
    from holdfast.bridges.attackbench import for_attackbench
    from holdfast.bridges.maite import AttackedBatch
    from holdfast.bridges.torchmetrics import CertifiedAccuracy, RobustAccuracy
    from holdfast.bridges.lightning import RobustAccuracyCallback

docs/bridges.md shows each at work. The other way, other libraries' attacks, models and data by
their names, is `holdfast.attacks.external`, `holdfast.models.external` and `holdfast.data`.
"""
