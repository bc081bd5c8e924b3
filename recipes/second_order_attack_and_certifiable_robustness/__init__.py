"""Second-order adversarial attack and certifiable robustness (Li et al., 2019).

PGD along a gradient averaged over noise, S-O, is to break networks trained against PGD in ℓ∞ by
small ℓ2 perturbations; stability training and votes under noise, STN, are to stand it, with a
certified radius by Rényi divergence.
"""

SHORT = "so"
