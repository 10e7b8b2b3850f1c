"""Training steps on a GPU: half precision beside eager fp32, and beside what the card can do.

Since PyTorch rounds the inputs of fp32 convolutions to TF32 on such GPUs unless it is told not to,
fp32 is timed both ways.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.performance.lines import Goal, Line, Measured, NotMeasuredError, Setting
from benchmark.performance.timing import Sample, TimedAct, in_turn
from benchmark.planning.own_systems import load_system

STEP_SIZE = 512
STEP_BATCH = 8
REPEATS = 10
MATRIX = 8192
"""Side of the square matrices whose product tells a card's rate."""


def on_device(device: str, act: Callable[[], object], times: int) -> TimedAct:
    """Return an act that repeats another one and waits for the device to end; seconds of one."""

    def timed() -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(times):
            act()
        _wait(device)
        return (time.perf_counter() - began) / times

    return timed


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def step_of(
    system: str,
    device: str,
    half: bool,
    size: int = STEP_SIZE,
    batch: int = STEP_BATCH,
    **changes: Any,
) -> Callable[[], None]:
    """Return a training step of a system's generator on random images.

    Args:
        system: its name.
        device: torch's.
        half: whether as with ``--profile gpu``: bfloat16, channels last, a fused optimiser.
        size: side of the images in pixels.
        batch: images of a step.
        changes: of the system, as for ``load_system``.
    """
    torch.manual_seed(0)
    module: Any = load_system(system, **changes).to(device)
    generator = module.generator
    image = torch.randn(batch, 1, size, size, device=device)
    lungs = (image > 0).float()
    target = torch.cat([1 - lungs, lungs], dim=1)
    if half:
        generator.to(memory_format=torch.channels_last)
        image = image.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(generator.parameters(), fused=half)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            logits = generator(image)
        logits = logits.float()
        module.loss(logits, logits.softmax(dim=1), target).backward()
        optimizer.step()

    return step


def _require_gpu(setting: Setting) -> None:
    if setting.device != "gpu":
        raise NotMeasuredError("needs a GPU that torch can use")


def half_beside_full(system: str, tf32: bool, setting: Setting) -> Measured:
    """Time a system's step in half precision beside the plain one in fp32.

    Args:
        system: its name.
        tf32: whether the convolutions of the latter may round their inputs to TF32.
        setting: of the run.
    """
    _require_gpu(setting)
    half = on_device("cuda", step_of(system, "cuda", True), REPEATS)
    plain = on_device("cuda", step_of(system, "cuda", False), REPEATS)

    def full() -> float:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32):
            return plain()

    pairs = in_turn(half, full, setting.rounds)
    ours, theirs = (STEP_BATCH / one.middle for one in (pairs.here, pairs.beside))
    return Measured(pairs.speed, f"{ours:.0f} images/s in bf16, {theirs:.0f} beside it")


def share_of_rate(system: str, setting: Setting) -> Measured:
    """Take the share of the card's matrix rate, measured by a product in bf16, that a step gets."""
    _require_gpu(setting)
    step = step_of(system, "cuda", True)
    with FlopCounterMode(display=False) as counter:
        step()
    one = torch.randn(MATRIX, MATRIX, device="cuda", dtype=torch.bfloat16)
    product = on_device("cuda", lambda: one @ one, REPEATS)
    pairs = in_turn(on_device("cuda", step, REPEATS), product, setting.rounds)
    rates = [
        (counter.get_total_flops() / ours / 1e12, 2 * MATRIX**3 / card / 1e12)
        for ours, card in zip(pairs.here.values, pairs.beside.values, strict=True)
    ]
    note = f"{rates[-1][0]:.1f} of {rates[-1][1]:.0f} TFLOP/s"
    return Measured(Sample(tuple(100 * ours / card for ours, card in rates)), note)


GPU = (
    *(
        Line(f"10{letter}", "gpu", f"a training step of `{system}` at 512², bf16",
             "eager fp32" + (", convolutions in TF32" if tf32 else ""), "× as fast",
             partial(half_beside_full, system, tf32), None if tf32 else Goal(5, "at least"))
        for letter, system, tf32 in (
            ("a", "unet", False), ("b", "attention_unet", False),
            ("d", "unet", True), ("e", "attention_unet", True),
        )
    ),
    *(
        Line(f"10{letter}", "gpu", f"a training step of `{system}` at 512², bf16",
             "the card's matrix rate", "% of it", partial(share_of_rate, system), goal)
        for letter, system, goal in (
            ("c", "unet", Goal(35, "at least")), ("f", "attention_unet", None),
        )
    ),
)  # fmt: skip
"""The lines that need a GPU."""
