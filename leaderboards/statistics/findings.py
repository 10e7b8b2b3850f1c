"""Everything that is computed from the cases beside the leaderboard's own rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from contract.cell_record import CellRecord
from leaderboards.statistics import (
    critics,
    endpoints,
    generalisation,
    insights,
    intervals,
    quality,
    subgroups,
)
from leaderboards.statistics.insights import Insight, TableKey


@dataclass(frozen=True)
class Findings:
    """What the page, its figures and the files beside it are made of.

    Attributes:
        insights: by table, quantiles, ranks and pairs.
        transferred: ``generalisation.transfer``, phantoms apart from real films.
        gaps: ``generalisation.gaps``.
        served: ``subgroups.compare_subgroups``.
        agreed: ``endpoints.agree``.
        flagged: ``quality.find_poor``.
        added: ``critics.effects``.
    """

    insights: Mapping[TableKey, Insight]
    transferred: pd.DataFrame
    gaps: pd.DataFrame
    served: pd.DataFrame
    agreed: pd.DataFrame
    flagged: pd.DataFrame
    added: pd.DataFrame

    @classmethod
    def of(
        cls, cases: pa.Table, draws: int = intervals.DRAWS, cells: Iterable[CellRecord] = ()
    ) -> Findings:
        """Compute all of it.

        Args:
            cases: rows in ``contract.rows.CASE_SCHEMA``.
            draws: number of bootstrap draws; what needs fewer takes fewer.
            cells: the records of the cells behind them, which know the pairs of a suite of pairs.
        """
        transferred = generalisation.transfer(cases)
        if not transferred.empty:
            transferred = transferred[transferred["phantom"] == transferred["phantom"].all()]
        return cls(
            insights=insights.of_tables(cases, draws),
            transferred=transferred,
            gaps=generalisation.gaps(cases, transferred, min(draws, intervals.FEWER_DRAWS)),
            served=subgroups.compare_subgroups(cases, min(draws, intervals.FEWER_DRAWS)),
            agreed=endpoints.agree(cases, min(draws, intervals.FEWER_DRAWS)),
            flagged=quality.find_poor(cases, min(draws, intervals.FEWER_DRAWS)),
            added=critics.effects(cases, cells, draws),
        )

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables that stand in files of their own, by name."""
        return {
            "comparisons": insights.all_pairs(self.insights),
            "ranks": insights.all_ranks(self.insights),
            "generalisation": self.gaps,
            "subgroups": self.served,
            "endpoints": self.agreed,
            "quality": self.flagged,
            "critics": self.added,
        }
