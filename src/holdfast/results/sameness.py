"""Whether a folder holds the run that is asked for: it is never overwritten by another."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdfast import lock
from holdfast.errors import OutputError
from holdfast.lock import Owner

#: What identifies model and data, by the end of the setting's name: what it means if it differs,
#: and what was compared if it does not.
_IDENTITY = {
    "data_fingerprint": ("other images or labels", "all images and labels"),
    "_fingerprint": ("a model with other weights", "weights"),
    "_answers": ("a model with these weights that answers otherwise", "answers to a few images"),
    "_source": (
        "a model with these weights whose classes had another source",
        "source of the model's classes",
    ),
}


#: What a folder holds whose run's kind is no command's name, or is that of two kinds of folders.
_HELD = {
    "evaluate": "a run of holdfast evaluate, of one model with one seed",
    "study": "a study of holdfast evaluate, of several models or seeds",
}


def check_same(
    path: Path,
    about: Mapping[str, Any],
    kind: str,
    settings: Mapping[str, Any],
    owner: Owner | None,
) -> None:
    """Raise if the run in a folder is another than the one that is asked for.

    Args:
        path: the folder.
        about: what its run.json says.
        kind: the command that is to write there.
        settings: all that determines the results of what is asked for.
        owner: who asks, if it holds the lock.

    Raises:
        OutputError: if it is another, or in use by another.
    """
    if about.get("kind") != kind:
        held = _HELD.get(str(about.get("kind")), f"a run of holdfast {about.get('kind')}")
        raise OutputError(f"{path} holds {held}; give another --out.")
    if "format" not in about:
        raise OutputError(
            f"{path} was written by a version of Holdfast that compared less of model and "
            "data, so whether they are the same cannot be told: holdfast report still reads "
            "it, but to run this command give another --out."
        )
    before = about.get("settings", {})
    # Other images are answered otherwise, too: the answers tell of the model only where the data
    # are the same.
    keys = dict.fromkeys([*before, *settings])
    for key in sorted(keys, key=lambda key: key.endswith("_answers")):
        was, now = before.get(key), settings.get(key)
        if same(was, now):
            continue
        holder = lock.owner(path)
        if holder is not None and holder != owner and not holder.dead:
            raise lock.in_use(path, holder)
        identity = _identity(key)
        other = f"a run with {key} = {was!r}, and now it is {now!r}"
        if identity is not None:
            other = f"a run of {identity[0]} ({key} is another)"
        raise OutputError(f"{path} holds {other}; a run is never overwritten, give another --out.")


def compared(settings: Mapping[str, Any]) -> list[str]:
    """What of model and data the settings tell, in words."""
    given = [key for key, value in settings.items() if value is not None]
    return list(dict.fromkeys(told[1] for key in given if (told := _identity(key))))


def _identity(key: str) -> tuple[str, str] | None:
    return next((told for name, told in _IDENTITY.items() if key.endswith(name)), None)


def same(was: Any, now: Any) -> bool:
    """Whether two settings are equal.

    Measured numbers may differ by what rounding does, and one path may be spelled in several ways.

    Example:
        >>> from holdfast.results import same
        >>> same({"values": [1.0], "within": 0.1}, {"values": [1.05], "within": 0.1})
        True
        >>> same("runs/net", "./runs/net/")
        True
    """
    if isinstance(was, str) and isinstance(now, str):
        return was == now or os.path.normpath(was) == os.path.normpath(now)
    if isinstance(was, Mapping) and isinstance(now, Mapping) and "within" in now:
        before, after = was.get("values"), now["values"]
        return (
            isinstance(before, list)
            and len(before) == len(after)
            and all(isinstance(value, float) for value in before)  # a file may hold anything
            and all(abs(old - new) <= now["within"] for old, new in zip(before, after, strict=True))
        )
    if isinstance(was, list) and isinstance(now, list):
        return len(was) == len(now) and all(map(same, was, now))
    return bool(was == now)
