"""The digits that come with scikit-learn."""

from functools import cache
from typing import Any

import torch

from holdfast.data.labelled import Data
from holdfast.data.names import DATASETS, Split, refuse
from holdfast.files import StrPath

#: Of the 1,797 digits, in the order in which scikit-learn gives them, the last 500 are the test
#: set; in that order one writer's digits follow another's, so most test writers are new.
DIGITS_TEST = 500


@DATASETS.named("digits")
def digits(split: Split, data_dir: StrPath | None) -> Data:
    """1,797 handwritten digits of 8×8 pixels; comes with scikit-learn, no download."""
    refuse(data_dir, "digits")
    bunch = _bunch()
    part = slice(-DIGITS_TEST, None) if split == "test" else slice(None, -DIGITS_TEST)
    images = torch.from_numpy(bunch.images[part]).float().unsqueeze(1) / 16
    names = tuple(str(name) for name in bunch.target_names)
    return Data.in_memory("digits", names, images, torch.tensor(bunch.target[part]))


@cache
def _bunch() -> Any:
    """The file, read once: a process that makes many runs asks for it before each."""
    from sklearn.datasets import load_digits  # a second of import that other data need not pay

    return load_digits()
