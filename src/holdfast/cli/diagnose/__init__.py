"""``holdfast diagnose``: one file for each diagnosis."""
