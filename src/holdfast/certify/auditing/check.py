"""The checks of a certification: entered where each is defined."""

from typing import TYPE_CHECKING

from holdfast.auditing.check import Definition, Entering
from holdfast.registry import Registry

if TYPE_CHECKING:
    from holdfast.certify.auditing.ledger import Ledger
    from holdfast.certify.auditing.subject import Subject

#: Every check by its id, in the order in which they are entered.
CHECKS: Registry[Definition] = Registry("check of certificates")

#: Enters a check of what is written, which takes no pass.
of_rows: "Entering[Ledger]" = Entering(CHECKS)

#: Enters a check that asks the model again.
of_model: "Entering[Subject]" = Entering(CHECKS)
