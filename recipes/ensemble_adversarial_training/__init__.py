"""Ensemble adversarial training: attacks and defenses (Tramèr et al., ICLR 2018).

Training on single-step adversarial examples of the network itself teaches it to mask its gradient:
the examples get weaker, not the network more robust. Examples from other, fixed networks keep it
from that.
"""

SHORT = "eat"
