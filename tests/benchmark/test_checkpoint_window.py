"""With a critic, only epochs in which it plays are tested; pairs differ from there on alone."""

from types import SimpleNamespace

import pytest
import torch
import yaml

from benchmark.__main__ import main
from benchmark.cell.checkpoints import EpochCheckpoint
from benchmark.cell.fit import fit
from benchmark.planning.plan import make_plan
from contract.errors import UserError

SMALL_PAIRS = {
    "preprocessing.size": 64,
    "batch_size": 4,
    "trainer.max_epochs": 2,
    "trainer.limit_train_batches": 2,
    "model.init_args.critic.init_args.base_width?": 4,
    "model.init_args.critic.init_args.hidden?": 8,
    "model.init_args.critic.init_args.widths?": [4, 8],
}
NARROW = {
    "unet": {"model.init_args.generator.init_args.widths": [4, 8]},
    "pix2pix_unet": {
        "model.init_args.generator.init_args.num_downs": 4,
        "model.init_args.generator.init_args.base_width": 4,
    },
}

EVERY = ["none", "scan", "patch94", "pixel", "early_fusion", "regression"]
CRITICS = {"unet": EVERY, "pix2pix_unet": ["none", "scan", "regression"]}


class Trainer:
    """What an end of an epoch looks like to the callback."""

    is_global_zero, should_stop, max_epochs, callbacks = True, False, 5, ()

    def __init__(self, epoch, dice):
        self.strategy = SimpleNamespace(broadcast=lambda due: due)
        self.current_epoch, self.callback_metrics = epoch, {"val/dice": torch.tensor(dice)}

    def save_checkpoint(self, path):
        path.touch()


@pytest.mark.parametrize(("after", "chosen"), [(2, 4), (0, 2), (None, 2)])
def test_best_is_the_last_of_the_best_epochs_in_which_the_critic_plays(tmp_path, after, chosen):
    callback = EpochCheckpoint(tmp_path, "hash", every_s=1e9, after=after)
    module = torch.nn.Module()
    module.CHECKPOINT_HYPER_PARAMS_KEY, module.hparams = "hparams", {}
    module.on_save_checkpoint = lambda content: None
    for epoch, dice in enumerate([0.5, 0.9, 0.7, 0.7, 0.6]):
        callback.on_train_epoch_end(Trainer(epoch, dice), module)
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert (best["epochs"], callback.best_epoch) == (chosen, chosen)


class Clock:
    """A clock that epochs and saving put forward."""

    now = 0.0

    def __call__(self):
        return self.now


def saved_epochs(folder, every_s, took_s, dices):
    """Return after which epochs of 10 s a training saves, and the callback."""
    clock, saved = Clock(), []
    callback = EpochCheckpoint(folder, "hash", every_s=every_s, clock=clock)
    module = torch.nn.Linear(1, 1)
    module.CHECKPOINT_HYPER_PARAMS_KEY, module.hparams = "hparams", {}
    module.on_save_checkpoint = lambda content: None

    class Slow(Trainer):
        max_epochs = len(dices)

        def save_checkpoint(self, path):
            clock.now += took_s
            saved.append(self.current_epoch + 1)
            best = torch.load(folder / "best.ckpt", weights_only=True)
            assert best["epochs"] == callback.best_epoch  # whoever resumes here finds it
            assert float(best["state_dict"]["bias"]) == callback.best_epoch
            super().save_checkpoint(path)

    for epoch, dice in enumerate(dices):
        clock.now += 10
        module.bias.data.fill_(epoch + 1)
        callback.on_train_epoch_end(Slow(epoch, dice), module)
    return saved


def test_saving_takes_two_hundredths_of_the_time_and_the_best_weights_wait(tmp_path):
    dices = [0.5, 0.6, 0.4, *[0.3 + n / 100 for n in range(57)]]
    assert saved_epochs(tmp_path / "quick", 30, 0.125, dices) == list(range(3, 61, 3))
    slow = saved_epochs(tmp_path / "slow", 30, 4, dices)  # the first tells what it takes
    assert slow == [3, 23, 43, 60]
    assert saved_epochs(tmp_path / "asked", 0, 4, dices) == list(range(1, 61))


def test_of_equal_epochs_the_first_is_tested_without_a_critic_and_the_last_with_one(tmp_path):
    for after, chosen in ((None, 1), (0, 5)):
        callback = EpochCheckpoint(tmp_path, "hash", every_s=1e9, after=after)
        module = torch.nn.Module()
        module.CHECKPOINT_HYPER_PARAMS_KEY, module.hparams = "hparams", {}
        module.on_save_checkpoint = lambda content: None
        for epoch in range(5):
            callback.on_train_epoch_end(Trainer(epoch, 0.5), module)
        assert callback.best_epoch == chosen


def test_the_window_is_part_of_the_cell_and_critic_free_systems_have_none(tmp_path, phantom_root):
    changes = {"trainer.max_epochs": 6}
    cells = make_plan("smoke", tmp_path, phantom_root, changes).cells
    cells = {cell.system: cell for cell in cells if cell.protocol == "m_to_s"}
    windows = {name: cell.config["cell"]["checkpoint_after"] for name, cell in cells.items()}
    assert windows["adversarial_attention_unet"] == 3
    assert windows["unet"] is None and windows["mean_shape"] is None


def test_a_training_shorter_than_its_pretraining_is_refused(tmp_path, write_suite, capsys):
    suite = write_suite(systems=["unet", "adversarial_attention_unet"], overrides={})
    given = ["plan", "--suite", str(suite), "--runs", str(tmp_path), "--set"]
    assert main([*given, "trainer.max_epochs=3"]) == 2
    said = capsys.readouterr().err
    assert "no epoch in which the critic plays" in said and "pretrain_epochs" in said
    assert main([*given, "trainer.max_epochs=3", "--systems", "unet"]) == 0
    halved = "model.init_args.pretrain_epochs?=$half_epochs"
    assert main([*given, "trainer.max_epochs=3", halved]) == 0


def test_a_window_that_a_cell_run_by_hand_contradicts_is_refused(tiny_cell, tmp_path):
    with pytest.raises(UserError, match="more than 2 epochs"):
        fit(tiny_cell(), tmp_path / "short", ["--trainer.max_epochs=2"])
    with pytest.raises(UserError, match=r"--cell\.checkpoint_after=4"):
        fit(tiny_cell(), tmp_path / "late", ["--model.init_args.pretrain_epochs=4"])


@pytest.mark.parametrize("generator", NARROW)
def test_all_pairs_of_a_generator_are_bit_equal_until_the_critic_joins(
    generator, tmp_path, phantom_root
):
    changes = SMALL_PAIRS | NARROW[generator]
    critics = CRITICS[generator]
    folders = {}
    # Other generators do not take this one's arguments; their pairs are left out.
    plan = make_plan("pairings", tmp_path, phantom_root, changes, keep_going=True)
    for cell in plan.cells:
        if cell.protocol == "m_to_s" and cell.seed == 1:
            name, critic = cell.system.split("_vs_")
            if name == generator and critic in critics:
                config = tmp_path / f"{cell.system}.yaml"
                config.write_text(yaml.safe_dump(cell.config))
                assert cell.config["cell"]["checkpoint_after"] == 1
                fit(config, tmp_path / cell.system, checkpoint_every_s=0)
                folders[critic] = tmp_path / cell.system / "checkpoints"
    assert len(folders) == len(critics)
    for file, equal in (("epoch-00001.ckpt", True), ("epoch-00002.ckpt", False)):
        weights = {name: _generator(folder / file) for name, folder in folders.items()}
        alone = weights.pop("none")
        for other in weights.values():
            assert alone.keys() == other.keys()
            assert all(torch.equal(alone[key], other[key]) for key in alone) is equal
    steps = {_content(f / "epoch-00002.ckpt")["global_step"] for f in folders.values()}
    assert len(steps) == 2  # the generator's alone, and as many of a critic's beside them
    epochs = {_content(folder / "best.ckpt")["epochs"] for folder in folders.values()}
    assert epochs == {2}


def _content(path):
    return torch.load(path, map_location="cpu", weights_only=True)


def _generator(path):
    weights = _content(path)["state_dict"]
    return {key: value for key, value in weights.items() if key.startswith("generator.")}
