"""What a suite costs: counted from real steps of its systems, corrected by what cells took."""

from __future__ import annotations

import json
import platform

import pytest
import torch
import yaml
from finished_cells import finish
from torch.utils.flop_counter import FlopCounterMode

from benchmark.__main__ import main
from benchmark.planning import step_cost as step_costs
from benchmark.planning.cost import CARD_FLOPS, costs, training_flop
from benchmark.planning.counting import count_step
from benchmark.planning.flops import Flops
from benchmark.planning.plan import make_plan
from benchmark.planning.step_cost import StepCost
from contract.errors import UserError
from lightning_modules.activations import activate
from lightning_modules.segmenter import Segmenter

SMALL = {
    "preprocessing.size": 32,
    "batch_size": 4,
    "model.init_args.generator.init_args.widths": [4, 8],
    "model.init_args.critic.init_args.widths?": [4, 8],
    "model.init_args.pretrain_epochs?": 2,
    "model.init_args.generator_steps?": 2,
    "trainer.max_epochs": 5,
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory, phantom_root):
    """A suite of a pair, its generator alone and the floor, and its plan."""
    home = tmp_path_factory.mktemp("cost")
    given = {
        "systems": ["adversarial_attention_unet", "attention_unet", "mean_shape"],
        "protocols": ["m_to_s"],
        "overrides": {"preprocessing.size": 32, "batch_size": 4},
        "system_overrides": {"adversarial_attention_unet": SMALL, "attention_unet": SMALL},
    }
    (home / "tiny.yaml").write_text(yaml.safe_dump(given))
    return home, make_plan(str(home / "tiny.yaml"), home / "runs", phantom_root)


def by_system(plan):
    found = costs(plan.cells)
    return {cell.system: (cell, found[cell.name]) for cell in plan.cells}


def test_operations_are_those_that_torch_counts_of_real_steps(suite):
    cell, cost = by_system(suite[1])["adversarial_attention_unet"]
    module = Segmenter.from_config(cell.config["model"]).train()
    channels = len(module.structures)
    image, target = torch.rand(4, 1, 32, 32), torch.rand(4, channels, 32, 32).round()
    module.critic.requires_grad_(False)
    with FlopCounterMode(display=False) as alone:
        logits = module.logits(image)
        fake = activate(logits, module.activation)
        module.segmentation_loss(logits, fake, target).backward()
    with FlopCounterMode(display=False) as together:
        logits = module.logits(image)
        fake = activate(logits, module.activation)
        loss = module.segmentation_loss(logits, fake, target)
        (loss + module.objective.generator_loss(module.critic, image, fake, target)).backward()
    module.critic.requires_grad_(True)
    with FlopCounterMode(display=False) as critic:
        module.objective.critic_loss(module.critic, image, fake.detach(), target).backward()
    assert cost.step.pretraining_flop == alone.get_total_flops() > 0
    assert cost.step.generator_flop == together.get_total_flops() > alone.get_total_flops()
    assert cost.step.critic_flop == critic.get_total_flops() > 0
    assert cost.step.generator_parameters == sum(p.numel() for p in module.generator.parameters())
    assert cost.step.critic_parameters == sum(p.numel() for p in module.critic.parameters())


def test_a_training_is_its_schedule(suite):
    cell, cost = by_system(suite[1])["adversarial_attention_unet"]
    batches = cell.counts[0] // 4
    step = StepCost(1, 1, pretraining_flop=1.0, generator_flop=100.0, critic_flop=10_000.0)
    turns = batches * 3 // 2  # every second step of the three epochs after pre-training
    expected = batches * 2 + batches * 3 * 100 + turns * 10_000
    assert training_flop(step, cell) == expected
    assert cost.flop == training_flop(cost.step, cell)
    assert cost.card_hours == pytest.approx(cost.flop / CARD_FLOPS / 3600)


def test_a_system_without_a_critic_and_one_without_gradients(suite):
    found = by_system(suite[1])
    alone, pair = found["attention_unet"][1], found["adversarial_attention_unet"][1]
    assert alone.step.critic_flop == alone.step.critic_parameters == 0
    assert alone.step.generator_flop == pair.step.pretraining_flop
    assert found["mean_shape"][1].flop == 0


def test_a_gradient_penalty_is_counted_too():
    critic = {"class_path": "lightning_modules.critics.scan.ScanCritic",
              "init_args": {"mask_channels": 1, "widths": [4, 8]}}  # fmt: skip
    network = {"class_path": "lightning_modules.generators.unet.UNet",
               "init_args": {"classes": 1, "widths": [4, 8], "norm": "instance"}}  # fmt: skip

    def critic_flop(penalty: float) -> float:
        objective = {"class_path": "lightning_modules.objectives.EarthMoverObjective",
                     "init_args": {"clip": None, "gradient_penalty": penalty}}  # fmt: skip
        model = {
            "class_path": "lightning_modules.adversarial.AdversarialSegmenter",
            "init_args": {
                "structures": ["lungs"], "activation": "sigmoid", "generator": network,
                "loss": {"class_path": "lightning_modules.losses.SoftDice"},
                "critic": critic, "objective": objective,
            },
        }  # fmt: skip
        return count_step(model, 2, 32, "model").critic_flop

    assert critic_flop(10.0) > 1.5 * critic_flop(0.0) > 0


def test_memory_grows_with_the_batch_and_fits_no_less_than_the_parameters(suite):
    cell, _ = by_system(suite[1])["attention_unet"]
    small, large = (count_step(cell.config["model"], n, 32, "model").peak_bytes for n in (2, 8))
    assert 1.5 * 2**30 < small < large < 4 * small


def test_a_batch_that_no_training_set_fills_is_told_instead_of_a_cost(suite, phantom_root, capsys):
    home, _ = suite
    given = ["plan", "--suite", str(home / "tiny.yaml"), "--runs", str(home / "runs"),
             "--data-root", str(phantom_root), "--systems", "mean_shape", "--cost"]  # fmt: skip
    assert main([*given, "--set", "batch_size=4"]) == 0
    assert "larger than" not in capsys.readouterr().out
    assert main([*given, "--set", "batch_size=4000"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "mean_shape: its batch of 4000 is larger than" in told


def test_equal_calls_are_counted_from_memory_as_if_they_were_made():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True),
        torch.nn.Flatten(), torch.nn.Linear(4 * 64, 3), torch.nn.Unflatten(1, (3, 1)),
    )  # fmt: skip

    def counted(image, counter):
        with counter:
            result = network(image)
            result.square().sum().backward()
        return result

    real = torch.rand(2, 1, 8, 8, requires_grad=True)
    expected = FlopCounterMode(display=False)
    shown = counted(real, expected)
    network.to("meta")
    for _ in range(2):
        flops = Flops()
        image = torch.rand(2, 1, 8, 8, device="meta", requires_grad=True)
        made = counted(image, flops)
        assert flops.total == expected.get_total_flops() > 0
        assert (made.shape, made.stride(), made.dtype) == (shown.shape, shown.stride(), shown.dtype)
    with Flops():  # a view and what is done in place stay one tensor
        view = image.detach().view(2, 64)
        assert view.untyped_storage()._cdata == image.untyped_storage()._cdata
        assert view.add_(1) is view


def test_plan_tells_costs_and_finished_cells_correct_the_hours(suite, phantom_root, capsys):
    home, plan = suite
    given = ["plan", "--suite", str(home / "tiny.yaml"), "--runs", str(home / "runs"),
             "--data-root", str(phantom_root), "--cost"]  # fmt: skip
    assert main(given) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 cells:" in told and "assumed, not measured" in told and "hours here" not in told
    cell, cost = by_system(plan)["attention_unet"]
    finish(cell, device="cpu", wall_s=7200.0, host=platform.node())
    (other,) = (one for one in plan.cells if one.system == "mean_shape")
    finish(other, device="cuda", wall_s=1.0, host="elsewhere")  # says nothing of this machine
    assert main([*given, "--json"]) == 0
    rows = {row["system"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["attention_unet"]["hours"] == pytest.approx(2.0)
    assert rows["attention_unet"]["training_flop"] == cost.flop
    pair = rows["adversarial_attention_unet"]
    assert pair["hours"] == pytest.approx(2.0 * pair["training_flop"] / cost.flop)
    assert rows["mean_shape"]["hours"] == 0


def test_what_a_process_trained_before_changes_no_count():
    """Where operations must repeat, torch enlarges by other ones, which keep more."""
    network = {
        "class_path": "lightning_modules.generators.unet.UNet",
        "init_args": {"classes": 1, "widths": [2, 4], "norm": "instance", "stem": 2},
    }
    model = {
        "class_path": "lightning_modules.adversarial.AdversarialSegmenter",
        "init_args": {"structures": ["lungs"], "activation": "sigmoid", "generator": network,
                      "loss": {"class_path": "lightning_modules.losses.SoftDice"}},
    }  # fmt: skip
    usual = count_step(model, 2, 32, "model")
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert count_step(model, 2, 32, "model") == usual
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("damaged", ["system,key\nunet,abc\n", None, "cut"])
def test_a_damaged_table_of_steps_is_named(damaged, tmp_path, monkeypatch):
    whole = step_costs.TABLE.read_text()
    heading, line = whole.splitlines()[:2]
    texts = {None: f"{heading}\n{line.replace(',0.0', ',zero')}\n", "cut": f"{heading}\nunet,a"}
    (tmp_path / "steps.csv").write_text(texts.get(damaged, damaged))
    monkeypatch.setattr(step_costs, "TABLE", tmp_path / "steps.csv")
    with pytest.raises(UserError, match=r"steps\.csv: found a damaged table"):
        step_costs.tabled_steps.__wrapped__()
