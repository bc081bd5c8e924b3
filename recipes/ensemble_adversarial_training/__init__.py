"""Ensemble adversarial training: attacks and defenses (Tramèr et al., ICLR 2018).

Training on single-step adversarial examples of the network itself teaches it to mask its gradient:
the examples get weaker, not the network more robust. Examples from other, fixed networks keep it
from that.
"""

SHORT = "eat"

#: Figure 3 shows what appendix C.1 says, and table 3 what the networks of table 4 are.
WITHIN = {"figure-3": "appendix-c-1", "table-3": "table-4"}
