"""The command ``data fetch``: public data sets from their providers."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands.arguments import plain_path
from contract.errors import UserError

if TYPE_CHECKING:
    from datamodules.fetch import Offer

Check = Callable[[Path, Sequence[str], bool], int]
"""``data check``: the data root, data sets, whether as JSON; the exit code."""


def add_fetch(subparsers: argparse._SubParsersAction[argparse.ArgumentParser], root: str) -> None:
    """Add ``fetch`` to what ``data`` does."""
    text = (
        "download public data sets from their providers after their terms are accepted, unpack "
        "them in the official layout and check them"
    )
    more = (
        "montgomery, shenzhen (its films), lidc_idri and qin_lung_ct are fetched; for what needs "
        "an account (jsrt, shenzhen's masks) the steps by hand are told. A download that breaks "
        "off goes on at the next call; what is there already is left as it is. Archives are "
        "removed when unpacked, their SHA-256 digests stay in DATA_ROOT/.fetched"
    )
    parser = subparsers.add_parser("fetch", help=text, description=f"{text}. {more}.")
    parser.add_argument("sets", nargs="+", metavar="SET", help="data sets by name")
    parser.add_argument("--data-root", type=plain_path, required=True, help=root)
    parser.add_argument(
        "--accept-terms", action="store_true",
        help="accept the terms that are shown, without being asked",
    )  # fmt: skip
    parser.add_argument(
        "--addresses", type=Path, metavar="FILE",
        help="a YAML file of addresses, such as a mirror's [the one that comes along, "
        "datamodules/fetch/addresses.yaml]",
    )  # fmt: skip


def run_fetch(given: argparse.Namespace, check: Check) -> int:
    """Fetch, tell the steps by hand, check, and return the exit code.

    Returns:
        0 if all sets asked for are there and sound; 1 if steps by hand are left, the terms were
        refused, or the check found faults.

    Raises:
        UserError: if a name or the file of addresses is wrong, nobody accepted the terms, or a
            download failed.
    """
    from benchmark.progress import say, shown
    from datamodules.fetch import fetch_dataset, locked, read_addresses
    from datamodules.fetch.addresses import ADDRESSES

    root = given.data_root
    offers = read_addresses(given.sets, given.addresses or ADDRESSES)
    online = {name: offer for name, offer in offers.items() if not offer.is_there(root)}
    online = {name: offer for name, offer in online.items() if offer.online}
    for name, offer in offers.items():
        if not offer.online:
            _tell_steps(name, offer, root)
    if online and not _accepted(online, given.accept_terms):
        say("the terms were not accepted: nothing was fetched")
        return 1
    to_check = []
    for name, offer in offers.items():
        if name in online:
            with locked(root):
                fetched = fetch_dataset(offer, root, shown, say)
            for what in fetched.there:
                say(f"{name}: {what}: there already, left as it is")
            for what in fetched.new:
                say(f"{name}: {what}: fetched")
            if fetched.new:
                to_check.append(name)
        elif offer.online:
            folders = ", ".join(str(root / folder) for folder in offer.folders)
            say(f"{name}: {folders}: there already, nothing to fetch; `lungbench data check "
                f"--data-root {root} --dataset {name}` tells whether it is whole")  # fmt: skip
        if offer.by_hand:
            if offer.online:
                _tell_steps(name, offer, root)
            if name not in to_check:
                to_check.append(name)
    return check(root, to_check, False) if to_check and root.is_dir() else int(bool(to_check))


def _accepted(offers: Mapping[str, Offer], accept: bool) -> bool:
    from benchmark.progress import say

    for name, offer in offers.items():
        say(_block(f"{name}: {offer.terms.strip()} Page: {offer.page}"))
        if offer.untried:
            addresses = "\n".join(f"    {address}" for address in offer.untried)
            say(f"  not tried yet by the project (publicly known addresses):\n{addresses}")
    if accept:
        say("terms accepted by --accept-terms")
        return True
    if not sys.stdin.isatty():
        raise UserError(
            "data fetch",
            "nobody at a terminal to accept the terms above",
            "that they are read and accepted",
            "add --accept-terms",
        )
    say("Type yes to accept these terms:")
    return sys.stdin.readline().strip().lower() == "yes"


def _tell_steps(name: str, offer: Offer, root: Path) -> None:
    from benchmark.progress import say

    if not offer.online:
        say(_block(f"{name}: {offer.terms.strip()}"))
    say(f"{name}: by hand, below {root}:")
    steps = (*offer.by_hand, f"lungbench data check --data-root {root} --dataset {name}")
    for number, step in enumerate(steps, 1):
        say(f"  {number}. {step}")


def _block(text: str) -> str:
    return textwrap.fill(text, 100, subsequent_indent="  ", break_long_words=False)
