"""Type hints, and shapes in them, are checked while the tests run."""

import importlib
import pkgutil

import jaxtyping
import pytest
import torch
from hypothesis import settings

from tests.shapes import checking

with checking("holdfast"):
    import holdfast

    for module in pkgutil.walk_packages(holdfast.__path__, "holdfast."):
        if not module.name.startswith(("holdfast.__main__", "holdfast.cli", "holdfast.bridges.")):
            importlib.import_module(module.name)

from holdfast.report import style

settings.register_profile("holdfast", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("holdfast")
# To embed the glyphs that a figure uses as a whole font takes half of a report's time, and no test
# reads it: here they are drawn one by one.
style.STYLE = {**style.STYLE, "pdf.fonttype": 3}

torch.set_printoptions(threshold=8, edgeitems=2)


@pytest.fixture
def unchecked():
    """What a user sees, who has no beartype: Holdfast's own errors for wrong types and shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
