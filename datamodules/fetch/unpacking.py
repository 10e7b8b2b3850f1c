"""ZIP archives of strangers: nothing outside the folder, nothing without bound, never by half."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeAlias, cast

from contract.errors import UserError
from datamodules.digests import Progress

Member: TypeAlias = tuple[zipfile.ZipInfo, PurePosixPath]
"""A file of an archive, and its path below the folder that is wanted."""

MOST_FILES = 1_000_000
SPARE_BYTES = 200_000_000
"""What stays free on a disk."""

AGAIN = "remove it and run the command again; if it stays so, tell the provider"


def unpack(archive: Path, inside: str, to: Path, most_bytes: float, progress: Progress) -> int:
    """Unpack one folder of an archive, and return how many files that were.

    They are written to a hidden folder beside, which takes its place when all are there: what is
    interrupted leaves no half set.

    Args:
        archive: the ZIP file.
        inside: the folder that is wanted, at any depth; ``""`` for all.
        to: the folder to write, absent or empty.
        most_bytes: what they may come to.
        progress: shows the files.

    Raises:
        UserError: if it is no ZIP file, is damaged, holds a path that leads outside, a link or too
            much, lacks the folder, or the disk has no room.
    """
    beside = to.with_name(f".{to.name}.unpacking")
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = _wanted(archive, opened.infolist(), inside)
            total = sum(member.file_size for member, _ in wanted)
            if total > most_bytes or len(wanted) > MOST_FILES:
                raise UserError(
                    archive,
                    f"{len(wanted):,} files of {total:,} bytes in {archive.stat().st_size:,} bytes",
                    f"at most {MOST_FILES:,} files of {most_bytes:,.0f} bytes",
                    "this is not the data set: look at the provider's page",
                )
            to.parent.mkdir(parents=True, exist_ok=True)
            if beside.exists():
                shutil.rmtree(beside)
            require_room(to.parent, total, f"to unpack {archive.name}")
            beside.mkdir()
            shown = progress(wanted, len(wanted), f"unpacking {archive.name}")
            for member, name in cast("Iterable[Member]", shown):
                target = beside / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
            if to.is_dir():
                to.rmdir()
            beside.replace(to)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, zipfile.BadZipFile) and not zipfile.is_zipfile(archive):
            raise UserError(archive, f"no ZIP file: {_start(archive)}", "one", AGAIN) from None
        raise UserError(archive, f"a damaged ZIP file ({error})", "a whole one", AGAIN) from None
    except OSError as error:
        raise UserError(
            error.filename or to,
            f"a file that cannot be written ({error.strerror})",
            f"the files of {archive.name}",
            "make room or mend the permissions, and run the command again",
        ) from None
    finally:
        if beside.exists():
            shutil.rmtree(beside, ignore_errors=True)
    return len(wanted)


def require_room(folder: Path, needed: float, purpose: str) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        UserError: naming what is needed and what is free.
    """
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise UserError(
            folder,
            f"{free / 1e9:.2f} GB free",
            f"{(needed + SPARE_BYTES) / 1e9:.2f} GB {purpose}",
            "make room, or take a data root on another disk",
        )


def _wanted(archive: Path, members: Sequence[zipfile.ZipInfo], inside: str) -> list[Member]:
    """Return the files of the folder that is wanted, each with its path below it."""
    wanted: dict[str, Member] = {}
    for member in members:
        path = _safe(archive, member)
        parts = path.parts
        passed_over = parts[:1] == ("__MACOSX",) or path.name.startswith("._")
        folder = member.orig_filename.endswith(("/", "\\"))
        if folder or passed_over or (inside and inside not in parts[:-1]):
            continue
        name = PurePosixPath(*parts[parts.index(inside) + 1 :]) if inside else path
        other = wanted.setdefault(str(name).casefold(), (member, name))[0]
        if other is not member:
            raise UserError(archive, f"{member.filename!r} twice", "each file once", AGAIN)
    if not wanted:
        what = f"folder {inside!r} of files" if inside else "files"
        raise UserError(archive, f"no {what}", "those of the data set", AGAIN)
    return list(wanted.values())


def _safe(archive: Path, member: zipfile.ZipInfo) -> PurePosixPath:
    """Return a member's path, which leads nowhere but down."""
    name = member.orig_filename
    path = PurePosixPath(name.replace("\\", "/"))  # as some programs of Windows write folders
    outside = path.is_absolute() or ".." in path.parts or ":" in name
    if outside or "\0" in name:
        found = f"a file {name!r}, which would be written outside its folder"
        raise UserError(archive, found, "paths within the archive", "do not use this archive")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        found = f"{name!r}, which is a link or a device"
        raise UserError(archive, found, "plain files", "do not use this archive")
    return path


def _start(archive: Path) -> str:
    with archive.open("rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page, as servers send in place of a file that needs an account or has moved"
    return f"{archive.stat().st_size:,} bytes of another kind"
