"""Attacks of other libraries, by the names that they have there, each held by `Guarded`."""
