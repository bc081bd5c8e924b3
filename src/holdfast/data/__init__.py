"""Data sets: images in [0, 1] and labels, by name or from a folder of images.

``digits`` comes with scikit-learn and needs no file. The others are looked for where ``data_dir``
or the environment variable HOLDFAST_DATA says. MNIST, Fashion-MNIST and CIFAR-10 are downloaded by
torchvision if they are missing, and held in memory. Image files are not: of ``imagenet``,
``tiny-imagenet`` and folders only paths and labels are, and an image is decoded when its batch is
asked for.

A module beside this one enters its data sets in `DATASETS`.
"""

from holdfast.data import (  # noqa: F401
    bundled,
    folders,
    hugging_face,
    imagenet,
    tiny_imagenet,
    torchvision,
    webdataset,
)
from holdfast.data.bundled import DIGITS_TEST
from holdfast.data.labelled import Data
from holdfast.data.loading import load
from holdfast.data.names import DATASETS, UNSORTED, Split
from holdfast.data.torch_datasets import of_dataset

__all__ = ["DATASETS", "DIGITS_TEST", "UNSORTED", "Data", "Split", "load", "of_dataset"]
