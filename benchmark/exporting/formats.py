"""The files that a model can leave as, and how each is written."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from contract.errors import UserError

if TYPE_CHECKING:
    from benchmark.exporting.graph import OutputGraph

OPSET = 17
"""Of ONNX; ONNX Runtime 1.13 and newer compute it."""
IMAGE = "image"
"""The input's name."""
OUTPUTS = ("probabilities", "mirrored")
"""The outputs' names; the second is there with test-time mirroring only."""
_EXTRA = "pip install 'lungbench[onnx]'"


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: as ``--format`` names it.
        ending: of the file's name.
        write: writes the graph, an example of its input ``(N, 1, H, W)`` and the metadata's
            entries to a file.
        sealed: whether the metadata holds a digest of the file, since it has no checksums of its
            own; see ``benchmark.exporting.digest``.
    """

    name: str
    ending: str
    write: Callable[[OutputGraph, Tensor, Mapping[str, str], Path], None]
    sealed: bool


def _write_onnx(graph: OutputGraph, image: Tensor, metadata: Mapping[str, str], path: Path) -> None:
    require_onnxruntime()  # it is what the file is checked with
    import onnx

    outputs = OUTPUTS[: len(graph.outputs(image))]
    with _without_warnings():
        # The newer exporter (dynamo=True) needs further packages.
        torch.onnx.export(
            graph,
            (image,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[IMAGE],
            output_names=list(outputs),
            dynamic_axes={name: {0: "films"} for name in (IMAGE, *outputs)},
        )
    model = onnx.load(path)
    model.producer_name = "lungbench"
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _write_torchscript(
    graph: OutputGraph, image: Tensor, metadata: Mapping[str, str], path: Path
) -> None:
    with _without_warnings(), torch.no_grad():
        script = torch.jit.freeze(torch.jit.trace(graph, image))  # type: ignore[no-untyped-call]
        script.save(path, _extra_files=dict(metadata))


def _write_safetensors(
    graph: OutputGraph, image: Tensor, metadata: Mapping[str, str], path: Path
) -> None:
    from safetensors.torch import save_model

    save_model(graph.generator, str(path), dict(metadata))


ONNX = Format("onnx", ".onnx", _write_onnx, sealed=True)
TORCHSCRIPT = Format("torchscript", ".pt", _write_torchscript, sealed=False)
SAFETENSORS = Format("safetensors", ".safetensors", _write_safetensors, sealed=True)
EXPORT_KINDS = {kind.name: kind for kind in (ONNX, TORCHSCRIPT, SAFETENSORS)}


def load_weights_alone(network: nn.Module, path: Path) -> dict[str, str]:
    """Load a safetensors file into a network of its kind.

    Returns:
        the entries of its metadata.
    """
    from safetensors import safe_open
    from safetensors.torch import load_model

    load_model(network, path)
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def require_onnxruntime() -> Any:
    """Return ONNX Runtime.

    Raises:
        UserError: if it, or ``onnx``, is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "ONNX", f"no package {error.name}", "the optional packages of the extra `onnx`", _EXTRA
        ) from None
    return onnxruntime


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep to oneself that tracing is old, and that shapes become constants: it is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
