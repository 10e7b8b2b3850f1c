"""Whoever reads what is printed may stop at any line: ``lungbench list systems | head``."""

import os
import subprocess
import sys

import pytest

from benchmark.__main__ import NOBODY_READS


@pytest.mark.parametrize("words", [["list", "systems"], ["show", "unet"]])
def test_a_closed_pipe_ends_a_command_without_a_word(words):
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "benchmark", *words], stdout=writing, stderr=subprocess.PIPE,
        text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (ended.stderr, ended.returncode) == ("", NOBODY_READS)
