"""nnU-Net is given a protocol's films and a time, and joins the suite as masks from elsewhere."""

import pandas as pd
import pytest
from docs_scripts import docs_script

from contract.cell_folder import CellFolder


def test_its_masks_are_a_cell_that_says_what_it_had(phantom_root, tmp_path):
    pytest.importorskip("nnunetv2")
    made = docs_script("make_nnunet")
    given = ["--protocol", "m_to_s", "--runs", str(tmp_path), "--data-root", str(phantom_root)]
    with pytest.raises(SystemExit) as ended:
        made.main([*given, "--minutes", "0.01", "--size", "64"])
    assert ended.value.code == 0
    cell = CellFolder.of(tmp_path / made.SUITE, "nnunet_64", "m_to_s", 0)
    assert cell.record.is_done
    told = cell.record.external
    assert told["train_on"] == "montgomery" and "64², 10 batches of" in told["tool"]
    rows = pd.read_parquet(cell.rows_file)
    assert rows["case_id"].nunique() == 20 and rows["dice"].notna().all()
