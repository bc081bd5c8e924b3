"""Files of a run: read as what they must be, and written so that nothing is lost."""

from holdfast.files.paths import StrPath, as_path, check_file, check_path, check_regular
from holdfast.files.records import create_json, fitted, read_as, read_json, write_json
from holdfast.files.tables import read_table, write_table
from holdfast.files.tensors import read_tensors, write_tensors
from holdfast.files.writing import (
    check_writable,
    clear_unfinished,
    create_file,
    replace_file,
    write_text,
)

__all__ = [
    "StrPath",
    "as_path",
    "check_file",
    "check_path",
    "check_regular",
    "check_writable",
    "clear_unfinished",
    "create_file",
    "create_json",
    "fitted",
    "read_as",
    "read_json",
    "read_table",
    "read_tensors",
    "replace_file",
    "write_json",
    "write_table",
    "write_tensors",
    "write_text",
]
