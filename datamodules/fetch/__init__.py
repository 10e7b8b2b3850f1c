"""Public data sets from their providers into a data root: downloaded, checked, unpacked."""

from __future__ import annotations

from datamodules.fetch.addresses import Offer, read_addresses
from datamodules.fetch.fetching import Fetched, fetch_dataset, locked

__all__ = ["Fetched", "Offer", "fetch_dataset", "locked", "read_addresses"]
