"""Work packed for another process: what a callable built is built there, the rest is pickled."""

import io
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from holdfast.built import Origin, origin_of
from holdfast.errors import WorkersError
from holdfast.progress import Progress, silent
from holdfast.results import Work


def packed(ray: Any, work: Work) -> bytes:
    """The work as bytes: a network that a callable built goes as the callable's name.

    Raises:
        WorkersError: if something in it cannot be pickled.
    """
    try:
        return _dump(ray, work)
    except Exception as error:  # what a stranger's class raises
        path, culprit = _culprit(ray, "", work, set())
        kind = type(culprit)
        raise WorkersError(
            f"the work cannot be sent to workers: {path.lstrip('.')} is a "
            f"{kind.__module__}.{kind.__qualname__}, which cannot be pickled ({brief(error)}); a "
            "model that is named as package.module:callable is built on each worker instead, also "
            "by holdfast.models.loading.load."
        ) from error


def unpacked(sent: bytes) -> Work:
    """The work, in the process that it was sent to."""
    built: dict[Origin, nn.Module] = {}  # what is met twice is one network

    def load(told: Origin | tuple[()]) -> Any:
        if not told:
            return silent
        if told not in built:
            built[told] = told.build_again()
        return built[told]

    unpickler = pickle.Unpickler(io.BytesIO(sent))
    unpickler.persistent_load = load  # type: ignore[method-assign]
    work: Work = unpickler.load()
    return work


def brief(error: BaseException) -> str:
    """The first sentence of an error's text."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.partition(". ")[0][:200].rstrip(".")


def _dump(ray: Any, value: object) -> bytes:
    def told(part: object) -> Origin | tuple[()] | None:
        if isinstance(part, nn.Module):
            return origin_of(part)
        return () if isinstance(part, Progress) else None  # the driver's own

    buffer = io.BytesIO()
    pickler = ray.cloudpickle.CloudPickler(buffer)
    pickler.persistent_id = told
    pickler.dump(value)
    return buffer.getvalue()


def _culprit(ray: Any, path: str, value: object, seen: set[int]) -> tuple[str, object]:
    """The innermost part of a value that cannot be pickled, and the way to it."""
    seen.add(id(value))
    for name, part in _parts(value):
        if id(part) in seen:
            continue
        try:
            _dump(ray, part)
        except Exception:
            return _culprit(ray, f"{path}{name}", part, seen)
    return path, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """What a value is made of, each with how it is called."""
    if isinstance(value, nn.Module):
        for name, module in value.named_children():
            yield f".{name}", module
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield f"[{key!r}]", part
    elif isinstance(value, list | tuple):
        for place, part in enumerate(value):
            yield f"[{place}]", part
    if owner := getattr(value, "__self__", None):
        yield "", owner
    for name, part in getattr(value, "__dict__", {}).items():
        yield f".{name}", part
    for name, cell in zip(
        getattr(getattr(value, "__code__", None), "co_freevars", ()),
        getattr(value, "__closure__", None) or (),
        strict=False,
    ):
        yield f".{name}", cell.cell_contents
