"""The config's own word decides what the Trainer gets, and a faulty one is named by its key."""

import re
import signal
import sys

import pytest
import torch
import yaml

from benchmark.__main__ import main
from benchmark.cell.cli import whole_numbers
from benchmark.cell.config_check import check_classes, check_keys
from benchmark.cell.fit import CellCLI
from benchmark.cell.own_code import import_own_code
from benchmark.start import add_code_folders
from contract.cell_folder import CellFolder
from contract.errors import UserError
from lightning_modules.adversarial import AdversarialSegmenter


@pytest.mark.parametrize(
    ("parsed", "stated", "expected"),
    [
        (1.0, 1, {"limit_train_batches": 1}),
        (1.0, 1.0, {}),
        (0.5, 0.5, {}),
        (16.0, 16, {"limit_train_batches": 16}),
        (16.0, None, {"limit_train_batches": 16}),
        (3, 3, {}),
    ],
)
def test_counts_stay_counts(parsed, stated, expected):
    found = whole_numbers({"limit_train_batches": parsed}, {"limit_train_batches": stated})
    assert found == expected
    assert all(isinstance(value, int) for value in found.values())


@pytest.mark.parametrize("batches", [1, 2])
def test_a_limit_of_batches_reaches_the_trainer(tiny_cell, tmp_path, batches):
    from typing import Optional, Union

    # What poisons typing's cache: an equal union in another order.
    _ = Optional[Union[float, int]]  # noqa: UP007, UP045
    overrides = {"preprocessing.size": 32, "trainer.limit_train_batches": batches}
    config = tiny_cell(systems=["unet"], overrides=overrides)
    trainer = CellCLI(config, tmp_path, []).trainer
    assert trainer.limit_train_batches == batches
    assert isinstance(trainer.limit_train_batches, int)


@pytest.mark.parametrize("asked", [[], ["--trainer.deterministic=true"]])
def test_empty_memory_is_not_filled_where_runs_repeat(asked, tiny_cell, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    before = torch.are_deterministic_algorithms_enabled()
    config = tiny_cell(systems=["unet"], overrides={"preprocessing.size": 32})
    try:
        CellCLI(config, tmp_path, ["--trainer.accelerator=cpu", *asked])
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.utils.deterministic.fill_uninitialized_memory is False
        lost = torch.empty(1000).fill_(7)
        del lost  # what the next one may find where it lies
        assert not torch.empty(1000).isnan().all()
    finally:
        torch.use_deterministic_algorithms(before)


def test_no_argument_is_guessed_from_its_beginning(tiny_cell, tmp_path):
    config = tiny_cell(systems=["unet"], overrides={"preprocessing.size": 32})
    with pytest.raises(UserError, match=r"--trainer\.max_epoch=3"):
        CellCLI(config, tmp_path, ["--trainer.max_epoch=3"])


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("data.init_args.preprocessing.size", -64, "found -64; expected at least 8"),
        ("data.init_args.preprocessing.sise", 64, "did you mean 'size'"),
        ("data.init_args.batch_size", "four", "found 'four'; expected a whole number"),
        ("data.init_args.protocol", "m_to_s", "expected a mapping"),
        ("data.class_path", "datamodules.nowhere.Films", "no 'nowhere' in datamodules"),
        ("trainer.max_epochs", "many", "found 'many'; expected a whole number"),
        ("trainer.max_epochs", -3, "expected at least 1"),
        ("trainer.max_epoch", 3, "did you mean 'max_epochs'"),
        ("model.init_args.structures", ["lungs"], "softmax needs a background channel"),
        ("model.init_args.generator.init_args.widths", [0], "at least two levels, found (0,)"),
        ("model.init_args.generator_optimizer.init_args.lr", -1, "expected at least 0"),
        ("cell.checkpoint", "worst", "expected one of best, last"),
        ("seed_everythin", 1, "did you mean 'seed_everything'"),
    ],
)
def test_a_fault_of_a_config_edited_by_hand_is_told_in_a_line(
    key, value, told, tiny_cell, tmp_path, capfd
):
    file = tiny_cell(systems=["unet"], overrides={"preprocessing.size": 32})
    settings = yaml.safe_load(file.read_text())
    *above, last = key.split(".")
    section = settings
    for part in above:
        section = section[part]
    section[last] = value
    file.write_text(yaml.safe_dump(settings))
    assert main(["fit", "--config", str(file), "--out", str(tmp_path / "out")]) == 2
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("lungbench:")]
    assert len(said) == 1 and told in said[0] and "Union" not in said[0]
    named = ".".join(above) if "an unknown key" in said[0] else key
    assert re.match(rf"lungbench: {re.escape(str(file))}(: {re.escape(named)})?", said[0])
    assert named in said[0] or "levels" in told


def test_a_config_that_a_cell_wrote_in_full_has_no_fault(tiny_cell, tmp_path):
    file = tiny_cell()
    cli = CellCLI(file, tmp_path / "out", [])
    whole = yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))
    assert len(whole["trainer"]) > len(yaml.safe_load(file.read_text())["trainer"])
    check_keys(file, whole)
    check_classes(file, whole)


def test_another_data_module_answers_for_its_own_arguments(tiny_cell):
    file = tiny_cell()
    settings = yaml.safe_load(file.read_text())
    arguments = {"root": "films", "preprocessing": {"size": 64}, "structures": ["lungs"]}
    settings["data"] = {"class_path": "datamodules.jsrt.JSRT", "init_args": arguments}
    check_keys(file, settings)
    check_classes(file, settings)
    settings["data"]["class_path"] = "datamodules.jsrt.JSTR"
    with pytest.raises(UserError, match=r"data\.class_path.*'JSTR'"):
        check_classes(file, settings)


def test_a_number_of_cores_that_is_none_is_told_before_training(
    tiny_cell, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("LUNGBENCH_CORES", "all")
    assert main(["fit", "--config", str(tiny_cell()), "--out", str(tmp_path / "out")]) == 2
    assert "LUNGBENCH_CORES: found 'all'; expected a whole number" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_a_cell_that_goes_on(tiny_cell, tmp_path, monkeypatch, capsys):
    overrides = {"preprocessing.size": 32, "trainer.max_epochs": 2}
    config, out = tiny_cell(systems=["unet"], overrides=overrides), tmp_path / "out"
    step = AdversarialSegmenter.training_step

    def interrupted(module, batch, batch_idx):
        if module.current_epoch == 1:
            signal.raise_signal(signal.SIGINT)
        return step(module, batch, batch_idx)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    try:
        with monkeypatch.context() as changed:
            changed.setattr(AdversarialSegmenter, "training_step", interrupted)
            assert main(["fit", "--config", str(config), "--out", str(out)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "the same command goes on from here" in capsys.readouterr().err
    record = CellFolder(out).record
    assert (record.state, record.reason) == ("pending", "interrupted; will resume")
    assert main(["fit", "--config", str(config), "--out", str(out)]) == 0
    assert CellFolder(out).record.is_done


OWN = {
    "an import that fails": ("x = {}['gone']\n", "KeyError: 'gone' (own_net.py, line 1)"),
    "a relative import": ("from . import other\n", "write `import other`"),
    "a class that raises": (
        "class Net(nn.Module):\n    def __init__(self):\n        raise OSError('boom')\n",
        "OSError: boom (own_net.py, line 4)",
    ),
    "a class that forgets its base": (
        "class Net(nn.Module):\n    def __init__(self):\n        self.conv = nn.Conv2d(1, 2, 1)\n",
        "AttributeError: cannot assign module before Module.__init__() call (own_net.py, line 4)",
    ),
}


@pytest.mark.parametrize("kind", OWN)
def test_faults_of_own_code_are_told_with_their_line(kind, tiny_cell, tmp_path):
    code, said = OWN[kind]
    own = code if "import" in kind else f"from torch import nn\n{code}"
    net = "" if "class" in code else "from torch import nn\nclass Net(nn.Module): pass\n"
    (tmp_path / "own_net.py").write_text(own + net)
    generator = {"class_path": "own_net.Net"}
    mine = {"extends": "unet", "model": {"init_args": {"generator": generator}}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    overrides = {"preprocessing.size": 32}
    config = tiny_cell(systems=[str(tmp_path / "mine.yaml")], overrides=overrides)
    add_code_folders([str(tmp_path)])
    try:
        with pytest.raises(UserError) as caught:
            CellCLI(config, tmp_path / "out", ["--trainer.accelerator=cpu"])
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("own_net", None)
    assert said in str(caught.value) and str(config) in str(caught.value)


def test_a_class_path_of_one_word_names_no_module_to_import(tmp_path):
    import_own_code("config.yaml", {"model": {"class_path": "MyNet"}}, [str(tmp_path)])
    (tmp_path / "broken.py").write_text("1 / 0\n")
    add_code_folders([str(tmp_path)])
    try:
        with pytest.raises(UserError, match="ZeroDivisionError"):
            import_own_code("c", {"model": {"class_path": "broken.Net"}}, [str(tmp_path)])
    finally:
        sys.path.remove(str(tmp_path))
