"""Half a volume file is refused, whatever its format and wherever it ends."""

import numpy as np
import pytest
import SimpleITK

from contract.errors import DataError
from datamodules.sources.volume_files import VolumeFile

VALUES = np.random.default_rng(0).integers(-1000, 1000, (6, 20, 24)).astype(np.int16)
KINDS = [".nii.gz", ".nii", ".mha", ".nrrd"]


@pytest.fixture(scope="module", params=KINDS)
def whole(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("volumes") / f"scan{request.param}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VALUES), str(path))
    return path


def test_a_whole_file_is_read_as_it_was_written(whole):
    file = VolumeFile(whole)
    assert file.size == (24, 20, 6) and np.array_equal(file.values(), VALUES)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_half_a_file_is_no_volume(whole, tmp_path, kept):
    content = whole.read_bytes()
    half = tmp_path / whole.name
    half.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match="no readable volume"):
        VolumeFile(half).values()


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_packed_nifti_with_a_changed_byte_is_no_volume(tmp_path, place):
    path = tmp_path / "scan.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VALUES), str(path))
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(DataError, match="no readable volume"):
        VolumeFile(path).values()


def test_a_header_alone_is_read_without_the_values(tmp_path):
    path = tmp_path / "scan.nii"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VALUES), str(path))
    path.write_bytes(path.read_bytes()[:400])
    assert VolumeFile(path).size == (24, 20, 6)
    with pytest.raises(DataError, match="truncated: 400 bytes of the 6112 that it states"):
        VolumeFile(path).values()
