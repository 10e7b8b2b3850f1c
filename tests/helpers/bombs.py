"""Small files that state, or unpack to, far more than a film; each within the upload's limit."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import fuzzing
import numpy as np
from PIL import Image, TiffImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

DEFLATED = "1.2.840.10008.1.2.1.99"
SIDE = 6324
"""A film of as many pixels as are allowed."""


def element(group: int, number: int, kind: bytes, value: bytes) -> bytes:
    """An element of explicit VR, little endian."""
    value += b"\0" * (len(value) % 2)
    if kind in (b"OB", b"OW", b"SQ", b"UN", b"UT"):
        return struct.pack("<HH2sHI", group, number, kind, 0, len(value)) + value
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def meta(syntax: str) -> bytes:
    """A preamble and the group 2 of a file."""
    body = element(2, 0x10, b"UI", syntax.encode())
    return bytes(128) + b"DICM" + element(2, 0, b"UL", struct.pack("<I", len(body))) + body


def film_elements(rows: int, columns: int, pixels: bytes) -> bytes:
    """The elements of a grey film of 16 bits."""
    words = [(0x2, 1), (0x10, rows), (0x11, columns), (0x100, 16), (0x101, 16), (0x102, 15)]
    about = [element(0x28, tag, b"US", struct.pack("<H", value)) for tag, value in words]
    about.insert(1, element(0x28, 4, b"CS", b"MONOCHROME2"))
    about.append(element(0x28, 0x103, b"US", b"\0\0"))
    return b"".join(about) + element(0x7FE0, 0x10, b"OW", pixels)


def deflated(content_of: Callable[[], bytes], repeats: int = 0) -> bytes:
    """A deflated DICOM file; its last megabyte of zeros is repeated."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = pack.compress(content_of())
    zeros = bytes(1 << 20)
    for _ in range(repeats):
        packed += pack.compress(zeros)
    return meta(DEFLATED) + packed + pack.flush()


def encapsulated(syntax: str, frame: bytes, rows: int, columns: int, bits: int = 16) -> bytes:
    """A DICOM file of one compressed frame."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    data.Rows, data.Columns, data.SamplesPerPixel = rows, columns, 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = (
        bits,
        bits,
        bits - 1,
        0,
    )
    data.PixelData = encapsulate([frame])
    data["PixelData"].VR = "OB"
    made = io.BytesIO()
    data.save_as(made, enforce_file_format=True)
    return made.getvalue()


def jpeg_2000(columns: int, rows: int, tile: int = 0, block: int = 4, precinct: int = 15) -> bytes:
    """The head of a JPEG 2000 frame, with an empty tile."""
    tile_sides = (tile or columns, tile or rows)
    sizes = struct.pack(">HIIIIIIIIH", 0, columns, rows, 0, 0, *tile_sides, 0, 0, 1) + b"\x0f\1\1"
    style = bytes([1, 0, 0, 1, 0, 0, block, block, 0, 1, precinct * 17])
    quality = bytes([0x20, 0x88])
    head = b"\xff\x4f"
    for marker, body in ((0x51, sizes), (0x52, style), (0x5C, quality)):
        head += b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
    return head + b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14, 0, 1) + b"\xff\x93\xff\xd9"


def jpeg(marker: int, columns: int, rows: int) -> bytes:
    """The head of a JPEG frame."""
    body = struct.pack(">BHHB", 16, rows, columns, 1) + b"\1\x11\0"
    head = b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body
    return head + b"\xff\xda" + struct.pack(">H", 8) + b"\1\1\0\1\0\0" + bytes(64) + b"\xff\xd9"


def run_lengths(runs: int, segments: int = 2) -> bytes:
    """A frame of run lengths: each two bytes give 128."""
    body = b"\x81\0" * runs
    starts = [64 + index * len(body) for index in range(segments)]
    return struct.pack("<16I", segments, *starts, *[0] * (15 - segments)) + body * segments


def tiff(side: int, tile: int | None = None, compression: int = 8, packed: bytes = b"") -> bytes:
    """A TIFF file of one tile or strip, with few of the stated pixels."""
    tags = {256: side, 257: side, 258: 16, 259: compression, 262: 1, 277: 1}
    size = len(packed)
    tags |= {322: tile, 323: tile, 324: 8, 325: size} if tile else {273: 8, 278: side, 279: size}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    place = 8 + size + size % 2
    body = struct.pack("<2sHI", b"II", 42, place) + packed + b"\0" * (size % 2)
    return body + struct.pack("<H", len(tags)) + entries + bytes(4)


def pages(count: int) -> bytes:
    """A TIFF file of many small pages."""
    made = io.BytesIO()
    image = Image.fromarray(np.zeros((40, 40), np.uint8))
    with TiffImagePlugin.AppendingTiffWriter(made) as writer:
        for _ in range(count):
            image.save(writer, format="TIFF")
            writer.newFrame()
    return made.getvalue()


def with_text(kind: bytes, data: bytes, count: int = 1) -> bytes:
    """A PNG of noise-free pixels with further chunks."""
    parts = fuzzing.chunks(fuzzing.png(64, 64))
    return fuzzing.join([parts[0], *[(kind, data)] * count, *parts[1:]])


def nifti(side: int, kind: int, bits: int, content: bytes, repeats: int = 1) -> bytes:
    """A packed NIfTI file of a square film: its header, then a megabyte of content, repeated."""
    header = struct.pack(
        "<i36x8h14xhh2x8ff232x4s4x", 348, 3, side, side, 1, 1, 1, 1, 1, kind, bits,
        1, 1, 1, 1, 0, 0, 0, 0, 352, b"n+1",
    )  # fmt: skip
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as file:
        file.write(header)
        for _ in range(repeats):
            file.write(content)
    return made.getvalue()


def nested(depth: int) -> bytes:
    """Sequences of undefined length, each in the one before."""
    opened = struct.pack("<HH2sHI", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return (opened + item) * depth


def bombs() -> dict[str, Callable[[], bytes]]:
    """Return what makes each file, by its name."""
    zeros = zlib.compress(bytes(60_000_000), 9)
    text = b"a\0\1\0\0\0" + zeros
    plain = meta("1.2.840.10008.1.2.1")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    small = film_elements(64, 64, bytes(8192))
    return {
        "deflated_pixels.dcm": lambda: deflated(
            lambda: film_elements(64, 64, b"")[:-4] + struct.pack("<I", 0xFFFFFFF0), 1500
        ),
        "deflated_private.dcm": lambda: deflated(
            lambda: struct.pack("<HH2sHI", 9, 0x1001, b"OB", 0, 0xFFFFFFF0), 1500
        ),
        "deflated_film.dcm": lambda: deflated(
            lambda: film_elements(SIDE, SIDE, bytes(2 * SIDE * SIDE))
        ),
        "whole_film_16_bit.png": lambda: fuzzing.png(SIDE, SIDE, 16),
        "whole_film_rgba_16_bit.png": lambda: fuzzing.png(SIDE, SIDE, 16, 6),
        "wide.png": lambda: fuzzing.png(2**31 - 1, 2**31 - 1, whole=False),
        "itxt.png": lambda: with_text(b"iTXt", text),
        "itxt_often.png": lambda: with_text(b"iTXt", text, 200),
        "ztxt_often.png": lambda: with_text(b"zTXt", b"a\0\0" + zeros, 200),
        "iccp.png": lambda: with_text(b"iCCP", b"a\0\0" + zeros),
        "tile.tif": lambda: tiff(6000, 40000, packed=zlib.compress(bytes(30_000_000), 9)),
        "strip.tif": lambda: tiff(SIDE, packed=zlib.compress(bytes(400_000_000), 9)),
        "lzw.tif": lambda: tiff(SIDE, compression=5, packed=b"\x80\0" * 1000),
        "pages.tif": lambda: pages(2000),
        "screen.png": lambda: (
            b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\2\0;"
        ),
        "post.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9000 9000\n",
        "whole_film_of_doubles.nii.gz": lambda: nifti(SIDE, 64, 64, bytes(8 * SIDE), SIDE),
        "large_film_of_doubles.nii.gz": lambda: nifti(4090, 64, 64, bytes(8 * 4090), 4090),
        "whole_film_of_bytes.nii.gz": lambda: nifti(SIDE, 2, 8, bytes(range(250)) * SIDE, 26),
        "claims_more.nii.gz": lambda: nifti(30_000, 64, 64, bytes(8)),
        "endless.nii.gz": lambda: nifti(64, 2, 8, bytes(1 << 20), 3000),
        "rle_small.dcm": lambda: encapsulated(RLELossless, run_lengths(7_000_000), 64, 64),
        "rle_large.dcm": lambda: encapsulated(RLELossless, run_lengths(7_000_000), SIDE, SIDE),
        "jls_claims_more.dcm": lambda: encapsulated(
            JPEGLSLossless, jpeg(0xF7, 60000, 60000), 64, 64
        ),
        "jpeg_claims_more.dcm": lambda: encapsulated(
            JPEGLosslessSV1, jpeg(0xC3, 60000, 60000), 64, 64
        ),
        "j2k_claims_more.dcm": lambda: encapsulated(
            JPEG2000Lossless, jpeg_2000(60000, 60000), 64, 64
        ),
        "j2k_tiles.dcm": lambda: encapsulated(
            JPEG2000Lossless, jpeg_2000(SIDE, SIDE, tile=26), SIDE, SIDE
        ),
        "j2k_precincts.dcm": lambda: encapsulated(
            JPEG2000Lossless, jpeg_2000(SIDE, SIDE, precinct=0), SIDE, SIDE
        ),
        "j2k_blocks.dcm": lambda: encapsulated(
            JPEG2000Lossless, jpeg_2000(SIDE, SIDE, block=0), SIDE, SIDE
        ),
        "empty_items.dcm": lambda: plain + element(8, 0x1140, b"SQ", item * 3_500_000) + small,
        "empty_items_voi.dcm": lambda: (
            plain + element(0x28, 0x3010, b"SQ", item * 3_500_000) + small
        ),
        "endless_items.dcm": lambda: (
            plain
            + struct.pack("<HH2sHI", 0x28, 0x3010, b"SQ", 0, 0xFFFFFFFF)
            + item * 3_500_000
        ),
        "elements.dcm": lambda: plain + b"".join(
            struct.pack("<HH2sH", 9 + 2 * (i >> 16), i & 0xFFFF, b"LO", 0) for i in range(3_500_000)
        ),
        "nested.dcm": lambda: plain + nested(100_000),
        "numbers.dcm": lambda: (
            plain + element(0x28, 0x1050, b"UT", b"1\\" * 14_000_000) + small
        ),
        "fragments.dcm": lambda: (
            meta(RLELossless) + film_elements(64, 64, b"")[:-4] + b"\xff" * 4 + item * 3_500_000
        ),
        "frames.dcm": lambda: (
            plain + element(0x28, 8, b"IS", b"2000000000") + film_elements(64, 64, bytes(8192))
        ),
    }  # fmt: skip


def write_bombs(folder: Path, names: list[str] | None = None) -> list[Path]:
    """Write the files, or some of them."""
    paths = []
    for name, make in bombs().items():
        if names is None or name in names:
            paths.append(folder / name)
            paths[-1].write_bytes(make())
    return paths
