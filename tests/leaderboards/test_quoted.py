"""Quoted numbers: under their protocol, as printed, and beside no measured row."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pytest

from contract.rows import CASE_SCHEMA
from leaderboards.markdown import Meta, page
from leaderboards.page import html
from leaderboards.published.quoted import TITLE, is_answered, quotations
from leaderboards.published.reported import peer_values, published_values
from leaderboards.statistics.findings import Findings
from leaderboards.tables import build

RowMaker = Callable[..., pd.DataFrame]


@pytest.mark.parametrize(
    ("protocol", "system", "printed"),
    [
        ("m_to_s", "deepdraw_unet", "f1 pooled .963"),
        ("shenzhen", "deepdraw_lwnet", "f1 pooled .950"),
        ("jsrt", "imlab_unet", "iou 0.971, dice 0.985"),
        ("lidc", "segcaps", "median dice 0.9847"),
        ("mixed_m_s", "defu_net_dilated", "accuracy 0.9910"),
    ],
)
def test_a_number_stands_under_its_protocol(protocol: str, system: str, printed: str) -> None:
    found = [one for one in quotations(protocol) if one.system == system]
    assert any(printed in one.printed for one in found)
    assert all(one.source for one in found)


def test_every_number_is_either_beside_a_row_or_quoted() -> None:
    values = [*published_values(), *peer_values()]
    quoted = {value.protocol for value in values if not is_answered(value)}
    lines = [one for protocol in quoted for one in quotations(protocol)]
    assert sum(one.printed.count(",") + 1 for one in lines) == sum(
        not is_answered(value) for value in values
    )
    assert not any(is_answered(value) for value in peer_values())


def test_markdown_and_page_quote_beside_real_rows_alone(make_rows: RowMaker) -> None:
    for phantom in (False, True):
        rows = make_rows("unet", {"c1": 0.9, "c2": 0.8}, phantom=phantom)
        table = build(rows, draws=50)
        cases = pa.Table.from_pandas(rows, schema=CASE_SCHEMA, preserve_index=False)
        text = page(table, Meta("quick"))
        shown = html.render(html.prepare_page(table, Meta("quick"), Findings.of(cases, 50)))
        for whole in (text, shown):
            assert (TITLE in whole and "deepdraw" in whole) != phantom
        assert table["published_dice"].isna().all()
