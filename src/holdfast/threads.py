"""How many threads a network is worth: a small one runs on one.

PyTorch divides every operation among all cores, and at its end the threads wait for each other. On
cores that are shared with other work the wait is for whoever sleeps: a batch of 128 MNIST digits
through a network of 2 million multiply-adds an image then takes four times as long with two threads
as with one, and through one of 100,000 more than ten times. The larger the network, the less it is;
at 10 million there is little left to gain.

Whatever loops over batches by itself chooses so, by command or by call: `evaluate`, `certify` and
`certify_images`, training and its surrogates, precomputing, tuning, the diagnoses. An attack that
is called on a batch, and a training loop of one's own, run on the threads that their caller has.

The choice follows from the network and the shape of its images alone, never from a timing, since
how a sum is rounded may depend on the number of threads: the same run must round alike each time.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from holdfast.progress import Progress, silent
from holdfast.random import own_global_generator
from holdfast.tensors import device_of, eval_mode

__all__ = ["multiply_adds", "suited_threads", "threads_of_a_worker", "warn_if_crowded"]

#: Multiply-adds for one image below which a network is small.
SMALL = 10_000_000

#: By which a user chooses the number of threads.
_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def suited_threads(
    shape: tuple[int, ...],
    *models: nn.Module,
    device: torch.device | None = None,
    progress: Progress = silent,
) -> Iterator[None]:
    """One thread within the block if the models are small and on the CPU; else PyTorch's number.

    A number that the user chose, by OMP_NUM_THREADS or ``torch.set_num_threads``, stands.

    Args:
        shape: of one image, (C, H, W).
        models: all networks that do the work.
        device: where they do it, if they are not there yet.
        progress: told of the choice.

    Example:
        >>> from holdfast.threads import suited_threads
        >>> before = torch.get_num_threads()
        >>> with suited_threads((1, 8, 8), model):
        ...     logits = model(x)
        >>> torch.get_num_threads() == before
        True
    """
    before = torch.get_num_threads()
    elsewhere = any((device or device_of(model)).type != "cpu" for model in models)
    if before == 1 or elsewhere or _chosen(before) or not all(_small(m, shape) for m in models):
        yield
        return
    progress.announce(
        f"one thread of {before}: the network is small, and threads would wait for each other; "
        "OMP_NUM_THREADS chooses otherwise"
    )
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_of_a_worker() -> int:
    """One, of several processes on a machine, unless the user has chosen another number.

    Example:
        >>> from holdfast.threads import threads_of_a_worker
        >>> threads_of_a_worker() in (1, torch.get_num_threads())
        True
    """
    here = torch.get_num_threads()
    return here if _chosen(here) else 1


def multiply_adds(model: nn.Module, shape: tuple[int, ...]) -> int | None:
    """Of one forward pass of one image, in convolutions and products of matrices.

    Args:
        model: the network; left as it is.
        shape: of one image, (C, H, W).

    Returns:
        None if they cannot be counted, as where the network is no work of PyTorch's.

    Example:
        >>> from holdfast.threads import multiply_adds
        >>> multiply_adds(model, (1, 8, 8)) == 64 * 16 + 16 * 3
        True
    """
    device = device_of(model)
    x = torch.zeros(1, *shape, device=device)
    counter = FlopCounterMode(display=False)
    try:
        with eval_mode(model), own_global_generator(0, device), torch.no_grad(), counter:
            model(x)
    except Exception:  # a stranger's network, which may well take other images than a black one
        return None
    return counter.get_total_flops() // 2 or None


def _small(model: nn.Module, shape: tuple[int, ...]) -> bool:
    work = multiply_adds(model, shape)
    return work is not None and work < SMALL


def _chosen(threads: int) -> bool:
    """Whether the number is the user's: not what PyTorch begins with, or named in the environment.

    PyTorch begins with the number of cores that it may use, or half of it where two share one.
    """
    cores = {os.cpu_count() or 1, len(allowed_cores())}
    return any(name in os.environ for name in _VARIABLES) or threads not in {
        number for count in cores for number in (count, count // 2)
    }


def warn_if_crowded(processes: int) -> None:
    """Warn before more processes are started than there are cores for them.

    Example:
        >>> import warnings
        >>> from holdfast.threads import warn_if_crowded
        >>> with warnings.catch_warnings(record=True) as heard:
        ...     warnings.simplefilter("always")
        ...     warn_if_crowded(1_000_000)
        >>> print(heard[0].message)
        1000000 processes share ...
    """
    cores = len(allowed_cores())
    if processes > cores:
        warnings.warn(
            f"{processes} processes share {cores} cores: they take turns, each with a PyTorch of "
            f"its own in memory, and each takes its time to start; {cores} would be done sooner.",
            stacklevel=3,
        )


def allowed_cores() -> set[int]:
    """The cores that this process may run on; a Mac does not say."""
    allowed = getattr(os, "sched_getaffinity", None)
    return set(range(os.cpu_count() or 1)) if allowed is None else allowed(0)
