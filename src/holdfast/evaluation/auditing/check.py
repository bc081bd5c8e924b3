"""The checks of an evaluation: entered where each is defined."""

from typing import TYPE_CHECKING

from holdfast.auditing.check import Definition, Entering
from holdfast.registry import Registry

if TYPE_CHECKING:
    from holdfast.evaluation.auditing.ledger import Ledger
    from holdfast.evaluation.auditing.subject import Subject

#: Every check by its id, in the order in which they are entered.
CHECKS: Registry[Definition] = Registry("check")

#: Enters a check of what is written, which takes no pass.
of_rows: "Entering[Ledger]" = Entering(CHECKS)

#: Enters a check that asks the model again.
of_model: "Entering[Subject]" = Entering(CHECKS)
