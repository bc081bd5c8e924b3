"""adversarial-library, for tests that hold an attack against its namesake there."""

import sys
from types import ModuleType

import pytest


def adv_lib(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Its attacks; the test is skipped where it is not installed."""
    pytest.importorskip("adv_lib", exc_type=ImportError)
    if "visdom" not in sys.modules:  # which the package imports, and its attacks do not need
        monkeypatch.setitem(sys.modules, "visdom", ModuleType("visdom"))
        sys.modules["visdom"].Visdom = object
    return pytest.importorskip("adv_lib.attacks")
