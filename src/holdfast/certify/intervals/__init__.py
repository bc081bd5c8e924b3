"""Confidence limits for the two leading classes, one construction a file."""
