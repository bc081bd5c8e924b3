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

from holdfast.errors import DamagedFileError, GradientError, InputError, MissingFileError
from holdfast.files import check_regular
from holdfast.imports import needed

__all__ = ["Answers", "Parts", "asked", "converted"]


def converted(path: str) -> nn.Module:
    """The network as layers of PyTorch, with gradients.

    Args:
        path: of the file.

    Raises:
        MissingPackageError: if onnx2torch is not installed.
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged, or has a layer that onnx2torch does not know.
        InputError: if it has several outputs.

    Example:
        >>> from holdfast.models.external import onnx
        >>> onnx.converted("no-such.onnx")
        Traceback (most recent call last):
        holdfast.errors.MissingFileError: there is no file no-such.onnx...
    """
    file = _file(path)
    with needed("onnx", f"onnx/{path}"):
        from onnx import load
        from onnx2torch import convert
    try:
        graph = load(str(file), load_external_data=False).graph
        network: nn.Module = convert(str(file)).eval()
    except Exception as error:  # a stranger's file may make any step fail
        raise DamagedFileError(
            f"{path} is damaged, or has what onnx2torch cannot convert ({_brief(error)}): write it "
            f"with opset_version=17, of which it knows most, or ask for answers alone, "
            f"onnxruntime/{path}."
        ) from error
    _check_one(path, [output.name for output in graph.output])
    held = {tensor.name for tensor in graph.initializer}  # old files name these among the inputs
    given = next((one for one in graph.input if one.name not in held), None)
    sides = [] if given is None else [side.dim_value for side in given.type.tensor_type.shape.dim]
    return _of_any_number(network, sides) if sides and sides[0] > 0 else network


def asked(path: str) -> nn.Module:
    """The network as onnxruntime runs it, without gradients.

    Args:
        path: of the file.

    Raises:
        MissingPackageError: if onnxruntime is not installed.
        MissingFileError: if there is no such file.
        DamagedFileError: if it is damaged.
        InputError: if it has several outputs.

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
    _check_one(path, [output.name for output in session.get_outputs()])
    return Answers(session, path)


def _check_one(path: str, outputs: list[str]) -> None:
    """Raise unless a network has one output: which of several the logits are, no file says."""
    if len(outputs) != 1:
        raise InputError(
            f"{path} has {len(outputs)} outputs, {', '.join(outputs)}, but must have logits alone: "
            "cut them out, onnx.utils.extract_model(path, 'logits.onnx', ['input'], ['logits'])."
        )


def _of_any_number(network: nn.Module, sides: list[int]) -> nn.Module:
    """A network that was written for so many images: itself if its layers take more, or in parts.

    Layers that take more may still mix them up, which some are asked to find out.
    """
    parts = Parts(network, sides[0])
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            x = torch.rand(sides[0] + 1, *sides[1:], generator=generator)
            same = torch.allclose(network(x), parts(x), rtol=1e-3, atol=1e-4)
    except Exception:  # whatever its layers say of another number
        same = False
    return network if same else parts


class Parts(nn.Module):
    """A network that takes a fixed number of images, asked about any number of them.

    Args:
        network: the network.
        size: how many it takes.

    Example:
        >>> from holdfast.models.external.onnx import Parts
        >>> Parts(model, 3)(x).shape
        torch.Size([4, 3])
    """

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network, self.size = network, size
        self.train(network.training)

    def forward(self, x: Tensor) -> Tensor:
        """Logits; the last part is filled up with its last image."""
        found = []
        for part in x.split(self.size):
            more = part[-1:].expand(self.size - len(part), *part.shape[1:])
            found.append(self.network(torch.cat([part, more]))[: len(part)])
        return torch.cat(found)


class Answers(nn.Module):
    """What a session of onnxruntime answers; asking for a gradient raises a sentence.

    Args:
        session: of one input and one output, the logits.
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
