"""Every system's YAML file: composed, parsed by LightningCLI and trained for a step a phase."""

from importlib import import_module

import pytest
import torch
import yaml

from benchmark.cell.fit import CellCLI, fit
from benchmark.planning.catalogue import SIZES, catalogue
from benchmark.planning.compose import DESCRIPTIVE
from benchmark.planning.counting import count_step
from benchmark.planning.library import known_names, load_settings, load_suite
from benchmark.planning.plan import make_plan
from benchmark.planning.step_cost import step_key, tabled_steps, what_is_counted
from lightning_modules.adversarial import AdversarialSegmenter

pytestmark = pytest.mark.filterwarnings("ignore:.*args parameter is intended")

BRIEF = {
    "batch_size": 2,
    "trainer.max_epochs": 2,
    "trainer.limit_train_batches": 1,
    "trainer.limit_val_batches": 1,
    "model.init_args.pretrain_epochs?": 1,
    "model.init_args.generator_steps?": 1,
}
"""A step of the generator alone in the first epoch, a step of both networks in the second."""

TRAINED = [name for name in load_suite("zoo").systems if name != "mean_shape"]
MODERN = [name for name in TRAINED if name.startswith(("smp_", "monai_", "nnunet"))]


@pytest.fixture(scope="module")
def configs(phantom_root, tmp_path_factory):
    """Each system's config, small (as in the suite ``zoo``) and brief."""
    folder = tmp_path_factory.mktemp("zoo")
    found = {}
    for cell in make_plan("zoo", folder, phantom_root, BRIEF).cells:
        found[cell.system] = folder / f"{cell.system}.yaml"
        found[cell.system].write_text(yaml.safe_dump(cell.config))
    return found


@pytest.mark.parametrize("name", known_names("systems"))
def test_a_system_says_what_it_is(name):
    system = load_settings("systems", name)
    assert system["title"]
    notes = system.get("notes", {})
    assert all(isinstance(note, str) and "\n" not in note for note in notes.values())
    assert name in ("mean_shape", "unet") or notes


def test_no_two_systems_are_the_same():
    trained = {}
    for name in known_names("systems"):
        settings = {k: v for k, v in load_settings("systems", name).items() if k not in DESCRIPTIVE}
        trained.setdefault(yaml.safe_dump(settings), []).append(name)
    assert [same for same in trained.values() if len(same) > 1] == []


def test_every_system_is_listed_with_its_size():
    lines = SIZES.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["system", *known_names("systems")]
    assert all(one["parameters"] > 0 for one in catalogue("systems"))


@pytest.fixture(scope="module")
def whole_steps(phantom_root, tmp_path_factory):
    """What a step of each system in its full size is counted from: model, batch and side."""
    folder = tmp_path_factory.mktemp("whole")
    suite = folder / "whole.yaml"
    entries = {"title": "whole", "systems": known_names("systems"), "protocols": ["m_to_s"]}
    suite.write_text(yaml.safe_dump(entries))
    cells = make_plan(str(suite), folder, phantom_root).cells
    return {cell.system: what_is_counted(cell.config) for cell in cells}


@pytest.mark.parametrize("listed", catalogue("systems"), ids=lambda listed: listed["name"])
def test_what_is_listed_and_tabled_of_a_network_is_counted(listed, whole_steps):
    step = whole_steps[listed["name"]]
    counted = count_step(*step, listed["name"])
    assert listed["parameters"] == counted.generator_parameters
    key = step_key(*step)
    assert key in tabled_steps(), "its settings or a network's code changed: docs/make_steps.py"
    assert tabled_steps()[key] == counted


@pytest.mark.parametrize("name", TRAINED)
def test_a_system_takes_a_step_of_each_phase(name, configs, tmp_path):
    torch.manual_seed(0)
    cli = CellCLI(configs[name], tmp_path, ["--trainer.accelerator=cpu", "--trainer.devices=1"])
    module = cli.model
    assert isinstance(module, AdversarialSegmenter)
    networks = {"generator": module.generator, "critic": module.critic}
    before = {
        key: [p.detach().clone() for p in network.parameters()]
        for key, network in networks.items()
        if network is not None
    }
    cli.trainer.fit(module, datamodule=cli.datamodule)
    assert module.adversarial_steps_done == (1 if module.critic is not None else 0)
    for key, old in before.items():
        new = list(networks[key].parameters())
        assert all(p.isfinite().all() for p in new)
        moved = [not torch.equal(a, b) for a, b in zip(old, new, strict=True) if b.requires_grad]
        assert any(moved), f"no weight of the {key} moved"
    assert cli.trainer.callback_metrics["val/loss"].isfinite()
    stated = yaml.safe_load(configs[name].read_text())["model"]["init_args"]
    for network, optimizer in zip(before, cli.trainer.optimizers, strict=True):
        assert_is_as_stated(optimizer, stated[f"{network}_optimizer"])


def assert_is_as_stated(optimizer, stated):
    """An optimiser has what its system states and PyTorch's own defaults, nothing else."""
    library, _, name = stated["class_path"].rpartition(".")
    usual = getattr(import_module(library), name)([torch.nn.Parameter(torch.zeros(1))])
    expected = {**usual.defaults, **stated.get("init_args", {})}
    assert type(optimizer) is type(usual)
    for key, value in optimizer.defaults.items():
        wanted = expected[key]
        assert value == (tuple(wanted) if isinstance(value, tuple) else wanted), key


@pytest.mark.parametrize("name", MODERN)
def test_a_modern_system_is_read_back_as_it_was_written(name, configs, tmp_path):
    """Arguments of other libraries survive the config that a cell keeps."""
    flags = ["--trainer.accelerator=cpu", "--trainer.devices=1"]
    first = CellCLI(configs[name], tmp_path / "one", flags)
    kept = tmp_path / "kept.yaml"
    kept.write_text(first.parser.dump(first.config, skip_none=False))
    again = CellCLI(kept, tmp_path / "two", [])
    assert again.config_dump == first.config_dump
    shapes = [{key: value.shape for key, value in cli.model.state_dict().items()}
              for cli in (first, again)]  # fmt: skip
    assert shapes[0] == shapes[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smp_unet_resnet34", "monai_segresnet", "nnunet"])
def test_a_modern_row_repeats_from_its_saved_config(name, configs, tmp_path):
    def weights(config, out):
        fit(config, out, ["--trainer.accelerator=cpu", "--trainer.devices=1"])
        return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]

    first = weights(configs[name], tmp_path / "one")
    again = weights(tmp_path / "one" / "config.yaml", tmp_path / "two")
    assert first.keys() == again.keys()
    assert all(torch.equal(first[key], again[key]) for key in first)
