"""The images that recipes need: found missing before the first step, not an hour later."""

from collections.abc import Iterable

from holdfast import data
from holdfast.data.folders import folder_named
from holdfast.data.names import directory
from holdfast.errors import MissingFileError
from holdfast.files import StrPath
from holdfast.reproduce.steps import Step

#: Folders of images that recipes name and nobody hands out: what each is, and how to get it.
_FOLDERS = {
    "cifar10-jpeg": (
        "the subset of CIFAR-10 at the scale cpu",
        "save 1,000 training and 200 test images of each class of CIFAR-10 as files in "
        "{folder}/train/CLASS and {folder}/test/CLASS, and name the folder around {folder}",
    )
}


def check_images(steps: Iterable[Step], data_dir: StrPath | None) -> None:
    """Look for the images of all steps.

    Args:
        steps: of recipes.
        data_dir: folder with the files of named data sets.

    Raises:
        MissingFileError: if some are not there: what, where it was looked for, how to get it.
    """
    for name in sorted({str(dict(step.options).get("data", "digits")) for step in steps}):
        if name in _FOLDERS and folder_named(name, data_dir) is None:
            what, how = _FOLDERS[name]
            raise MissingFileError(
                f"{name}, {what}, is not in {directory(data_dir)}: {how.format(folder=name)} by "
                "--data-dir or HOLDFAST_DATA."
            )
        data.load(name, data_dir=data_dir, limit=1)
