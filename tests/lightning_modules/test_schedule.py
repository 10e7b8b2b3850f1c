"""Whose turn it is: pre-training, 5:1 across short epochs and resumes, plateau, early stopping.

Real Trainers on random tensors: what is counted are the weights that move.
"""

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.plugins.precision import MixedPrecision
from torch.utils.data import DataLoader, Dataset

from benchmark.cell.checkpoints import AtomicCheckpointIO, EpochCheckpoint, find_resumable
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.critics.patch import PatchCritic
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import CrossEntropy
from lightning_modules.objectives import BinaryCrossEntropyObjective


class Films(Dataset):
    """Six random films; always the same."""

    def __init__(self, count=6):
        random = torch.Generator().manual_seed(7)
        self._image = torch.randn(count, 1, 16, 16, generator=random)
        self._mask = (self._image > 0).float()

    def __len__(self):
        return len(self._image)

    def __getitem__(self, index):
        return {"image": self._image[index], "target": self._mask[index]}


class Steps(pl.Callback):
    """Writes down after every batch which networks moved."""

    def __init__(self):
        self.moved = []

    @staticmethod
    def _weights(module):
        parts = {"generator": module.generator, "critic": module.critic}
        return {
            name: torch.cat([p.detach().flatten() for p in network.parameters()]).clone()
            for name, network in parts.items()
            if network is not None
        }

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self._before = self._weights(pl_module)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        after = self._weights(pl_module)
        moved = "".join(n[0] for n in after if not torch.equal(after[n], self._before[n]))
        self.moved.append((trainer.current_epoch, batch_idx, moved))


def make_module(**arguments):
    torch.manual_seed(0)
    defaults = {
        "critic": PatchCritic(1, design="pixel", base_width=4),
        "objective": BinaryCrossEntropyObjective(),
        "pretrain_epochs": 2,
        "generator_steps": 5,
    }
    return AdversarialSegmenter(
        ["lungs"],
        UNet(classes=1, widths=[4, 8], norm="none"),
        CrossEntropy(),
        activation="sigmoid",
        **{**defaults, **arguments},
    )


def train(module, folder, epochs, *callbacks, resume=None, plugins=()):
    """Train on batches of two films, three batches an epoch."""
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        callbacks=[*callbacks, EpochCheckpoint(folder, "hash", every_s=0)],
        plugins=[AtomicCheckpointIO(), *plugins],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    loaders = DataLoader(Films(), batch_size=2), DataLoader(Films(2), batch_size=2)
    trainer.fit(module, *loaders, ckpt_path=resume, weights_only=True)
    return trainer


def test_the_critic_waits_then_follows_every_fifth_step_across_epochs(tmp_path):
    steps = Steps()
    train(make_module(), tmp_path, 9, steps)
    assert [moved for epoch, _, moved in steps.moved if epoch < 2] == ["g"] * 6
    adversarial = [moved for epoch, _, moved in steps.moved if epoch >= 2]
    assert len(adversarial) == 21
    assert [n for n, moved in enumerate(adversarial, 1) if moved == "gc"] == [5, 10, 15, 20]
    assert set(adversarial) == {"g", "gc"}


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_the_count_goes_on_where_a_resumed_run_left_it(tmp_path, stop):
    whole, first, second = Steps(), Steps(), Steps()
    straight = make_module()
    train(straight, tmp_path / "whole", 8, whole)
    train(make_module(), tmp_path / "parts", stop, first)
    resumed = make_module()
    train(resumed, tmp_path / "parts", 8, second, resume=tmp_path / f"parts/epoch-{stop:05d}.ckpt")
    assert first.moved + second.moved == whole.moved
    assert straight.adversarial_steps_done == resumed.adversarial_steps_done == 18
    ends = (module.state_dict() for module in (straight, resumed))
    for a, b in zip(*(end.values() for end in ends), strict=True):
        assert torch.equal(a, b)


def test_several_critic_steps_a_turn(tmp_path):
    turns = []

    class Counted(PatchCritic):
        def forward(self, image, mask):
            turns.append(self.training and not mask.requires_grad)
            return super().forward(image, mask)

    critic = Counted(1, design="pixel", base_width=4)
    train(make_module(critic=critic, pretrain_epochs=0, critic_steps=3), tmp_path, 5)
    assert sum(turns) == 3 * 3 * 2  # turns after steps 5, 10 and 15, each a real and a fake forward


def test_a_step_of_one_network_moves_no_weight_or_gradient_of_the_other(tmp_path):
    """Seen from inside each optimiser's step, where the other network's gradients must be void."""
    seen = {"generator": 0, "critic": 0}
    module = make_module(pretrain_epochs=0, generator_steps=1)

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            own = {id(p) for group in self.param_groups for p in group["params"]}
            networks = {"generator": module.generator, "critic": module.critic}
            (name,) = (k for k, v in networks.items() if id(next(v.parameters())) in own)
            (other,) = (v for k, v in networks.items() if k != name)
            before = [p.detach().clone() for p in other.parameters()]
            result = super().step(closure)
            after = list(other.parameters())
            assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
            assert all(p.grad is None or not p.grad.any() for p in after)
            seen[name] += 1
            return result

    parts = {"lr": 0.01}
    module._generator_parts = (lambda params: Watched(params, **parts), None)
    module._critic_parts = (lambda params: Watched(params, **parts), None)
    train(module, tmp_path, 2)
    assert seen == {"generator": 6, "critic": 6}


@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_gradients_are_clipped_after_a_scaler_has_scaled_them_back(tmp_path, scale):
    norms = []

    class Watched(torch.optim.Adam):
        def step(self, closure=None):
            if closure is not None:
                closure()
            found = [p.grad for group in self.param_groups for p in group["params"]]
            norms.append(float(torch.cat([g.flatten() for g in found]).norm()))
            return super().step()

    module = make_module(pretrain_epochs=0, generator_steps=1, clip_norm=0.01)
    module._generator_parts = module._critic_parts = (Watched, None)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    train(module, tmp_path, 1, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
    assert norms == pytest.approx([0.01] * 6, rel=1e-3)  # three steps of each network


def test_another_layout_in_memory_and_fused_steps_round_otherwise_and_no_more(tmp_path):
    ends = []
    for fast in (False, True):
        module = make_module(channels_last=fast, fused=fast, pretrain_epochs=0, generator_steps=1)
        trainer = train(module, tmp_path / str(fast), 2)
        assert all(bool(one.param_groups[0]["fused"]) is fast for one in trainer.optimizers)
        kernel = module.generator.encoder[1][0][0].weight
        assert kernel.is_contiguous(memory_format=torch.channels_last) is fast
        ends.append(module.state_dict())
    for a, b in zip(*(end.values() for end in ends), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad", "RMSprop"])
def test_optimisers_take_the_fused_step_that_every_device_has(name):
    module = make_module()
    module._generator_parts = getattr(torch.optim, name), None
    optimizer = module.configure_optimizers()[0]["optimizer"]
    fused = name in ("Adam", "AdamW", "SGD")
    assert bool(optimizer.param_groups[0].get("fused")) is fused


def test_a_generator_without_a_critic_trains_alone(tmp_path):
    steps = Steps()
    module = make_module(critic=None, objective=None)
    train(module, tmp_path, 4, steps)
    assert {moved for *_, moved in steps.moved} == {"g"} and len(steps.moved) == 12
    assert module.adversarial_steps_done == 0


class FixedLoss(CrossEntropy):
    """Cross-entropy whose validation value follows a script, one entry an epoch."""

    def __init__(self, script):
        super().__init__()
        self.script = script
        self.module = None

    def per_image(self, logits, probabilities, target):
        if self.module[0].training:
            return super().per_image(logits, probabilities, target)
        return logits.new_full((len(logits),), self.script[self.module[0].current_epoch])


def scripted(script, **arguments):
    """A lone generator whose validation loss is known."""
    module = make_module(critic=None, objective=None, **arguments)
    module.loss = FixedLoss(script)
    module.loss.module = [module]
    return module


class Rates(pl.Callback):
    """Writes down the learning rate that each epoch trained with."""

    def __init__(self):
        self.rates = []

    def on_train_epoch_start(self, trainer, pl_module):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def plateau(optimizer):
    """DEFU-Net's schedule: Keras's patience of 5 epochs without a gain of 1e-4."""
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.2, patience=4, threshold=1e-4, threshold_mode="abs"
    )


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1.0)


def test_the_plateau_waits_five_epochs_on_the_validation_loss(tmp_path):
    # The best is epoch 1; gains below 1e-4 do not count, so 2 to 6 are the five without one.
    script = [1.0, 0.5, 0.49995, 0.6, 0.6, 0.49999, 0.6, 0.6, 0.6]
    rates = Rates()
    module = scripted(script, generator_optimizer=sgd, generator_scheduler=plateau)
    train(module, tmp_path, len(script), rates)
    assert rates.rates == pytest.approx([1.0] * 7 + [0.2] * 2)


def test_the_plateau_is_remembered_across_a_resume(tmp_path):
    script = [1.0, 0.5, *[0.6] * 7]
    parts = {"generator_optimizer": sgd, "generator_scheduler": plateau}
    whole, first, second = Rates(), Rates(), Rates()
    train(scripted(script, **parts), tmp_path / "whole", 9, whole)
    train(scripted(script, **parts), tmp_path / "parts", 4, first)
    resume = tmp_path / "parts/epoch-00004.ckpt"
    train(scripted(script, **parts), tmp_path / "parts", 9, second, resume=resume)
    assert first.rates + second.rates == pytest.approx(whole.rates)
    assert whole.rates[-1] == pytest.approx(0.2)


def stopping():
    return EarlyStopping("val/loss", patience=3, mode="min")


def test_early_stopping_completes_the_run(tmp_path):
    trainer = train(scripted([1.0, 0.5, *[0.6] * 8]), tmp_path, 10, stopping())
    assert trainer.current_epoch == 5  # the best and three epochs without a gain
    resume, complete, _ = find_resumable(tmp_path, "hash")
    assert resume == tmp_path / "epoch-00005.ckpt" and complete
    assert (tmp_path / "last.ckpt").exists() and (tmp_path / "best.ckpt").exists()


def test_early_stopping_keeps_its_patience_across_a_resume(tmp_path):
    script = [1.0, 0.5, *[0.6] * 8]
    train(scripted(script), tmp_path, 4, stopping())
    assert find_resumable(tmp_path, "hash")[0] == tmp_path / "epoch-00004.ckpt"
    resumed = train(
        scripted(script), tmp_path, 10, stopping(), resume=tmp_path / "epoch-00004.ckpt"
    )
    assert resumed.current_epoch == 5
    assert find_resumable(tmp_path, "hash")[1]
