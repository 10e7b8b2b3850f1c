"""A finished cell's network as a file that needs no cell, compared with PyTorch, with its card."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.cell.loading import build_module, load_tested, read_config
from benchmark.cell.results import versions
from benchmark.exporting.card import model_card
from benchmark.exporting.comparison import LARGEST_GAP, Comparison, compare
from benchmark.exporting.digest import NO_DIGEST, require_sealed, write_digest
from benchmark.exporting.facts import ModelFacts, QualityRule, TrainedOn, facts_of
from benchmark.exporting.films import films_for
from benchmark.exporting.formats import (
    EXPORT_KINDS,
    ONNX,
    SAFETENSORS,
    Format,
    load_weights_alone,
    require_onnxruntime,
)
from benchmark.exporting.graph import OutputGraph
from benchmark.planning.library import Settings
from benchmark.prediction.exported import open_model
from benchmark.prediction.networks import trained
from benchmark.progress import say
from contract.cell_folder import CellFolder, cell_name
from contract.cell_record import CellRecord
from contract.errors import UserError
from contract.files import write_atomically
from datamodules.fetch.addresses import read_addresses
from datamodules.preprocessing import Preprocessing
from datamodules.sources import CT_SOURCES, SOURCES
from leaderboards.wording import changes_text
from lightning_modules.adversarial import AdversarialSegmenter

CARD_ENDING = ".md"
"""What a model card's name adds to its model's."""


def export(folder: Path, format_name: str, output: Path | None = None) -> Path:
    """Write a finished cell's network as one file, and its model card beside it.

    It holds the generator with the weights that were tested. The file takes its place only after
    it was read back and gave PyTorch's probabilities and masks on ten films.

    Args:
        folder: the cell's folder. Its config names code to run, so it must be trusted.
        format_name: a key of ``EXPORT_KINDS``.
        output: the file to write; called after the cell, in the current folder, if not given.

    Returns:
        the file.

    Raises:
        UserError: if the cell cannot be exported, or the file does not compute what PyTorch does.
    """
    kind = EXPORT_KINDS[format_name]
    if output is not None and output.suffix.lower() != kind.ending:
        ends = f"a file that ends in {output.suffix or 'nothing'}"
        raise UserError(f"--output {output}", ends, f"{kind.ending} for --format {kind.name}")
    if kind is ONNX:
        require_onnxruntime()
    cell = CellFolder(folder)
    record = cell.record
    if trained([folder]).unit == "scan":  # which refuses what is not finished, too
        seen = f"a cell that was trained on CT ({record.train_on})"
        raise UserError(folder, seen, "one that was trained on chest films")
    module, config = _load(cell, record)
    output = output or Path(_called(record) + kind.ending)
    images, films = films_for(cell, config)
    facts = _facts(record, config, module, kind, f"{len(images)} films, {films}")

    def another() -> AdversarialSegmenter:
        return _require_generator(build_module(cell.config, config), record)

    found = write_checked(module, images, facts, kind, output, another)
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    card = model_card(facts, cell.read_rows(), output.name, digest, found)
    card_file = output.with_name(output.name + CARD_ENDING)
    write_atomically(card_file, card)
    say(f"{output}: {facts.name}, with its model card in {card_file.name}")
    say(f"compared with PyTorch on {len(images)} films, {films}: {found.told}")
    return output


def _called(record: CellRecord) -> str:
    return cell_name(record.system, record.protocol, record.seed).replace(" ", "-")


def _load(cell: CellFolder, record: CellRecord) -> tuple[AdversarialSegmenter, Settings]:
    """Return a cell's module with the weights that were tested, and its config.

    Raises:
        UserError: if it holds no network, several, or cannot be loaded.
    """
    if record.external is not None:
        raise UserError(cell.path, "masks of another tool", "a cell that was trained here")
    folds = cell.every_checkpoints()
    if len(folds) > 1:
        raise UserError(
            cell.path, f"{len(folds)} folds, each with a network of its own", "one network",
            "export a cell of a protocol without folds, such as m_to_s",
        )  # fmt: skip
    config = read_config(cell.config)
    module = _require_generator(build_module(cell.config, config), record)
    load_tested(module, folds[0].weights(config["cell"].get("checkpoint", "best")))
    return module, config


def _require_generator(module: Any, record: CellRecord) -> AdversarialSegmenter:
    if isinstance(module, AdversarialSegmenter):
        return module
    raise UserError(
        f"system {record.system}",
        f"a {type(module).__name__}, which has no network that could leave",
        "a system with a generator",
        "export another system",
    )


def _facts(
    record: CellRecord, config: Settings, module: AdversarialSegmenter, kind: Format, checked: str
) -> ModelFacts:
    about = config["cell"].get("about", {}).get("system", {})
    generator = config["model"]["init_args"]["generator"]
    names = [] if record.train_on is None else record.train_on.split("+")
    return ModelFacts(
        format=1,
        suite=str(record.suite),
        system=record.system,
        title=str(about.get("title", record.system)),
        protocol=record.protocol,
        seed=record.seed,
        structures=module.structures,
        activation=module.activation,
        threshold=None if module.activation == "softmax" else 0.5,
        mirror=module.mirror,
        preprocessing=Preprocessing(**config["data"]["init_args"]["preprocessing"]),
        quality=QualityRule(),
        phantom=record.phantom,
        reduced=record.reduced,
        changes=changes_text(record.changes),
        notes=tuple(_notes(about)),
        n_train=record.n_train,
        train_on=tuple(TrainedOn(name, _terms(name, record.phantom)) for name in names),
        test_on=record.test_on or "",
        config_hash=record.config_hash,
        split_hash=record.split_hash,
        commit=record.commit,
        versions=dict(record.versions),
        exported_by=versions() | ({"onnx": version("onnx")} if kind is ONNX else {}),
        checked=f"{checked}: probabilities within {LARGEST_GAP} of PyTorch's, and equal masks",
        generator=generator if kind is SAFETENSORS else None,
    )


def _notes(about: Mapping[str, Any]) -> Iterator[str]:
    if chosen := about.get("chosen_on"):
        yield f"the recipe was adjusted in sight of the test films of {', '.join(chosen)}"
    yield from (f"{topic}: {note}" for topic, note in (about.get("notes") or {}).items())


def _terms(name: str, phantom: bool) -> str:
    """Return the terms of a data set in words, as far as they are known."""
    if phantom:
        return "synthetic films in this data set's layout, made by lungbench: no terms"
    if name in SOURCES or name in CT_SOURCES:
        return read_addresses([name])[name].terms.strip()
    return "a data set of the user's own: its terms are not known here"


def write_checked(
    module: AdversarialSegmenter,
    images: Tensor,
    facts: ModelFacts,
    kind: Format,
    output: Path,
    another: Callable[[], AdversarialSegmenter],
) -> Comparison:
    """Write a module's network, read it back, compare it, and only then put it in its place.

    Args:
        module: the module, with its weights.
        images: films as it sees them, ``(N, 1, H, W)``.
        facts: what the file says of itself, but for its digest, which is found here.
        kind: the kind of file.
        output: the file.
        another: builds such a module with fresh weights, for a file of weights alone.

    Returns:
        how far it is from PyTorch.

    Raises:
        UserError: if it cannot be written, or does not compute what PyTorch does. No file is left
            then, and an older one stays.
    """
    facts = replace(facts, digest=NO_DIGEST if kind.sealed else None)
    graph = OutputGraph(module)
    graph.outputs(images[:1])  # tells how many channels the network wants, which is not traced
    with tempfile.TemporaryDirectory(prefix="lungbench-export-") as folder:
        written = Path(folder) / f"model{kind.ending}"
        try:
            kind.write(graph, images[:2], facts.as_metadata(), written)
            if kind.sealed:
                write_digest(written)
        except UserError:
            raise
        except Exception as error:  # exporters raise many kinds
            said = next(iter(str(error).strip().splitlines()), "")
            raise UserError(
                f"{kind.name} of {facts.name}",
                f"a network that cannot be written so ({type(error).__name__}: {said[:300]})",
                todo="choose another --format; safetensors takes any network",
            ) from error
        run, said_facts = _read_back(written, kind, another)
        if replace(said_facts, digest=facts.digest).as_metadata() != facts.as_metadata():
            raise RuntimeError("the file does not say of itself what was written")
        found = compare(graph, run, images, facts.activation)
        if not found.holds:
            raise UserError(
                f"{kind.name} of {facts.name}", f"another model than PyTorch's: {found.told}",
                f"at most {LARGEST_GAP} and equal masks; no file was left",
                "choose another --format; a network that branches on its images cannot be traced",
            )  # fmt: skip
        write_atomically(output, written.read_bytes())
    return found


def _read_back(
    written: Path, kind: Format, another: Callable[[], AdversarialSegmenter]
) -> tuple[Callable[[Tensor], tuple[Tensor, ...]], ModelFacts]:
    if kind is not SAFETENSORS:
        model = open_model(written)
        return model.run, model.facts
    fresh = another()
    require_sealed(written.read_bytes())
    metadata = load_weights_alone(fresh.generator, written)
    return OutputGraph(fresh).outputs, facts_of(metadata, written)
