"""Holdfast: how robust is an image classifier, really?

What is exported stands in ``__init__.pyi`` beside this file, and is imported when it is first used,
so that ``import holdfast`` costs next to nothing beyond ``import torch``.
"""

from importlib import metadata

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = metadata.version("holdfast")
