"""What all rooms' tests share: one thread, and phantoms in the official layouts."""

import os
from pathlib import Path

import pytest
import torch

from datamodules.phantoms import write_montgomery, write_shenzhen

torch.set_num_threads(1)
os.environ["WANDB_MODE"] = "disabled"


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory) -> Path:
    """A data root of small Montgomery and Shenzhen phantoms."""
    root = tmp_path_factory.mktemp("phantoms")
    write_montgomery(root, 16, size=128)
    write_shenzhen(root, 20, size=128)
    return root
