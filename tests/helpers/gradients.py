"""Run as a script: trains pairs on random data, on one process and on two.

Writes every step's gradients and weights, and how many bytes were exchanged for it. The processes
are forks of one that has imported everything.
"""

import os
import socket
import sys
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.utils.data import DataLoader, Dataset

from datamodules.samplers import EpochSampler
from lightning_modules.adversarial import AdversarialSegmenter
from lightning_modules.critics.scan import ScanCritic
from lightning_modules.generators.r2u_net import R2UNet
from lightning_modules.generators.unet import UNet
from lightning_modules.joined import NetworkDDPStrategy
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
        self.steps, self.bytes = [], 0

    def on_train_start(self, trainer, pl_module):
        for network in getattr(trainer.strategy, "joined", []):
            network.register_comm_hook(None, self._count)

    def _count(self, state, bucket):
        self.bytes += bucket.buffer().nbytes
        return allreduce_hook(state, bucket)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        grads = {
            name: None if p.grad is None else p.grad.detach().clone()
            for name, p in pl_module.named_parameters()
        }
        owner = "generator" if optimizer is pl_module.optimizers()[0].optimizer else "critic"
        self.steps.append({"owner": owner, "gradients": grads, "weights": self._weights(pl_module)})
        self.steps[-1]["bytes"], self.bytes = self.bytes, 0

    def on_train_end(self, trainer, pl_module):
        last = {"owner": "end", "gradients": {}, "weights": self._weights(pl_module)}
        self.steps.append({**last, "bytes": self.bytes})

    @staticmethod
    def _weights(pl_module):
        """Normalisation's statistics, too."""
        networks = ("generator", "critic")
        kept = pl_module.state_dict().items()
        return {k: v.detach().clone() for k, v in kept if k.startswith(networks)}


class Midpoint:
    """The same point between real and fake for every image, on any number of processes."""

    def __enter__(self):
        self.rand = torch.rand
        torch.rand = lambda *shape, **options: torch.full(shape, 0.5, **options)

    def __exit__(self, *error):
        torch.rand = self.rand


PENALTY = EarthMoverObjective(clip=None, gradient_penalty=10.0)
CASES = {
    "cross_entropy": (
        partial(UNet, widths=(4, 8), norm="instance"), Critic, BinaryCrossEntropyObjective(), 1,
    ),
    "penalty": (partial(UNet, widths=(4, 8), norm="instance"), Critic, PENALTY, 2),
    "batch_norm": (
        partial(R2UNet, widths=(4, 8)), partial(ScanCritic, 2, widths=(4, 8)),
        BinaryCrossEntropyObjective(), 1,
    ),
    "batch_norm_in_parts": (
        partial(R2UNet, widths=(4, 8)), partial(ScanCritic, 2, widths=(4, 8)),
        BinaryCrossEntropyObjective(), 2,
    ),
}  # fmt: skip
"""Generator, critic, objective, and the parts of a batch."""


def record(case: str, devices: int):
    """Train a case; return what its steps were."""
    pl.seed_everything(0)
    generator, critic, objective, parts = CASES[case]
    module = AdversarialSegmenter(
        structures=["background", "lungs"],
        generator=generator(),
        loss=FocalTversky(),
        generator_optimizer=lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        critic=critic(),
        objective=objective,
        critic_optimizer=lambda p: torch.optim.Adam(p, lr=0.01),
        adversarial_weight=0.5,
        pretrain_epochs=1,
        generator_steps=2,
        clip_norm=5.0,
        micro_batches=parts,
    )
    recorder = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        max_epochs=3,
        precision="64-true",
        strategy=NetworkDDPStrategy(find_unused_parameters=True, broadcast_buffers=False)
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
    return recorder.steps


def work(out: Path, devices: int, rank: int, port: int) -> None:
    """Be one process of several: train all cases."""
    torch.set_num_threads(1)
    if devices > 1:
        told = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": devices, "MASTER_PORT": port}
        os.environ |= {key: str(value) for key, value in told.items()}
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    steps = {case: record(case, devices) for case in CASES}
    if rank == 0:
        torch.save(steps, out / f"{devices}.pt")


def main(out: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = {}
    for devices, rank in ((1, 0), (2, 0), (2, 1)):
        child = os.fork()
        if child == 0:
            work(out, devices, rank, port)
            sys.stdout.flush()
            os._exit(0)
        children[child] = (devices, rank)
    failed = [who for child, who in children.items() if os.waitpid(child, 0)[1]]
    sys.exit(f"failed: {failed}" if failed else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
