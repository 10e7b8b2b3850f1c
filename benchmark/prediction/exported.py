"""Exported models that predict: opened without their cell, and without its code."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from benchmark.exporting.digest import DamagedError, require_sealed, require_whole_archive
from benchmark.exporting.facts import FACTS_KEY, ModelFacts, facts_of
from benchmark.exporting.formats import (
    IMAGE,
    ONNX,
    SAFETENSORS,
    TORCHSCRIPT,
    load_weights_alone,
    require_onnxruntime,
)
from benchmark.prediction.memory_format import OWN_NETWORKS, lay_out_kernels
from benchmark.prediction.predictor import require_finite
from contract.errors import UserError
from contract.names import in_short
from lightning_modules.activations import activate
from lightning_modules.mirroring import mirrored_back, views
from lightning_modules.own_networks import mask_logits

Run = Callable[[Tensor], tuple[Tensor, ...]]
"""Images ``(N, 1, H, W)`` to what the file returns: ``probabilities``, and ``mirrored`` if any."""
_TODO = "export the cell again, or copy the file again"


@dataclass(frozen=True)
class ExportedModel:
    """A model that left the house, opened.

    Attributes:
        path: its file.
        facts: what it says of itself.
        run: computes it.
    """

    path: Path
    facts: ModelFacts
    run: Run

    @property
    def name(self) -> str:
        """Its cell and file, for people."""
        return f"{self.facts.name} ({self.path.name})"

    @property
    def label(self) -> str:
        """System, protocol and file, for people who choose."""
        return " · ".join([self.facts.system, self.facts.protocol, self.path.name])

    @property
    def system(self) -> str:
        """The system's name."""
        return self.facts.system

    @property
    def phantom(self) -> bool:
        """Whether it was trained on synthetic films."""
        return self.facts.phantom

    @property
    def unit(self) -> str:
        """What it was trained on: films, of which alone cells are exported."""
        return "image"

    def load(self, device: str = "auto") -> ExportedNetwork:
        """Return it ready to predict, on the CPU.

        Args:
            device: ``auto`` or ``cpu``.

        Raises:
            UserError: for another device.
        """
        if device not in ("auto", "cpu"):
            todo = "leave it out, or name the cell by --cell"
            raise UserError(f"--device {device}", "an exported model", "auto or cpu", todo)
        return ExportedNetwork(self)


class ExportedNetwork:
    """An exported model as what films are handed to; see ``Predictor``.

    Args:
        model: the opened file.
    """

    def __init__(self, model: ExportedModel) -> None:
        self._model = model
        facts = model.facts
        self.preprocessing, self.structures = facts.preprocessing, facts.structures
        self.activation = facts.activation
        self._one_at_a_time = threading.Lock()

    def __len__(self) -> int:
        """One network."""
        return 1

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities ``(1, N, C, H, W)`` for the images and their mirror images.

        Args:
            images: ``(N, 1, H, W)``.

        Raises:
            UserError: if the file does not compute what it says, or something not finite.
        """
        with self._one_at_a_time:
            found = self._run(images)
            if self._model.facts.mirror:
                own, mirrored = found
            else:
                (own,) = found
                mirrored = mirrored_back(self._run(images.flip(-1))[0], self.structures)
        require_finite(own, mirrored)
        return own[None], mirrored[None]

    def _run(self, images: Tensor) -> tuple[Tensor, ...]:
        try:
            found = self._model.run(images)
            said = str([tuple(output.shape) for output in found])
        except Exception as error:  # both runtimes raise many kinds
            found, said = (), f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        shape = (len(images), len(self.structures), *images.shape[2:])
        expected = [shape] * (2 if self._model.facts.mirror else 1)
        if [tuple(output.shape) for output in found] != expected:
            raise UserError(
                self._model.path, f"{said} for images of shape {tuple(images.shape)}",
                f"outputs of shape {expected}, as its metadata says", _TODO,
            )  # fmt: skip
        return found


def open_model(path: Path) -> ExportedModel:
    """Open an exported model, by its file's ending.

    An ONNX file runs no code, and weights alone (safetensors) only that of this project's own
    networks. A TorchScript file is a program, to be opened if it is trusted.

    Args:
        path: a file that ``lungbench export`` wrote, ``.onnx``, ``.safetensors`` or ``.pt``.

    Raises:
        UserError: if it is missing, damaged, of another origin or kind, or a library is missing.
    """
    readers = {
        ONNX.ending: _open_onnx,
        SAFETENSORS.ending: _open_safetensors,
        TORCHSCRIPT.ending: _open_torchscript,
    }
    ending = path.suffix.lower()
    expected = " or ".join(readers)
    if not path.is_file():
        raise UserError(path, "no such file", f"an exported model, {expected}", "check --model")
    if ending not in readers:
        found = f"a file that ends in {ending or 'nothing'}"
        raise UserError(path, found, f"an exported model, {expected}", "check --model")
    return readers[ending](path)


def _open_onnx(path: Path) -> ExportedModel:
    onnxruntime = require_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what is wrong is raised
    content, digest = _read_sealed(path)
    try:
        # From its bytes: a file cannot name others, and its size is bounded by its own.
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds
        raise _damaged(path, "ONNX", error) from None
    facts = facts_of(session.get_modelmeta().custom_metadata_map, path)
    _require_digest(facts, digest, path)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        found = session.run(None, {IMAGE: images.numpy()})
        return tuple(map(torch.from_numpy, found))

    return ExportedModel(path, facts, run)


def _open_torchscript(path: Path) -> ExportedModel:
    extra = {FACTS_KEY: ""}
    try:
        require_whole_archive(path)  # PyTorch does not look at its checksums
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is an old format
            script = torch.jit.load(path, "cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    except Exception as error:  # torch raises many kinds for damaged or foreign files
        raise _damaged(path, "TorchScript", error) from None
    said = {name: text.decode() if isinstance(text, bytes) else text  # type: ignore[unreachable]
            for name, text in extra.items() if text}  # fmt: skip
    facts = facts_of(said, path)

    def run(images: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            found = script(images)
        return found if isinstance(found, tuple) else (found,)

    return ExportedModel(path, facts, run)


def _open_safetensors(path: Path) -> ExportedModel:
    _, digest = _read_sealed(path)
    try:
        with safe_open(path, "pt") as file:
            facts = facts_of(dict(file.metadata() or {}), path)
    except UserError:
        raise
    except Exception as error:  # safetensors has an error of its own
        raise _damaged(path, "safetensors", error) from None
    _require_digest(facts, digest, path)
    try:
        network = _network_of(facts, path).eval()
        load_weights_alone(network, path)
        lay_out_kernels(network, torch.device("cpu"))
    except UserError:
        raise
    except Exception as error:
        raise _damaged(path, "safetensors", error) from None

    def seen(images: Tensor) -> Tensor:
        return activate(mask_logits(network(images), network), facts.activation)

    @torch.inference_mode()
    def run(images: Tensor) -> tuple[Tensor, ...]:
        if facts.mirror:
            return views(seen, images, facts.structures, mirror=True)
        return (seen(images),)

    return ExportedModel(path, facts, run)


def _network_of(facts: ModelFacts, path: Path) -> nn.Module:
    """Return a network of this project with fresh weights, as a file of weights names it.

    It is built without Lightning, which takes longer to import than a film to segment.

    Raises:
        UserError: if it names other code, which a file of weights is not trusted with.
    """
    generator = facts.generator or {}
    named, arguments = generator.get("class_path"), generator.get("init_args") or {}
    module, _, name = str(named).rpartition(".")
    own = str(named).startswith(OWN_NETWORKS) and "class_path" not in json.dumps(arguments)
    made = getattr(import_module(module), name, None) if own else None
    # What a module of networks has imported from elsewhere is not one of them.
    if not (isinstance(made, type) and issubclass(made, nn.Module) and made.__module__ == module):
        raise UserError(
            path, f"weights of {in_short(named)}, whose code is not this project's",
            f"those of a network of {OWN_NETWORKS}*", "export the cell with --format onnx",
        )  # fmt: skip
    return made(**arguments)


def _read_sealed(path: Path) -> tuple[bytes, str | None]:
    """Return a file's content and its digest, if it has one, before anything is made of them.

    Raises:
        UserError: if it cannot be read, or its content does not agree with its digest.
    """
    try:
        content = path.read_bytes()
        return content, require_sealed(content)
    except OSError as error:
        said = f"a file that cannot be read ({error.strerror})"
        raise UserError(path, said, "an exported model", "check its disk and rights") from None
    except DamagedError as error:
        raise UserError(path, f"a damaged file: {error}", "the file as exported", _TODO) from None


def _require_digest(facts: ModelFacts, digest: str | None, path: Path) -> None:
    """Check that the digest that was compared is the metadata's own.

    Raises:
        UserError: if the metadata holds none, or another.
    """
    if facts.digest is None:
        raise UserError(
            path, "no digest of its content, so that damage could not be told",
            "one, as `lungbench export` writes it", "export it again",
        )  # fmt: skip
    if facts.digest != digest:
        found = f"a damaged file: its digest is {in_short(facts.digest)}"
        raise UserError(path, found, "the digest of its content", _TODO)


def _damaged(path: Path, kind: str, error: Exception) -> UserError:
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    found = f"no readable {kind} model: it is damaged, or of another kind ({said})"
    return UserError(path, found, f"a whole {kind} file", _TODO)
