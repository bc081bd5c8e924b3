"""Tables as CSV: every number is read as it was written."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from holdfast.errors import (
    DamagedFileError,
    MissingFileError,
)
from holdfast.files.paths import StrPath, check_file
from holdfast.files.writing import replace_file

__all__ = ["read_table", "write_table"]


#: pandas reads numbers exactly from 3.1 on; before, only where that is asked for.
_EXACTLY: dict[str, Any] = (
    {}
    if tuple(int(part) for part in pd.__version__.split(".")[:2]) >= (3, 1)
    else {"float_precision": "round_trip"}
)


#: What stands for a number that is missing.
_MISSING = ("", "nan", "NaN")


def write_table(path: StrPath, table: pd.DataFrame) -> None:
    """Write a table as CSV, every number so that reading gives it back exactly.

    Example:
        >>> import pandas as pd
        >>> from holdfast.files import read_table, write_table
        >>> write_table("a.csv", pd.DataFrame({"eps": [0.1 + 0.2]}))
        >>> bool(read_table("a.csv")["eps"][0] == 0.1 + 0.2)
        True
    """
    replace_file(path, lambda temporary: table.to_csv(temporary, index=False))


def read_table(path: StrPath, text: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table from CSV, every number as it was written.

    Args:
        path: of the file.
        text: columns of names, in which "1" is no number and "NA" is not missing.

    Raises:
        MissingFileError: if there is no such file.
        DamagedFileError: if it cannot be read.

    Example:
        >>> import pandas as pd
        >>> from holdfast.files import read_table, write_table
        >>> write_table("a.csv", pd.DataFrame({"attack": ["1", "NA"], "eps": [0.1, 0.2]}))
        >>> read_table("a.csv", text=["attack"]).to_numpy().tolist()
        [['1', 0.1], ['NA', 0.2]]
    """
    check_file(path)
    try:
        columns = pd.read_csv(path, nrows=0).columns
        numbers = columns.difference(list(text))
        return pd.read_csv(
            path,
            dtype=dict.fromkeys(columns.intersection(list(text)), str),
            keep_default_na=False,
            na_values={number: list(_MISSING) for number in numbers},
            **_EXACTLY,
        )
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{path} is not there: put its copy back, or repeat the run with another --out."
        ) from error
    except (OSError, ValueError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from error
