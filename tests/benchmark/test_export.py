"""Models that leave the house: what a file computes and says, and what cannot leave, in words."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.__main__ import main
from benchmark.exporting.comparison import LARGEST_GAP, TIE, compare
from benchmark.exporting.digest import NO_DIGEST, write_digest
from benchmark.exporting.export import export, write_checked
from benchmark.exporting.facts import FACTS_KEY, facts_of
from benchmark.exporting.formats import EXPORT_KINDS
from benchmark.exporting.graph import OutputGraph
from benchmark.prediction.exported import open_model
from benchmark.prediction.networks import load_networks, trained
from benchmark.prediction.segmentation import segment
from contract.errors import UserError
from datamodules.sources.films import Film, read_film
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import DiceCrossEntropy

CELL = "tiny/cells/unet/m_to_s/seed-0"
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
SIDES = ("background", "left_lung", "right_lung", "heart")


@pytest.fixture(scope="module")
def cell(trained_runs) -> Path:
    return trained_runs / CELL


@pytest.fixture(scope="module")
def exported(cell, tmp_path_factory) -> dict[str, Path]:
    """The cell in all formats."""
    home = tmp_path_factory.mktemp("exported")
    for name, kind in EXPORT_KINDS.items():
        file = home / f"unet{kind.ending}"
        assert main(["export", str(cell), "--format", name, "--output", str(file)]) == 0
    return {name: home / f"unet{kind.ending}" for name, kind in EXPORT_KINDS.items()}


def told(file: Path) -> dict:
    session = onnxruntime.InferenceSession(file)
    return json.loads(session.get_modelmeta().custom_metadata_map[FACTS_KEY])


def with_metadata(file: Path, out: Path, entries: dict[str, str], sealed: bool = True) -> Path:
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, entries)
    onnx.save(model, out)
    if sealed and '"digest": "' in entries.get(FACTS_KEY, ""):
        write_digest(out)
    return out


def middle_of_weights(file: Path) -> int:
    """Where a file's middle is; in an archive, that of its largest array."""
    content = file.read_bytes()
    if not zipfile.is_zipfile(file):
        return len(content) // 2
    with zipfile.ZipFile(file) as archive:
        stored = [one for one in archive.infolist() if one.compress_type == zipfile.ZIP_STORED]
        largest = max(stored, key=lambda part: part.file_size)
        return content.index(archive.read(largest)) + largest.file_size // 2


def test_a_file_predicts_what_its_cell_predicts(cell, exported, phantom_root, tmp_path, capsys):
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(next((phantom_root / "MontgomerySet/CXR_png").glob("*.png")), films)
    shutil.copy(next((phantom_root / "ChinaSet_AllFiles/CXR_png").glob("*.png")), films)
    (films / "torn.png").write_bytes(b"no film")
    tables = {}
    for name, source in {
        "cell": ["--cell", str(cell)],
        "onnx": ["--model", str(exported["onnx"])],
        "torchscript": ["--model", str(exported["torchscript"])],
    }.items():
        out = ["--out", str(tmp_path / name)]
        assert main(["predict", *source, "--images", str(films), *out]) == 1  # the torn one
        assert "PHANTOM DATA" in capsys.readouterr().out
        tables[name] = pd.read_csv(tmp_path / name / "predictions.csv")
    assert tables["cell"]["lungs_area_px"].sum() > 0
    for name in ("onnx", "torchscript"):
        pd.testing.assert_frame_equal(tables[name], tables["cell"], rtol=1e-4)
        for mask in (tmp_path / "cell/masks").rglob("*.png"):
            other = tmp_path / name / mask.relative_to(tmp_path / "cell")
            assert other.read_bytes() == mask.read_bytes()


def test_a_file_says_all_that_its_user_needs(cell, exported):
    facts = told(exported["onnx"])
    record = json.loads((cell / "cell.json").read_text())
    config = yaml.safe_load((cell / "config.yaml").read_text())
    stated = config["data"]["init_args"]["preprocessing"]
    assert facts["preprocessing"].items() >= stated.items()
    assert facts["structures"] == ["background", "lungs"] and facts["activation"] == "softmax"
    assert facts["threshold"] is None and facts["mirror"] is False
    for key in ("system", "protocol", "seed", "suite", "config_hash", "split_hash", "versions",
                "commit", "n_train", "phantom", "reduced", "test_on"):  # fmt: skip
        assert facts[key] == record[key], key
    assert "trainer.max_epochs" in facts["changes"]
    assert [one["name"] for one in facts["train_on"]] == ["montgomery"]
    assert "synthetic" in facts["train_on"][0]["terms"]
    assert "10 of its test cases" in facts["checked"]
    assert facts["quality"]["most_disagreement"] == 0.1
    assert "medical device" in facts["not_for"]
    assert facts["exported_by"]["onnx"] == onnx.__version__
    with safe_open(exported["safetensors"], "pt") as file:
        weights = json.loads(file.metadata()[FACTS_KEY])
        names = list(file.keys())
    assert weights.pop("generator") == config["model"]["init_args"]["generator"]
    facts.pop("generator"), weights.pop("exported_by"), facts.pop("exported_by")
    assert facts.pop("digest") != weights.pop("digest")
    assert weights == facts
    assert names and not [name for name in names if name.startswith(("critic", "loss"))]
    assert facts_of({FACTS_KEY: json.dumps(told(exported["onnx"]))}, cell).title == facts["title"]


def test_the_opset_and_the_dynamic_batch_are_as_the_page_says(exported):
    model = onnx.load(exported["onnx"])
    assert [one.version for one in model.opset_import] == [17]
    assert "opset 17" in PAGE.read_text()
    (image,), (found,) = model.graph.input, model.graph.output
    for value, channels in ((image, 1), (found, 2)):
        sides = value.type.tensor_type.shape.dim
        assert sides[0].dim_param and [side.dim_value for side in sides[1:]] == [channels, 64, 64]


def test_the_card_says_what_the_rows_say(cell, exported):
    card = exported["onnx"].with_name("unet.onnx.md").read_text()
    rows = pd.read_parquet(cell / "cases.parquet")
    lungs = rows[rows["structure"] == "lungs"]
    assert f"| shenzhen | lungs | plain | {len(lungs)} | {lungs['dice'].mean():.4f} [" in card
    for finding, own in lungs.groupby("finding"):
        assert f"| shenzhen | {finding} | {len(own)} | {own['dice'].mean():.4f} [" in card
    for words in (
        "not a medical device",
        "PHANTOM DATA",
        "It is reduced",
        "montgomery",
        "no pixel",
    ):
        assert words in card
    assert f"| {len(lungs)} | {(lungs['dice'] < 0.9).sum()} | {lungs['flagged'].sum()} |" in card
    assert "\n\n\n" not in card
    assert (
        "holds the weights of"
        in exported["safetensors"].with_name("unet.safetensors.md").read_text()
    )


SCRIPT = re.search(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)[1]


def test_the_script_of_the_page_needs_no_more_than_twenty_lines_and_none_of_this_project():
    lines = [line for line in SCRIPT.splitlines() if line.strip()]
    assert len(lines) <= 20
    modules = re.findall(r"^import (.+)$", SCRIPT, flags=re.MULTILINE)
    assert "from " not in SCRIPT
    assert ", ".join(modules) == "json, sys, cv2, numpy as np, onnxruntime"


def run_script(model: Path, film: Path, folder: Path) -> np.ndarray:
    script = folder / "segment.py"
    script.write_text(SCRIPT)
    mask = folder / "mask.png"
    command = [sys.executable, "-I", str(script), str(model), str(film), str(mask)]
    subprocess.run(command, cwd=folder, check=True)
    return cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE) > 0


def test_the_script_of_the_page_gives_the_masks_of_predict(cell, exported, phantom_root, tmp_path):
    film = next((phantom_root / "MontgomerySet/CXR_png").glob("*.png"))
    expected = segment(load_networks(trained([cell])), read_film(film)).masks["lungs"]
    found = run_script(exported["onnx"], film, tmp_path)
    assert found.any() and (found == expected).all()


def segmenter(generator: nn.Module, structures=("lungs",), activation="sigmoid", **settings):
    return AdversarialSegmenter(
        list(structures), generator, DiceCrossEntropy(), activation, **settings
    )


def leave(module, exported, file: Path, kind: str = "onnx", **changes):
    """Write a module by itself, as the cell's facts with some changes describe it."""
    facts = open_model(exported["onnx"]).facts
    facts = replace(
        facts, structures=module.structures, activation=module.activation, mirror=module.mirror,
        threshold=None if module.activation == "softmax" else 0.5, **changes,
    )  # fmt: skip
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 1, 64, 64)))
    return write_checked(module, images.float(), facts, EXPORT_KINDS[kind], file, lambda: module)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "tanh"])
def test_sides_mirroring_aspect_and_clahe_survive(activation, exported, tmp_path):
    torch.manual_seed(0)
    structures = SIDES if activation == "softmax" else SIDES[1:]
    count = len(structures)
    network = nn.Sequential(UNet(classes=count, widths=[4, 8]), nn.InstanceNorm2d(count))
    module = segmenter(network, structures, activation, mirror=activation != "tanh",
                       channels_last=True)  # fmt: skip
    how = replace(
        open_model(exported["onnx"]).facts.preprocessing, keep_aspect=True,
        clahe="before_resize" if activation == "tanh" else "after_resize", value_range=(0.0, 1.0),
    )  # fmt: skip
    film = np.random.default_rng(1).integers(0, 255, (150, 90), dtype=np.uint8)
    film = cv2.GaussianBlur(film, (0, 0), 5)
    Image.fromarray(film).save(tmp_path / "film.png")
    file = tmp_path / "sides.onnx"
    assert leave(module, exported, file, preprocessing=how).holds
    opened = open_model(file).load()
    square = torch.from_numpy(how.to_range(how.prepare_image(film)))[None, None]
    with torch.inference_mode():
        expected = module.views(square)
    for own, other in zip(opened(square), expected, strict=True):
        assert torch.allclose(own[0], other, atol=LARGEST_GAP)
    masks = segment(opened, Film(film, None)).masks
    assert set(masks) == {"lungs", *SIDES[1:]} and 0.1 < masks["lungs"].mean() < 0.9
    assert (run_script(file, tmp_path / "film.png", tmp_path) == masks["lungs"]).all()


class Branching(nn.Module):
    """Which way it goes is fixed by the film that it is traced on."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image):
        return self.mix(image) if image.mean() > 0 else 1 - self.mix(image)


class Exotic(nn.Module):
    """Does what ONNX has no operation for."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image):
        return self.mix(torch.special.bessel_j0(image))


class Colour(nn.Module):
    """Wants three channels, and returns a mapping with more than the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.norm = nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1)

    def forward(self, image):
        found = self.norm(self.mix(image))
        return {"out": found, "aux": found.mean()}


def test_a_file_that_computes_something_else_is_not_left_behind(exported, tmp_path):
    torch.manual_seed(0)
    for kind in ("onnx", "torchscript"):
        file = tmp_path / f"model{EXPORT_KINDS[kind].ending}"
        file.write_text("an older one")
        with pytest.raises(UserError, match=r"another model than PyTorch's.* pixels") as error:
            leave(segmenter(Branching()), exported, file, kind)
        assert "no file was left" in str(error.value)
        assert file.read_text() == "an older one"
    with pytest.raises(UserError, match="cannot be written so"):
        leave(segmenter(Exotic()), exported, tmp_path / "exotic.onnx")
    assert leave(segmenter(Exotic()), exported, tmp_path / "exotic.pt", "torchscript").holds
    assert not (tmp_path / "exotic.onnx").exists()


def test_networks_that_want_colour_or_return_more_leave_too(exported, tmp_path):
    torch.manual_seed(0)
    for kind in EXPORT_KINDS:
        file = tmp_path / f"colour{EXPORT_KINDS[kind].ending}"
        assert leave(segmenter(Colour()), exported, file, kind).holds


def test_only_a_tie_may_fall_on_either_side():
    graph = OutputGraph(segmenter(nn.Conv2d(1, 1, 1)))
    nn.init.zeros_(graph.generator.weight)
    images = torch.zeros(2, 1, 8, 8)

    def compared(change):
        return compare(graph, lambda part: (change(graph.outputs(part)[0]),), images, "sigmoid")

    for logit, ties in ((0.1 * TIE, 128), (8 * TIE, 0)):
        nn.init.constant_(graph.generator.bias, logit)
        gap = 2 * graph.outputs(images[:1])[0][0, 0, 0, 0] - 1
        found = compared(lambda own, gap=gap: own - gap)
        assert (found.differing, found.ties, found.holds) == (128, ties, ties == 128)
    far = compared(lambda own: own + 2e-4)
    assert not far.holds and far.differing == 0
    assert not compared(lambda own: own * float("nan")).holds


def test_without_the_cells_films_phantoms_are_compared_on(cell, tmp_path, capsys):
    moved = tmp_path / "runs/tiny/cells/unet/m_to_s/seed-0"
    shutil.copytree(cell, moved)
    config = yaml.safe_load((moved / "config.yaml").read_text())
    config["data"]["init_args"]["root"] = str(tmp_path / "elsewhere")
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    file = export(moved, "torchscript", tmp_path / "model.pt")
    assert "10 phantoms (synthetic films)" in open_model(file).facts.checked
    said = capsys.readouterr().out
    assert "own films cannot be read" in said and "elsewhere" in said


def test_what_cannot_leave_is_told_in_words(cell, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/tiny/cells/unet/m_to_s/seed-0"
    shutil.copytree(cell, folder)
    record = json.loads((folder / "cell.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    arguments = {"structures": ["background", "lungs"], "size": 64}
    mean = {"class_path": "lightning_modules.mean_shape.MeanShape", "init_args": arguments}

    def refused(text: str, *words: str, model: dict | None = None, **changes) -> None:
        (folder / "cell.json").write_text(json.dumps({**record, **changes}))
        (folder / "config.yaml").write_text(
            yaml.safe_dump({**config, "model": model or config["model"]})
        )
        assert main(["export", str(folder), *words]) == 2
        assert text in capsys.readouterr().err

    refused("a cell that is running", state="running")
    refused("trained on CT", train_on="lidc_idri")
    refused("masks of another tool", external={"tool": "nnU-Net"})
    refused("a MeanShape, which has no network", model=mean)
    refused("--output model.pt: found a file that ends in .pt", "--output", "model.pt")
    (folder / "checkpoints/fold-1").mkdir()
    refused("2 folds, each with a network of its own")
    (folder / "checkpoints/fold-1").rmdir()
    (folder / "checkpoints/best.ckpt").write_bytes(b"torn")
    refused("best.ckpt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_foreign_damaged_and_falsified_files_are_refused(exported, tmp_path, capsys):
    facts = told(exported["onnx"])
    whole = exported["onnx"].read_bytes()
    for name, content in {
        "torn.onnx": whole[: len(whole) // 2], "empty.onnx": b"", "text.onnx": b"a text",
        "torn.pt": exported["torchscript"].read_bytes()[:5000], "model.bin": b"",
        "cut.safetensors": exported["safetensors"].read_bytes()[:5000],
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    torch.save({"state_dict": {}}, tmp_path / "weights.pt")
    torch.jit.script(nn.Conv2d(1, 1, 1)).save(tmp_path / "foreign.pt")
    for name, entries in {
        "foreign.onnx": {"author": "somebody"},
        "nonsense.onnx": {FACTS_KEY: "{"},
        "list.onnx": {FACTS_KEY: "[]"},
        "key.onnx": {FACTS_KEY: json.dumps({**facts, "colour": 1})},
        "size.onnx": {FACTS_KEY: json.dumps({**facts, "preprocessing": {"size": 10**6}})},
        "channels.onnx": {FACTS_KEY: json.dumps({**facts, "structures": ["lungs", "heart"]})},
        "other.onnx": {FACTS_KEY: json.dumps({**facts, "preprocessing": {"size": 32}})},
        "more.onnx": {FACTS_KEY: json.dumps({**facts, "mirror": True})},
    }.items():
        with_metadata(exported["onnx"], tmp_path / name, entries)
    films = tmp_path / "films"
    films.mkdir()
    Image.fromarray(np.full((40, 50), 99, np.uint8)).save(films / "grey.png")
    out = ["--images", str(films), "--out", str(tmp_path / "out")]
    for name, text in {
        "torn.onnx": "no readable ONNX model", "empty.onnx": "no readable ONNX model",
        "text.onnx": "no readable ONNX model", "torn.pt": "no readable TorchScript model",
        "weights.pt": "no readable TorchScript model", "model.bin": "ends in .bin",
        "missing.onnx": "no such file", "foreign.onnx": "a model of another origin",
        "foreign.pt": "a model of another origin", "nonsense.onnx": "no JSON",
        "list.onnx": "no JSON object", "key.onnx": "unknown key 'colour'",
        "size.onnx": "preprocessing.size", "channels.onnx": "softmax needs",
        "other.onnx": "for images of shape (1, 1, 32, 32)",
        "more.onnx": "as its metadata says", "cut.safetensors": "a damaged file",
    }.items():  # fmt: skip
        assert main(["predict", "--model", str(tmp_path / name), *out]) == 2, name
        assert text in capsys.readouterr().err, name
    for more, text in {
        ("--device", "cuda"): "auto or cpu", ("--system", "unet"): "either a model or a cell",
    }.items():  # fmt: skip
        assert main(["predict", "--model", str(exported["onnx"]), *more, *out]) == 2
        assert text in capsys.readouterr().err


@pytest.fixture
def film(tmp_path) -> list[str]:
    """Options that name a film and where its mask goes."""
    (tmp_path / "films").mkdir()
    Image.fromarray(np.full((40, 50), 99, np.uint8)).save(tmp_path / "films" / "grey.png")
    return ["--images", str(tmp_path / "films"), "--out", str(tmp_path / "out")]


@pytest.mark.parametrize("kind", list(EXPORT_KINDS))
def test_a_file_whose_content_was_damaged_is_refused(kind, exported, film, tmp_path, capsys):
    whole, middle = exported[kind].read_bytes(), middle_of_weights(exported[kind])
    assert main(["predict", "--model", str(exported[kind]), *film]) == 0
    flipped, zeroed = bytearray(whole), bytearray(whole)
    flipped[middle] ^= 0x40
    zeroed[middle - 2048 : middle + 2048] = bytes(4096)
    for name, content in {"flipped": flipped, "zeroed": zeroed}.items():
        damaged = tmp_path / f"{name}{exported[kind].suffix}"
        damaged.write_bytes(content)
        capsys.readouterr()
        assert main(["predict", "--model", str(damaged), *film]) == 2, name
        said = capsys.readouterr().err
        assert str(damaged) in said and "damaged" in said and "copy the file again" in said


@pytest.mark.parametrize("kind", list(EXPORT_KINDS))
def test_no_flipped_byte_anywhere_changes_what_a_file_computes(kind, exported, tmp_path):
    whole = exported[kind].read_bytes()
    images = torch.zeros(1, 1, 64, 64)
    expected = open_model(exported[kind]).run(images)[0]
    damaged = tmp_path / f"damaged{exported[kind].suffix}"
    for place in np.random.default_rng(0).integers(0, len(whole), 40):
        content = bytearray(whole)
        content[place] ^= 0x01
        damaged.write_bytes(content)
        try:
            opened = open_model(damaged)
        except UserError:
            continue
        assert kind == "torchscript", place  # between the parts of an archive nothing is read
        assert torch.equal(opened.run(images)[0], expected), place


def test_the_digest_is_what_the_page_says(exported):
    for kind in ("onnx", "safetensors"):
        content, digest = exported[kind].read_bytes(), open_model(exported[kind]).facts.digest
        zeroed = content.replace(digest.encode(), b"0" * 64)
        assert hashlib.sha256(zeroed).hexdigest() == digest
    assert open_model(exported["torchscript"]).facts.digest is None


def test_a_file_without_its_own_digest_is_refused(exported, film, tmp_path, capsys):
    facts = told(exported["onnx"])
    with safe_open(exported["safetensors"], "pt") as opened:
        weights = json.loads(opened.metadata()[FACTS_KEY])
    for digest, text in {
        None: "no digest of its content", "0123": "a damaged file", NO_DIGEST: "a damaged file",
    }.items():  # fmt: skip
        own = json.dumps(facts | {"digest": digest})
        files = (
            with_metadata(exported["onnx"], tmp_path / "a.onnx", {FACTS_KEY: own}, sealed=False),
            tmp_path / "a.safetensors",
        )
        own = json.dumps(weights | {"digest": digest})
        save_file(load_file(exported["safetensors"]), files[1], {FACTS_KEY: own})
        for file in files:
            assert main(["predict", "--model", str(file), *film]) == 2, digest
            err = capsys.readouterr().err
            assert text in err and str(file) in err and "export" in err and "again" in err


def test_without_the_extra_the_message_names_it(cell, exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(cell), "--output", str(tmp_path / "model.onnx")]) == 2
    assert "pip install 'lungbench[onnx]'" in capsys.readouterr().err
    out = ["--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["predict", "--model", str(exported["onnx"]), *out]) == 2
    assert "no package onnxruntime" in capsys.readouterr().err
