"""How 0.1 and 0.2 spelled what is spelled otherwise now: told, and never read as another thing."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from holdfast.errors import HoldfastError, InputError, unknown

_OBJECTIVE = '--objective "{}"'
_OPTIMIZER = '--optimizer "{}"'
_SCHEDULE = '--schedule "{}"'

#: Options of 0.1 and 0.2, and what to write in their place.
RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "limit": "--images",
        "n": "--votes",
        "n0": "--selection-votes",
        "bound": "--bounds",
        "interval": "--intervals",
        "radius": "--radii",
        "average": "--ema",
        "binarise": '--model "binarise(threshold=0.5) | MODEL"',
        "parseval": '--hooks "parseval(beta=1e-4)"',
        "steps": _OBJECTIVE.format("pgd(steps=10)"),
        "step_size": _OBJECTIVE.format("pgd(step_size=0.01)"),
        "sigma": _OBJECTIVE.format("stability(sigma=0.3)"),
        "gamma": _OBJECTIVE.format("stability(sigma=0.3, gamma=1)"),
        "lr": _OPTIMIZER.format("adam(lr=1e-3)"),
        "momentum": _OPTIMIZER.format("sgd(momentum=0.9)"),
        "nesterov": _OPTIMIZER.format("sgd(nesterov=True)"),
        "beta1": _OPTIMIZER.format("adam(beta1=0.9)"),
        "beta2": _OPTIMIZER.format("adam(beta2=0.999)"),
        "alpha": _OPTIMIZER.format("rmsprop(alpha=0.99)"),
        "weight_decay": _OPTIMIZER.format("sgd(weight_decay=5e-4)"),
        "decay": _SCHEDULE.format("cosine"),
        "decay_at": _SCHEDULE.format("multi-step(at=[30, 60])"),
        "decay_factor": _SCHEDULE.format("step(every=30, factor=0.1)"),
        "decay_peak": _SCHEDULE.format("one-cycle(peak=0.3)"),
        "warm_up": _SCHEDULE.format("cosine(warm_up=2)"),
    }
)


def no_option(command: str, written: str, options: Iterable[str]) -> HoldfastError:
    """The error for an option that a command does not have.

    Args:
        command: the command.
        written: the option as it was written, on the command line or in a YAML file.
        options: the names of those it has.
    """
    name = written.lstrip("-").replace("-", "_")
    new = RENAMED.get(name)
    known = list(options)
    if new is not None and new.split()[0].lstrip("-").replace("-", "_") in known:
        return InputError(f"{written} is not an option any more; write {new} instead.")
    dashes = "--" if written.startswith("--") else ""
    shown = [dashes + (option.replace("_", "-") if dashes else option) for option in known]
    return unknown(f"option of {command}", written, shown)
