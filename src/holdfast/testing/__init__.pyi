from .robust import assert_robust

__all__ = ["assert_robust"]
