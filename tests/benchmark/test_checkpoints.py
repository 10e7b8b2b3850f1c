"""Damaged checkpoints are passed over and said so; handed-in files run no code."""

import os
import pickle
import re
import tracemalloc
import zipfile

import pytest
import torch
from torch import nn

from benchmark.cell.checkpoints import find_resumable, load_weights, save_atomically, weights_fault
from contract.errors import UserError


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (type(self.trace).touch, (self.trace,))


STATE = {
    "config_hash": "mine", "complete": False, "epoch": 2, "global_step": 9, "callbacks": {},
    "loops": {}, "optimizer_states": [], "lr_schedulers": [],
    "state_dict": {"weight": torch.zeros(1000), "bias": torch.zeros(1)},
}  # fmt: skip
"""What a checkpoint holds."""


@pytest.fixture
def three(tmp_path):
    """Three checkpoints of one configuration."""
    for epoch in (2, 4, 6):
        save_atomically(STATE, tmp_path / f"epoch-{epoch:05d}.ckpt")
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
    save_atomically({**STATE, "more": Evil(trace)}, three / "epoch-00008.ckpt")
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


def without(name):
    return {key: value for key, value in STATE.items() if key != name}


NETWORK = {"weight": torch.zeros(1000), "bias": torch.zeros(1)}


class Held(nn.Module):
    """A network with the tensors of the checkpoints."""

    def __init__(self):
        super().__init__()
        for name, tensor in STATE["state_dict"].items():
            self.register_buffer(name, tensor.clone())


FOREIGN = {
    "a tensor": (torch.zeros(3), "holds a Tensor, no checkpoint"),
    "a list": ([1, 2], "holds a list, no checkpoint"),
    "nothing": (None, "holds a NoneType, no checkpoint"),
    "an empty dict": ({}, "belongs to another configuration"),
    **{f"no {name}": (without(name), f"holds no '{name}'") for name in STATE
       if name != "config_hash"},
    "an odd complete": ({**STATE, "complete": "yes"}, "holds a str as 'complete'"),
    "odd loops": ({**STATE, "loops": [1]}, "holds a list as 'loops'"),
    "an odd optimiser": ({**STATE, "optimizer_states": [7]}, "other things than states"),
    "a lost tensor": ({**STATE, "state_dict": {"weight": torch.zeros(1000)}}, "lacks bias"),
    "a further tensor": (
        {**STATE, "state_dict": {**NETWORK, "x": torch.zeros(1)}}, "has besides x"),
    "another shape": (
        {**STATE, "state_dict": {**NETWORK, "bias": torch.zeros(2)}}, r"bias as \(2,\) instead"),
    "no tensor": ({**STATE, "state_dict": {**NETWORK, "bias": "0"}}, "holds a str as bias"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_checkpoint_of_any_content_falls_back_in_words(three, kind):
    content, said = FOREIGN[kind]
    torch.save(content, three / "epoch-00008.ckpt")
    path, complete, remarks = find_resumable(three, "mine", Held())
    assert path == three / "epoch-00006.ckpt" and complete is False
    assert re.fullmatch(f"epoch-00008.ckpt .*{said}.*; falling back to epoch-00006.ckpt", *remarks)


def test_a_packed_checkpoint_is_not_unpacked(three):
    path = three / "epoch-00008.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200 << 20))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    found, _, remarks = find_resumable(three, "mine")
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    assert found == three / "epoch-00006.ckpt" and "torn or truncated" in remarks[0]


@pytest.mark.parametrize("content", [torch.zeros(3), [1], {}, {"state_dict": [1]}, "weights"])
def test_weights_of_any_content_are_refused_in_words(tmp_path, content):
    torch.save(content, tmp_path / "best.ckpt")
    with pytest.raises(UserError, match="holds no weights under 'state_dict'"):
        load_weights(Held(), tmp_path / "best.ckpt")
    assert weights_fault(tmp_path / "best.ckpt", Held()).startswith("holds ")


@pytest.mark.parametrize("wrong", [{"epochs": "many"}, {"val_dice": [1]}, {"epochs": True}])
def test_weights_do_not_tell_the_record_anything(tmp_path, wrong):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": NETWORK, "epochs": 3, "val_dice": 0.5}, path)
    assert load_weights(Held(), path)["epochs"] == 3 and not weights_fault(path, Held())
    torch.save({"state_dict": NETWORK, "epochs": 3, "val_dice": 0.5, **wrong}, path)
    with pytest.raises(UserError, match=f"as '{next(iter(wrong))}'"):
        load_weights(Held(), path)
    assert weights_fault(path, Held())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_of_a_training_that_diverged_are_refused_in_words(tmp_path, number):
    module, path = nn.Linear(2, 1), tmp_path / "best.ckpt"
    weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    save_atomically({"state_dict": weights}, path)
    load_weights(module, path)
    weights["weight"][0, 1] = number
    save_atomically({"state_dict": weights}, path)
    with pytest.raises(UserError, match="not finite in weight: its training diverged"):
        load_weights(module, path)
