"""Mutates image files and reads them with the real readers; run as a program, prints JSON.

usage: python fuzzing.py ROOT SCRATCH COUNT SEED

ROOT holds phantoms of all sets. For every file a reader must give an array or raise ``DataError``.
"""

import io
import json
import resource
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import memory
import numpy as np
from PIL import Image

from contract.errors import DataError
from datamodules.sources import open_source
from datamodules.sources.files import (
    MAX_PIXELS,
    read_deep_pixels,
    read_pixels,
)
from datamodules.sources.mask_labels import read_labels
from datamodules.sources.masks import read_mask

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\xff\xff", b"\x80\0\0\0")


def chunks(content):
    """Split a PNG into (kind, data) as far as it goes."""
    place, found = len(PNG_HEAD), []
    while place + 8 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def join(parts):
    """Write chunks with right lengths and checksums, so that faults get past them."""
    return PNG_HEAD + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def png(width, height, depth=8, colour=0, whole=True):
    """A PNG of zeros, with few of the stated pixels unless it is to be whole."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    line = 1 + -(-width * depth * channels // 8)
    data = zlib.compress(bytes(line * height if whole else 100), 1)
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    palette = [(b"PLTE", bytes(768))] if colour == 3 else []
    return join([(b"IHDR", head), *palette, (b"IDAT", data), (b"IEND", b"")])


def bombs():
    """Small files that state or unpack to enormous images."""
    side = int(MAX_PIXELS**0.5)
    yield png(side, side)
    yield png(side, side, 16)
    yield png(side, side, colour=3)
    for depth, colour in ((8, 0), (16, 0), (8, 2), (8, 6), (1, 0), (8, 3), (16, 6)):
        for width, height in ((side + 1, side), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**25)):
            yield png(width, height, depth, colour, whole=False)
    text = zlib.compress(bytes(50_000_000), 1)
    for extra in ((b"zTXt", b"a\0\0" + text), (b"iCCP", b"a\0\0" + text)):
        parts = chunks(png(16, 16))
        yield join([parts[0], extra, *parts[1:]])
    for size in (b"\xff\xff\xff\xff", b"\x88\x13\x88\x13"):
        yield b"GIF89a" + size + b"\x80\0\0" + bytes(6) + b",\0\0\0\0" + size + b"\0\x02\0;"


def flip(content, other, random):
    data = np.frombuffer(content, np.uint8).copy()
    places = random.integers(0, len(data), int(random.integers(1, 40)))
    data[places] ^= (1 << random.integers(0, 8, len(places))).astype(np.uint8)
    return data.tobytes()


def flip_head(content, other, random):
    cut = min(len(content), 64)
    return flip(content[:cut], other, random) + content[cut:]


def truncate(content, other, random):
    return content[: int(random.integers(0, len(content)))]


def splice(content, other, random):
    here, there = int(random.integers(len(content))), int(random.integers(len(other)))
    return content[:here] + other[there:]


def cut_out(content, other, random):
    start, stop = np.sort(random.integers(0, len(content), 2))
    return content[:start] + content[stop:]


def fill_zeros(content, other, random):
    start, stop = np.sort(random.integers(0, len(content), 2))
    return content[:start] + bytes(int(stop - start)) + content[stop:]


def extreme(content, other, random):
    place = int(random.integers(0, min(len(content), 200)))
    return content[:place] + EXTREMES[random.integers(len(EXTREMES))] + content[place + 4 :]


def mutate_chunks(content, other, random):
    """Change, move, double or swap chunks of a PNG, with right checksums."""
    if not content.startswith(PNG_HEAD):
        return extreme(flip_head(content, other, random), other, random)
    parts = chunks(content)
    for _ in range(int(random.integers(1, 4))):
        place = int(random.integers(len(parts)))
        kind, data = parts[place]
        deed = int(random.integers(5))
        if deed == 0 and data:
            parts[place] = (kind, flip(data, other, random))
        elif deed == 1 and data:
            parts[place] = (kind, extreme(data, other, random)[: len(data)])
        elif deed == 2:
            parts.insert(int(random.integers(len(parts) + 1)), parts[place])
        elif deed == 3:
            parts[place] = (parts[int(random.integers(len(parts)))][0], data)
        elif len(parts) > 1:
            del parts[place]
    return join(parts)


MUTATIONS = (
    flip, flip_head, truncate, splice, cut_out, fill_zeros, extreme, mutate_chunks, mutate_chunks,
)  # fmt: skip


def originals(root):
    """Return (suffix, content) of whole files of every kind that the readers take."""
    found = []
    for name in ("montgomery", "shenzhen", "jsrt"):
        for case in open_source(name, root).cases()[:4]:
            found += [(path.suffix, path.read_bytes()) for path in case.files]
    grey = np.tile(np.arange(48, dtype=np.uint16) * 5, (40, 1))
    for suffix, pixels, kind in (
        (".png", grey * 257, "PNG"),
        (".tif", grey * 257, "TIFF"),
        (".tif", grey.astype(np.uint8), "TIFF"),
        (".jpg", grey.astype(np.uint8), "JPEG"),
        (".png", grey > 100, "PNG"),
    ):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        found.append((suffix, stream.getvalue()))
    return found


def main():
    root, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    count, random = int(sys.argv[3]), np.random.default_rng(int(sys.argv[4]))
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
    jsrt = open_source("jsrt", root)
    film = jsrt.cases()[0]
    whole = originals(root)
    pictures = (read_pixels, read_mask, read_deep_pixels, read_labels)

    def raw(path):
        return jsrt.read_image(replace(film, image=path))

    outcomes, faults, slowest = Counter(), [], 0.0
    special = list(bombs())
    for index in range(count):
        if index < len(special):
            suffix, content = ".png", special[index]
        else:
            suffix, content = whole[index % len(whole)]
            other = whole[random.integers(len(whole))][1]
            content = MUTATIONS[index // len(whole) % len(MUTATIONS)](content, other, random)
        path = scratch / f"film{suffix}"
        path.write_bytes(content)
        reader = raw if suffix == ".IMG" else pictures[index % len(pictures)]
        started = time.process_time()  # others share the clock
        try:
            pixels = reader(path)
            told = "array"
            if pixels.ndim != 2 or not 0 < pixels.size <= MAX_PIXELS:
                faults.append(f"{index}: {reader.__name__} gave {pixels.shape}")
        except DataError as error:
            told = "error"
            if str(path) not in str(error):
                faults.append(f"{index}: {error}")
        except BaseException:
            told = "crash"
            faults.append(f"{index}: {traceback.format_exc(limit=-3)}")
        outcomes[f"{suffix} {told}"] += 1
        slowest = max(slowest, time.process_time() - started)
        pixels = None
    report = {
        "outcomes": outcomes,
        "faults": faults[:20],
        "slowest_s": slowest,
        "peak_mib": memory.peak_mib(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
