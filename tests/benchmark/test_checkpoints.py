"""Damaged checkpoints are passed over and said so; handed-in files run no code."""

import os
import pickle

import pytest
import torch
from torch import nn

from benchmark.cell.checkpoints import find_resumable, load_weights, save_atomically
from contract.errors import UserError


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (type(self.trace).touch, (self.trace,))


@pytest.fixture
def three(tmp_path):
    """Three checkpoints of one configuration."""
    for epoch in (2, 4, 6):
        content = {"config_hash": "mine", "complete": False, "weights": torch.zeros(1000)}
        save_atomically(content, tmp_path / f"epoch-{epoch:05d}.ckpt")
    return tmp_path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def flip(path):
    content = bytearray(path.read_bytes())
    content[content.index(bytes(400)) + 100] ^= 1  # inside the zeros of the tensor
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(three, damage):
    assert find_resumable(three, "mine") == (three / "epoch-00006.ckpt", False, [])
    damage(three / "epoch-00006.ckpt")
    path, _, remarks = find_resumable(three, "mine")
    assert path == three / "epoch-00004.ckpt"
    assert remarks == ["epoch-00006.ckpt is torn or truncated; falling back to epoch-00004.ckpt"]


def test_without_a_whole_checkpoint_training_starts_anew(three):
    for path in three.glob("epoch-*.ckpt"):
        truncate(path)
    path, complete, remarks = find_resumable(three, "mine")
    assert path is None and not complete and len(remarks) == 3
    assert remarks[-1] == "epoch-00002.ckpt is torn or truncated; training starts anew"


def test_a_cell_without_checkpoints_starts_without_remarks(tmp_path):
    assert find_resumable(tmp_path / "none", "mine") == (None, False, [])


def test_another_configurations_checkpoints_are_not_resumed(three):
    path, _, remarks = find_resumable(three, "other")
    assert path is None and all("another configuration" in remark for remark in remarks)


@pytest.mark.parametrize("layout", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("where", ["beside", "inside"])
def test_code_in_a_handed_in_checkpoint_is_refused_and_not_run(tmp_path, layout, where):
    trace, path = tmp_path / "ran", tmp_path / "evil.ckpt"
    network = nn.Linear(2, 2)
    weights = network.state_dict()
    content = {"state_dict": weights, "more": Evil(trace)}
    if where == "inside":
        content = {"state_dict": {**weights, "bias": Evil(trace)}}
    if layout == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=layout == "zip")
    with pytest.raises(UserError, match="could run code") as refused:
        load_weights(network, path)
    assert str(path) in str(refused.value) and not trace.exists()
    if layout != "pickle":  # the trap is real: whoever trusts the file runs it
        torch.load(path, weights_only=False)
        assert trace.exists()


def test_code_in_a_checkpoint_to_resume_from_is_not_run(three):
    trace = three / "ran"
    content = {"config_hash": "mine", "complete": False, "more": Evil(trace)}
    save_atomically(content, three / "epoch-00008.ckpt")
    path, _, remarks = find_resumable(three, "mine")
    assert path == three / "epoch-00006.ckpt" and not trace.exists()
    assert "could run code" in remarks[0]


@pytest.mark.parametrize("damage", [truncate, empty, os.remove])
def test_a_damaged_handed_in_checkpoint_is_refused(tmp_path, damage):
    path = tmp_path / "weights.ckpt"
    network = nn.Linear(2, 2)
    save_atomically({"state_dict": network.state_dict()}, path)
    damage(path)
    with pytest.raises(UserError, match="does not load"):
        load_weights(network, path)
