"""Networks in ONNX: ``onnx/net.onnx`` by its layers, ``onnxruntime/net.onnx`` by its answers.

The first is converted into layers of PyTorch by onnx2torch, and has gradients; where it can be, it
is what to use. The second is run by onnxruntime, on processors' and vendors' own kernels, and has
none: attacks that ask for answers alone work on it.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.errors import DamagedFileError, GradientError, MissingFileError
from holdfast.files import check_regular
from holdfast.imports import needed

__all__ = ["Answers", "asked", "converted"]


def converted(path: str) -> nn.Module:
    """The network as layers of PyTorch, with gradients.

    Args:
        path: of the file.

    Raises:
        MissingPackageError: if onnx2torch is not installed.
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or has a layer that onnx2torch does not know.

    Example:
        >>> from holdfast.models.external import onnx
        >>> onnx.converted("no-such.onnx")
        Traceback (most recent call last):
        holdfast.errors.MissingFileError: there is no file no-such.onnx...
    """
    file = _file(path)
    with needed("onnx", f"onnx/{path}"):
        from onnx2torch import convert
    try:
        network: nn.Module = convert(str(file))
    except Exception as error:  # a stranger's file may make any step fail
        raise DamagedFileError(
            f"{path} is damaged, or has what onnx2torch cannot convert ({_brief(error)}): ask it "
            f"for answers alone, onnxruntime/{path}."
        ) from error
    return network.eval()


def asked(path: str) -> nn.Module:
    """The network as onnxruntime runs it, without gradients.

    Args:
        path: of the file.

    Raises:
        MissingPackageError: if onnxruntime is not installed.
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged.

    Example:
        >>> from holdfast.models.external import onnx
        >>> onnx.asked("no-such.onnx")
        Traceback (most recent call last):
        holdfast.errors.MissingFileError: there is no file no-such.onnx...
    """
    file = _file(path)
    with needed("onnxruntime", f"onnxruntime/{path}"):
        import onnxruntime
    try:
        session = onnxruntime.InferenceSession(
            str(file), providers=onnxruntime.get_available_providers()
        )
    except Exception as error:  # a stranger's file may make any step fail
        raise DamagedFileError(f"{path} is damaged or no network: {_brief(error)}.") from error
    return Answers(session, path)


class Answers(nn.Module):
    """What a session of onnxruntime answers; asking for a gradient raises a sentence.

    Args:
        session: of one input and at least one output, the first of which are logits.
        name: for the sentence.

    Example:
        >>> from types import SimpleNamespace
        >>> from holdfast.models.external.onnx import Answers
        >>> node = SimpleNamespace(name="x", type="tensor(float)", shape=["n", 1, 8, 8])
        >>> session = SimpleNamespace(
        ...     get_inputs=lambda: [node],
        ...     run=lambda outputs, given: [given["x"].reshape(len(given["x"]), -1)[:, :3]],
        ... )
        >>> Answers(session, "net.onnx")(x).shape
        torch.Size([4, 3])
    """

    def __init__(self, session: Any, name: str) -> None:
        super().__init__()
        self.session, self.name = session, name
        given = session.get_inputs()[0]
        self.input, self.dtype = given.name, _TYPES.get(given.type, np.float32)
        first = given.shape[0] if given.shape else None
        self.batch = first if isinstance(first, int) else None  # None: as many as one likes
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Logits, in the images' type."""
        logits: Tensor = _Ask.apply(x, self)
        return logits

    def answers(self, x: Tensor) -> Tensor:
        """The same as a plain tensor, as many at once as the network takes."""
        array = x.detach().cpu().numpy().astype(self.dtype)
        if self.batch is None:
            return torch.from_numpy(self._run(array)).to(x)
        count, found = len(array), []
        for first in range(0, count, self.batch):
            part = array[first : first + self.batch]
            full = np.concatenate([part, np.repeat(part[-1:], self.batch - len(part), axis=0)])
            found.append(self._run(full)[: len(part)])
        return torch.from_numpy(np.concatenate(found)).to(x)

    def _run(self, array: Any) -> Any:
        return np.asarray(self.session.run(None, {self.input: array})[0])

    def __deepcopy__(self, memo: dict[int, Any]) -> "Answers":
        return self  # a session is no value; it answers whoever asks


class _Ask(torch.autograd.Function):
    """An answer whose gradient is refused."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, model: Answers) -> Tensor:
        ctx.name = model.name
        return model.answers(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise GradientError(
            f"onnxruntime/{ctx.name} answers and has no gradient: choose attacks that ask for "
            f"answers alone, such as square, or have its layers converted, onnx/{ctx.name}."
        )


_TYPES = {"tensor(double)": np.float64, "tensor(float16)": np.float16}


def _file(path: str) -> Path:
    file = Path(path)
    check_regular(file)
    if not file.is_file():
        raise MissingFileError(f"there is no file {path}; give the path of a network in ONNX.")
    return file


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
