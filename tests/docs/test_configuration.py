"""docs/configuration.md and the schemas say what the language is; its examples are read as told."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import yaml

from benchmark.__main__ import main
from benchmark.launchers.site_profile import load_site
from benchmark.planning.compose import PLACEHOLDERS
from benchmark.planning.design import check_protocol, read_design
from benchmark.planning.language import FILE_KINDS
from benchmark.planning.library import lineage, load_settings
from benchmark.planning.system_check import check_system
from contract.yaml_files import read_yaml
from datamodules.sources.own_description import read_description

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
SECTIONS = {
    "What all files can do": "system",
    "System": "system",
    "Protocol": "protocol",
    "Suite": "suite",
    "Data set of your own": "dataset",
    "Site": "site",
    "In an editor": "system",
}
BY_CELLS = {"lists_digest"}
"""Keys that stand in the config of a cell, and which nobody writes by hand."""
BLOCK = re.compile(r"^```yaml\n(?:# yaml-language[^\n]*\n)?(# ([\w-]+\.yaml).*?)^```", re.M | re.S)


def written_by():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs/make_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = written_by()


def examples() -> dict[str, tuple[str, str]]:
    """Return the kind and the text of each YAML file of the page, by its name."""
    found = {}
    for section in re.split(r"^## ", PAGE, flags=re.M)[1:]:
        title, _, text = section.partition("\n")
        assert text.count("```yaml\n") == len(BLOCK.findall(text)), f"a file's name in {title}"
        for block in BLOCK.finditer(text):
            assert block[2] not in found, block[2]
            found[block[2]] = (SECTIONS[title], block[1])
    return found


EXAMPLES = examples()


def dotted(settings, above=""):
    """Yield the keys that settings state, those of mappings with what is above them."""
    for key, value in settings.items():
        yield above + key
        if isinstance(value, dict):
            yield from dotted(value, f"{above}{key}.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that holds the page's files, and what they speak of."""
    folder = tmp_path_factory.mktemp("page")
    for name, (_, text) in EXAMPLES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in (
        "films", "lung_masks", "left", "right", "Dataset001_Lungs", "scans", "scan_masks"
    ):  # fmt: skip
        (folder / name).mkdir()
    (folder / "splits_final.json").write_text('[{"train": ["a", "b", "c"], "val": ["d"]}]')
    (folder / "patients.csv").write_text("case_id,patient_id\n")
    (folder / "Dataset001_Lungs/dataset.json").write_text('{"labels": {"lungs": 1}}')
    return folder


def test_tables_are_those_of_the_language():
    assert REFERENCE.filled(PAGE) == PAGE, "run python docs/make_reference.py"
    assert re.findall(r"<!-- keys of (\w+) -->\n\| key", PAGE) == list(FILE_KINDS)


def test_schemas_are_those_of_the_language():
    there = {path.stem: json.loads(path.read_text()) for path in REFERENCE.SCHEMAS.iterdir()}
    assert there == REFERENCE.schemas(), "run python docs/make_reference.py"
    for kind in there:
        assert f"(schemas/{kind}.json)" in PAGE


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_every_key_has_a_meaning_and_an_example(kind):
    shown = {key for of, text in EXAMPLES.values() if of == kind
             for key in dotted(yaml.safe_load(text))}  # fmt: skip
    rows = REFERENCE.rows(REFERENCE.schemas()[kind])
    assert len(rows) > 10
    for key, values, _, meaning in rows:
        assert meaning and values, key
        assert (key in shown) != (key in BY_CELLS), f"no example of {key}"


def test_a_table_has_keys_of_mappings_too():
    rows = {key: rest for key, *rest in REFERENCE.rows(REFERENCE.schemas()["system"])}
    assert rows["preprocessing.size"][:2] == ["whole number, at least 8, at most 8192", "`512`"]
    assert rows["augmentation.scale"][:2] == ["number, at least 0, less than 1", "`0.0`"]
    assert rows["batch_size"][1] == "needed"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_file_as_it_is_read(name, folder):
    kind, file = EXAMPLES[name][0], folder / name
    if kind == "system":
        check_system(load_settings("systems", str(file)), file)
    elif kind == "protocol":
        check_protocol(file, load_settings("protocols", str(file)), None)
    elif kind == "suite":
        assert read_design(str(file)).systems
    elif kind == "dataset":
        assert read_description(file, folder).masks
    else:
        assert load_site(file).partition


def test_pairs_of_the_page_are_called_as_it_says(folder):
    design = read_design(str(folder / "my_pairs.yaml"))
    assert list(design.systems) == ["attention_unet_vs_none", "attention_unet_vs_pixel"]


def test_an_extended_mapping_keeps_what_is_not_changed(folder):
    own, base = (one for _, one in lineage("systems", (folder / "wider.yaml").resolve()))
    wide = load_settings("systems", str(folder / "wider.yaml"))["model"]["init_args"]
    kept = base["model"]["init_args"]
    assert wide["generator"]["init_args"]["widths"] == [48, 96, 192, 384, 768]
    assert wide["generator"]["class_path"] == kept["generator"]["class_path"]
    assert wide["loss"] == kept["loss"] and "loss" not in own["model"]["init_args"]


def test_every_value_that_is_filled_in_stands_on_the_page():
    table = PAGE[PAGE.index("| value | becomes |") :].split("\n\n")[0]
    assert set(re.findall(r"`(\$\w+)` \|", table)) == set(PLACEHOLDERS)


def test_the_message_on_the_page_is_what_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.yaml").write_text("extends: unet\ntrainer: {max_epoch: 3}\n")
    assert main(["plan", "--with", "my_net.yaml", "--runs", "runs"]) == 2
    told = capsys.readouterr().err.replace(f"{tmp_path.resolve()}/", "")
    shown = " ".join(PAGE[PAGE.index("```text\n") + 8 :].split("```")[0].split())
    start, end = shown.split("…")
    assert told.startswith(start) and told.strip().endswith(end.lstrip("."))


def test_a_system_that_extends_may_leave_out_what_it_needs():
    needed = REFERENCE.schemas()["system"]["anyOf"]
    assert needed == [
        {"required": ["extends"]},
        {"required": ["structures", "preprocessing", "batch_size", "model", "trainer"]},
    ]
    assert read_yaml(ROOT / "benchmark/systems/res_unet.yaml")["extends"]
