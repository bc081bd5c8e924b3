"""Robustifying models against adversarial attacks by Langevin dynamics (Srinivasan et al., 2021).

MALADE moves an image along a denoiser's residual, with noise, back to where images of its class are
likely, before a classifier sees it. Supervision of the denoiser is to keep it from another class.
"""

SHORT = "malade"
