"""What ``lungbench`` offers: every name is there, quick to import, and does what it says."""

import subprocess
import sys

import pytest
import pytorch_lightning as pl

import lungbench
from contract.errors import UserError
from contract.rows import CASE_SCHEMA


def test_every_public_name_is_found_in_its_room():
    assert sorted(lungbench.PLACES) == sorted(lungbench.__all__) == dir(lungbench)
    for name in lungbench.__all__:
        assert getattr(lungbench, name).__module__ == lungbench.PLACES[name]
    with pytest.raises(AttributeError, match="__all__"):
        lungbench.nothing  # noqa: B018


def test_importing_the_front_door_loads_neither_torch_nor_lightning():
    code = "import sys, lungbench; print(sorted({'torch', 'pandas', 'pyarrow'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_contract_of_batches_loads_no_torch():
    code = "import sys, contract.batch; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


def test_a_system_and_its_data_take_the_same_dotted_changes():
    changes = {"preprocessing.size": 32, "model.init_args.generator.init_args.widths": [4, 8]}
    module = lungbench.load_system("unet", **changes)
    assert module.hparams["generator"]["init_args"]["widths"] == [4, 8]
    settings = lungbench.system_data("unet", **changes)
    assert settings["preprocessing"].size == 32 and settings["structures"] == [
        "background",
        "lungs",
    ]
    with pytest.raises(UserError, match="unet"):
        lungbench.load_system("u_net")


@pytest.mark.parametrize(
    "misspelt",
    ["batch_sise", "data.worker", "trainer.max_epoch", "preprocessing.sise", "foo",
     "model.init_args.generatr"],
)  # fmt: skip
def test_a_misspelt_change_is_refused_by_both(misspelt):
    for asked in (lungbench.load_system, lungbench.system_data):
        with pytest.raises(UserError, match=misspelt.rpartition(".")[2]):
            asked("unet", **{misspelt: 3})


def test_a_system_of_ones_own_finds_its_network_beside_it(tmp_path):
    (tmp_path / "beside_me.py").write_text(
        "from torch import nn\n"
        "class Tiny(nn.Sequential):\n"
        "    def __init__(self): super().__init__(nn.Conv2d(1, 2, 1))\n"
    )
    (tmp_path / "mine.yaml").write_text(
        "extends: unet\nmodel: {init_args: {generator: {class_path: beside_me.Tiny}}}\n"
    )
    module = lungbench.load_system(str(tmp_path / "mine.yaml"))
    assert type(module.generator).__name__ == "Tiny"


def test_every_systems_module_can_be_loaded_by_name():
    from benchmark.planning.library import known_names

    assert len(known_names("systems")) > 40
    for name in ("mean_shape", "lgan_regression", "scan", "attention_unet"):
        assert lungbench.load_system(name).structures[-1] == "lungs"


def test_rows_that_lack_columns_are_refused_in_words(tmp_path):
    with pytest.raises(UserError, match="no column suite"):
        lungbench.leaderboard(CASE_SCHEMA.empty_table().drop(["suite"]).to_pandas())
    with pytest.raises(UserError, match=r"absent\.parquet"):
        lungbench.leaderboard(tmp_path / "absent.parquet")


def test_overfit_batches_trains_on_the_same_ones(phantom_root, tmp_path):
    small = {
        "preprocessing.size": 32,
        "batch_size": 4,
        "model.init_args.generator.init_args.widths": [4, 8],
    }
    data = lungbench.Montgomery(
        phantom_root, cache=tmp_path, **lungbench.system_data("unet", **small)
    )
    seen = []

    class Seen(pl.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            seen.append(float(batch["image"].double().sum()))

    pl.Trainer(
        max_epochs=3, overfit_batches=2, accelerator="cpu", logger=False, callbacks=[Seen()],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    ).fit(lungbench.load_system("unet", **small), data)  # fmt: skip
    assert len(seen) == 6 and seen[0:2] == seen[2:4] == seen[4:6] and seen[0] != seen[1]
