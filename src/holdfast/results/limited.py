"""What a value in a file may be, by msgspec's ``Meta``, which Python's collection never meets.

Where the last collection of a process met one, it ended in a segmentation fault now and then
(msgspec's issue 717). These few live as long as the process, and nothing visits them.
"""

import ctypes
from typing import Any

from msgspec import Meta


def limited(**limits: Any) -> Meta:
    """To stand in an ``Annotated`` type: ``ge``, ``lt``, ``min_length``, ``pattern``, ...

    Raises:
        TypeError: if msgspec knows no such limit.
    """
    meta = Meta(**limits)
    ctypes.pythonapi.PyObject_GC_UnTrack(ctypes.py_object(meta))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(meta))
    return meta
