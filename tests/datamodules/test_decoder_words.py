"""What C decoders write to stderr is heard: damage is refused, nothing reaches the terminal."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from contract.errors import DataError
from datamodules.sources.decoder_words import hear_decoders
from datamodules.sources.files import read_pixels
from datamodules.sources.pictures import read_picture

DOWN, ACROSS = np.mgrid[:96, :96]
GREY = ((DOWN + 2 * ACROSS) % 256).astype(np.uint8)


def tiff(compression):
    image = Image.fromarray(GREY)
    kept = io.BytesIO()
    image = image.convert("1") if compression == "group4" else image
    image.save(kept, "TIFF", compression=compression)
    return bytearray(kept.getvalue())


@pytest.mark.parametrize("read", [read_pixels, read_picture])
@pytest.mark.parametrize("compression", ["group4", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_tiff_with_changed_bytes_is_refused_without_a_word_of_libtiff(
    compression, read, tmp_path, capfd
):
    content = tiff(compression)
    path = tmp_path / "film.tif"
    path.write_bytes(content)
    read(path)
    content[20:60] = bytes(value ^ 0x5A for value in content[20:60])
    path.write_bytes(content)
    with pytest.raises(DataError, match="do not decode"):
        read(path)
    assert capfd.readouterr().err == ""


def test_a_bad_colour_profile_is_passed_over_without_a_word_of_libpng(tmp_path, capfd):
    whole = cv2.imencode(".png", np.dstack([GREY] * 3).astype(np.uint16) * 257)[1].tobytes()
    body = b"iCCPx\0\0" + zlib.compress(b"junk" * 40)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path = tmp_path / "film.png"
    path.write_bytes(whole[:33] + chunk + whole[33:])
    assert np.array_equal(read_picture(path)[0], GREY)
    assert capfd.readouterr().err == ""


def test_lines_of_others_are_passed_on(capfd):
    with hear_decoders() as broken:
        os.write(2, b"lungbench: a word\nFax4Decode: Bad code word\nlibpng warning: x\n")
    assert broken == ["Fax4Decode: Bad code word"]
    assert capfd.readouterr().err == "lungbench: a word\n"
