"""Segment a folder of a user's own CT scans: masks in NIfTI files, pictures and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmark.prediction.finding import ScanJob, find_scans, readable
from benchmark.prediction.nifti import ENDING, as_nifti, placed
from benchmark.prediction.outcome import (
    PREDICTIONS_TABLE,
    TableRow,
    introduction,
    structures_of,
    sum_up,
    tell_of,
    without_place,
    write_table,
)
from benchmark.prediction.pictures import as_jpeg, paint_structures
from benchmark.prediction.predictor import Model, Predictor
from benchmark.prediction.scan_segmentation import ScanSegmentation, segment_scan, volume_ml
from benchmark.progress import say, shown
from contract.errors import DataError
from contract.files import write_atomically
from datamodules.sources.ct.slices import ScanSlices

ONE_SLICE = "a single slice: it has no volume, and is 1 mm thick in its NIfTI file"


def predict_scans(model: Model, images: Path, out: Path, device: str = "auto") -> int:
    """Segment every CT scan below a folder and write what was found.

    ``out/masks/<structure>/<name>.nii.gz`` are masks of 0 and 1 on the scan's grid,
    ``out/overlays/<name>.jpg`` pictures of the slice in the middle, ``out/predictions.csv`` a line
    for each scan. A scan that cannot be used is reported in the table and the others go on.

    Args:
        model: trained cells that see CT scans.
        images: the folder of scans, which may be a series itself; its subfolders are kept in the
            results.
        out: the folder to write.
        device: a torch device, or ``auto``.

    Returns:
        How many scans failed.

    Raises:
        UserError: if there is no scan, the folders are one, or the model cannot be loaded.
    """
    jobs = find_scans(images, out)
    networks = model.load(device)
    say(introduction(model, networks))
    rows: list[TableRow] = []
    one = partial(_one, networks=networks, system=model.system, out=out)
    try:
        for row in shown(map(one, jobs), len(jobs), "segmenting"):
            assert isinstance(row, dict)
            rows.append(row)
            tell_of(row)
    finally:
        write_table(out / PREDICTIONS_TABLE, rows, _columns(networks))
    return sum_up(rows, "CT scans", out)


def _one(job: ScanJob, networks: Predictor, system: str, out: Path) -> TableRow:
    """Segment one scan, write its files and return its line of the table."""
    row: TableRow = {"file": readable(job.file), "system": system, "error": ""}
    try:
        scan = job.open()
        placed(scan)  # which refuses a scan before it is segmented
        found = segment_scan(networks, scan)
    except DataError as error:
        for path in _results(job, out):  # of an earlier call, which would belie the table
            path.unlink(missing_ok=True)
        return row | {"error": _told(error, job)}
    for name in found.slices:
        write_atomically(_mask_file(out, name, job), as_nifti(found.mask(name), scan))
    picture = paint_structures(found.middle, found.middle_masks())
    write_atomically(_overlay_file(out, job), as_jpeg(picture))
    return row | {"output": readable(job.output)} | _measured(scan, found)


def _told(error: DataError, job: ScanJob) -> str:
    """Return an error's words without the place of the scan's folder on this machine."""
    text = without_place(error)
    return text if error.where == str(job.path) else f"{Path(error.where).name}: {text}"


def _mask_file(out: Path, structure: str, job: ScanJob) -> Path:
    return out / "masks" / structure / f"{job.output}{ENDING}"


def _overlay_file(out: Path, job: ScanJob) -> Path:
    return out / "overlays" / f"{job.output}.jpg"


def _results(job: ScanJob, out: Path) -> Iterator[Path]:
    yield _overlay_file(out, job)
    for folder in out.glob("masks/*"):
        yield _mask_file(out, folder.name, job)


def _measured(scan: ScanSlices, found: ScanSegmentation) -> TableRow:
    """Return the columns that describe a segmented scan."""
    down, along = scan.spacing
    across = scan.slice_mm or None
    row: TableRow = {
        "slices": len(scan),
        "height": scan.shape[0],
        "width": scan.shape[1],
        "spacing_slice": across,
        "spacing_row": down,
        "spacing_col": along,
    }
    for structure, voxels in found.voxels.items():
        row[f"{structure}_voxels"] = voxels
        if across is not None:
            row[f"{structure}_volume_ml"] = volume_ml(voxels, (across, down, along))
    return row | {
        "disagreement": found.mirrored.disagreement,
        "disagreement_networks": found.networks,
        "flagged": bool(found.doubts),
        "reasons": "; ".join(found.doubts),
        "remarks": "" if across is not None else ONE_SLICE,
    }


def _columns(networks: Predictor) -> Sequence[str]:
    columns = ["file", "system", "output", "slices", "height", "width"]
    columns += ["spacing_slice", "spacing_row", "spacing_col"]
    columns += [f"{s}_{what}" for s in structures_of(networks) for what in ("voxels", "volume_ml")]
    columns += ["disagreement", "disagreement_networks", "flagged", "reasons", "remarks", "error"]
    return columns
