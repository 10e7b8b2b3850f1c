"""Run as a script: trains a pair on random data and writes every step's gradients and weights."""

import sys

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, Dataset

from datamodules.samplers import EpochSampler
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.generators.unet import UNet
from lightning_modules.losses import FocalTversky
from lightning_modules.objectives import BinaryCrossEntropyObjective, EarthMoverObjective


class RandomPairs(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, key):
        index, epoch = key
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        image = torch.randn(1, 16, 16, generator=generator, dtype=torch.float64)
        lungs = (torch.randn(1, 16, 16, generator=generator) > 0).double()
        return {"image": image, "target": torch.cat([1 - lungs, lungs])}


class Data(pl.LightningDataModule):
    def train_dataloader(self):
        trainer = self.trainer
        sampler = EpochSampler(12, 4, 0, 0, trainer.global_rank, trainer.world_size)
        return DataLoader(RandomPairs(), batch_size=sampler.share, sampler=sampler)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 4, 2, 1)
        )

    def forward(self, image, mask):
        return self.layers(torch.cat([image, mask], dim=1))


class Recorder(pl.Callback):
    """Keeps each optimiser step's gradients of both networks, and the weights after the batch."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        grads = {
            name: None if p.grad is None else p.grad.detach().clone()
            for name, p in pl_module.named_parameters()
        }
        weights = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        owner = "generator" if optimizer is pl_module.optimizers()[0].optimizer else "critic"
        self.steps.append({"owner": owner, "gradients": grads, "weights": weights})

    def on_train_end(self, trainer, pl_module):
        weights = {name: p.detach().clone() for name, p in pl_module.named_parameters()}
        self.steps.append({"owner": "end", "gradients": {}, "weights": weights})


class Midpoint:
    """The same point between real and fake for every image, on any number of processes."""

    def __enter__(self):
        self.rand = torch.rand
        torch.rand = lambda *shape, **options: torch.full(shape, 0.5, **options)

    def __exit__(self, *error):
        torch.rand = self.rand


def main(out: str, devices: int, objective: str) -> None:
    torch.set_num_threads(1)
    pl.seed_everything(0)
    games = {
        "cross_entropy": BinaryCrossEntropyObjective(),
        "penalty": EarthMoverObjective(clip=None, gradient_penalty=10.0),
    }
    module = AdversarialSegmenter(
        structures=["background", "lungs"],
        generator=UNet(widths=(4, 8), norm="instance"),
        loss=FocalTversky(),
        generator_optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        critic=Critic(),
        objective=games[objective],
        critic_optimizer=lambda p: torch.optim.Adam(p, lr=0.01),
        adversarial_weight=0.5,
        pretrain_epochs=1,
        generator_steps=2,
        clip_norm=5.0,
    )
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        max_epochs=3,
        precision="64-true",
        strategy=DDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
        if devices > 1
        else "auto",
        use_distributed_sampler=False,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        deterministic=True,
    )
    with Midpoint():
        trainer.fit(module, datamodule=Data())
    if trainer.is_global_zero:
        torch.save(recorder.steps, out)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
