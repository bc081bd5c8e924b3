"""Certified adversarial robustness with additive Gaussian noise (Li, Wang, Chen and Carin, 2019).

STN: a vote over noisy copies of an image is certified in ℓ2 by Rényi divergence (Algorithm 1), and
stability training makes a network that answers alike under the noise.
"""

SHORT = "stn"
