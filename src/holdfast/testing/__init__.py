"""Robustness as a test that passes or fails: ``assert_robust``, in pytest also as a fixture.

Imported when it is first used, so that pytest starts as fast with Holdfast installed as without.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
