"""What pytest finds by itself once Holdfast is installed: the fixture ``assert_robust``."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(name="assert_robust")
def _assert_robust() -> Callable[..., Any]:
    """The function `holdfast.testing.assert_robust`: it fails unless a model is robust enough."""
    from holdfast.testing.robust import assert_robust  # torch, which other tests need not import

    return assert_robust
