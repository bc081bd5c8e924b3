"""What was seen on a device beside the CPU: ``python -m tests.device``, or ``make test-device``.

Each module holds the parts about one subject; `parts` runs them, `pair` compares, `subjects` is the
one place that names what of Holdfast is looked at. None of it needs pytest.
"""

from tests.device import checkout

checkout.importable()
