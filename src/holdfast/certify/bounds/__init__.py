"""Bounds: from two probabilities to a radius, one paper a file."""
