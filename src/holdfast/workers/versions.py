"""What a worker must have in the driver's version: what computes the rows."""

from importlib import metadata
from typing import Any

from holdfast.errors import WorkersError
from holdfast.workers.packed import brief

_SAME = ("holdfast", "torch")

_SECONDS_TO_BEGIN = 300.0  # until the first worker of a machine must have begun


def versions() -> dict[str, str]:
    """Of this process, without torch's +cpu or +cu128, which tells its device."""
    return {name: metadata.version(name).partition("+")[0] for name in _SAME}


def check_versions(ray: Any) -> None:
    """Ask a process of every machine which versions it has.

    What is asked of it is Python's own, so that it can answer whatever it has.

    Raises:
        WorkersError: if they are others than here, or it does not answer.
    """
    alone = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    for node in ray.nodes():
        if not node["Alive"]:
            continue
        where = f"the worker on {node['NodeManagerHostname']}"
        ask = ray.remote(num_cpus=0, scheduling_strategy=alone(node["NodeID"], soft=False))
        for name, own in versions().items():
            try:
                answer = ask(metadata.version).remote(name)
                its = ray.get(answer, timeout=_SECONDS_TO_BEGIN).partition("+")[0]
            except metadata.PackageNotFoundError as error:
                raise WorkersError(
                    f"{where} has no {name}, and this process has {name} {own}: install "
                    "holdfast[ray] in the Python that Ray was started by."
                ) from error
            except ray.exceptions.RayError as error:
                raise WorkersError(f"{where} does not answer: {brief(error)}.") from error
            check_same(where, {name: its}, {name: own})


def check_same(where: str, its: dict[str, str], own: dict[str, str]) -> None:
    """See that a worker has the driver's versions.

    Raises:
        WorkersError: if not.
    """
    for name, version in its.items():
        if version != own[name]:
            raise WorkersError(
                f"{where} has {name} {version}, and this process has {name} {own[name]}, so that "
                "rows could differ: install the same version on both."
            )
