"""Masks from elsewhere score as our own do, in any layout, and faulty ones are named."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import SimpleITK
import yaml
from PIL import Image

from benchmark.__main__ import main
from benchmark.cell.fit import fit
from benchmark.foreign.external import Predictions, score
from benchmark.planning.library import load_suite
from benchmark.planning.plan import make_plan
from benchmark.running.rebuild import home_of
from contract.cell_folder import CellFolder
from contract.errors import DataError, UserError
from contract.rows import CASE_SCHEMA, METRICS
from datamodules.phantoms import write_jsrt
from datamodules.sources import open_source
from lightning_modules.metrics import scoring

SMALL = {
    "title": "small",
    "systems": ["unet"],
    "protocols": ["m_to_s", "s_to_m"],
    "overrides": {
        "preprocessing.size": 32,
        "batch_size": 4,
        "model.init_args.generator.init_args.widths": [8, 16, 32],
        "trainer.max_epochs": 20,
    },
}
NEEDS_MORE_THAN_MASKS = ("auc", "dice_netgrid", "iou_netgrid", "hausdorff_rowvector")


def arguments(folder, root, protocol="m_to_s", **more):
    given = ["--suite", str(folder / "small.yaml"), "--runs", str(folder / "runs")]
    given += ["--data-root", str(root), "--protocol", protocol]
    for name, value in more.items():
        values = value if isinstance(value, list) else [] if value is True else [value]
        given += [f"--{name}", *map(str, values)]
    return ["score", *given]


def cell(folder, system, protocol="m_to_s", seed=0) -> Path:
    return folder / "runs" / "small" / "cells" / system / protocol / f"seed-{seed}"


def gallery(folder) -> list[dict]:
    """The cases that a cell's pictures show, with their outlines, and the pictures' content."""
    shown = json.loads((folder / "gallery" / "gallery.json").read_text())["cases"]
    assert shown
    for case in shown:
        case["content"] = (folder / "gallery" / case["picture"]).read_bytes()
        case["dice"] = round(case["dice"], 6)
    return shown


def write_nifti(path, values):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.astype(np.uint8)[None]), str(path))


def write_png(path, values):
    Image.fromarray(values.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, phantom_root) -> tuple[Path, dict[str, np.ndarray]]:
    """A trained cell's folder, and the lungs that it predicted on the scored grid, by case."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    plan = make_plan(str(folder / "small.yaml"), folder / "runs", phantom_root)
    ours = plan.cells[0]
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(ours.config))
    seen = []
    real = scoring.score_masks
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGBENCH_CORES", "1")  # one thread scores, in the order of the cases
        patch.setattr(
            scoring, "score_masks", lambda masks, *rest: seen.append(masks) or real(masks, *rest)
        )
        fit(config, ours.folder)
    rows = pd.read_parquet(ours.folder / "cases.parquet").query("structure == 'lungs'")
    masks = {case: own["lungs"] for case, own in zip(rows["case_id"], seen, strict=True)}
    assert len({mask.tobytes() for mask in masks.values()}) > 10, "all predictions alike"
    assert 0.3 < rows["dice"].mean() < 0.99
    return folder, masks


@pytest.fixture
def own_folder(trained, tmp_path):
    """A copy of the trained suite without anything from elsewhere."""
    suite = shutil.copytree(trained[0], tmp_path / "suite")
    for other in (suite / "runs/small/cells").iterdir():
        if other.name not in SMALL["systems"]:
            shutil.rmtree(other)
    return suite


def layouts(folder, masks, layout):
    """Write the masks in a layout, and return the arguments that it needs."""
    folder.mkdir()
    for case, mask in masks.items():
        if layout == "png":
            write_png(folder / f"{case}.png", mask * 255)
        elif layout == "suffix":
            write_png(folder / f"{case}_mask.png", mask * 1)
        elif layout == "labels":
            half = np.arange(mask.shape[1]) < mask.shape[1] / 2
            write_png(folder / f"{case}.png", np.where(mask, np.where(half, 2, 7), 9 * (~mask)))
        elif layout == "nnunet png":
            write_png(folder / f"{case}.png", mask * 3)
        else:
            write_nifti(folder / f"{case}.nii.gz", mask * 3)
    if layout.startswith("nnunet"):
        about = {"labels": {"background": 0, "heart": 1, "lungs": 3, "clavicle": 4}}
        (folder / "dataset.json").write_text(json.dumps(about))
        (folder / "plans.json").write_text("{}")
    return {"labels": ["lungs=2,7", "background=9"]} if layout == "labels" else {}


@pytest.mark.slow
def test_the_same_masks_score_as_our_own_rows_in_every_layout(trained, phantom_root, capsys):
    folder, masks = trained
    ours = pd.read_parquet(cell(folder, "unet") / "cases.parquet")
    ours = ours.query("structure == 'lungs'").set_index("case_id")
    plan = make_plan(str(folder / "small.yaml"), folder / "runs", phantom_root)
    for layout in ("png", "suffix", "labels", "nnunet png", "nnunet nii"):
        name = layout.replace(" ", "_")
        needs = layouts(folder / name, masks, layout)
        if layout == "nnunet nii":
            given = arguments(folder, phantom_root, masks=folder / name, system=name)
            assert main(given) == 0, capsys.readouterr().err
        else:
            assert score(plan, Predictions(folder / name, name, "m_to_s", **needs), folder / "c")
        theirs = pd.read_parquet(cell(folder, name) / "cases.parquet").set_index("case_id")
        assert list(theirs.index) == list(ours.index)
        for metric in METRICS:
            if metric in NEEDS_MORE_THAN_MASKS:
                assert theirs[metric].isna().all(), metric
            else:
                np.testing.assert_allclose(
                    theirs[metric].astype(float), ours[metric].astype(float), atol=1e-6,
                    err_msg=f"{layout} {metric}",
                )  # fmt: skip
        assert gallery(cell(folder, name)) == gallery(cell(folder, "unet")), layout
        for column in ("patient_id", "finding", "height", "width", "reference", "unit", "phantom"):
            assert (theirs[column] == ours[column]).all(), column
    table = pd.read_csv(folder / "runs/small/leaderboard/leaderboard.csv")
    means = table.query("structure == 'lungs'").set_index("system")["dice_mean"]
    assert len(means) == 6 and np.ptp(means) < 1e-6
    assert table["n_train"].notna().all()
    page = (folder / "runs/small/leaderboard/leaderboard.md").read_text()
    assert "| nnunet_nii (external) |" in page and "| unet (reduced) |" in page


@pytest.mark.slow
def test_scoring_again_does_nothing_and_other_masks_replace(own_folder, trained, phantom_root,
                                                            capsys):  # fmt: skip
    masks = own_folder / "masks"
    layouts(masks, trained[1], "png")
    given = arguments(own_folder, phantom_root, masks=masks, system="theirs", tool="a tool")
    assert main(given) == 0
    place = cell(own_folder, "theirs")
    record = json.loads((place / "cell.json").read_text())
    assert record["state"] == "done" and record["external"]["tool"] == "a tool"
    assert record["n_train"] is None and record["n_test"] == 20 and record["split_hash"]
    before = (place / "cases.parquet").stat().st_mtime_ns
    capsys.readouterr()
    assert main(given) == 0
    assert "scored already" in capsys.readouterr().out
    assert (place / "cases.parquet").stat().st_mtime_ns == before
    first = sorted(masks.glob("*.png"))[0]
    write_png(first, np.zeros(cv2.imread(str(first), 0).shape))
    assert main(given) == 0
    assert "replaced" in capsys.readouterr().out
    rows = pd.read_parquet(place / "cases.parquet").set_index("case_id")
    assert rows.loc[first.stem, "dice"] == 0 and rows.loc[first.stem, "empty_prediction"]
    table = pd.read_csv(own_folder / "runs/small/leaderboard/leaderboard.csv")
    assert table.set_index("system").loc["theirs", "n_failed"] == 1
    leaderboard = ["leaderboard", *given[1:7]]
    assert main(leaderboard) == 0
    table = pd.read_csv(own_folder / "runs/small/leaderboard/leaderboard.csv")
    assert set(table["system"]) == {"unet", "theirs"}
    film = next((phantom_root / "ChinaSet_AllFiles" / "CXR_png").glob("*.png"))
    other = own_folder / "data"
    shutil.copytree(phantom_root, other)
    copy = other / film.relative_to(phantom_root)
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert main([*leaderboard[:-1], str(other)]) == 0
    assert pd.read_csv(own_folder / "runs/small/leaderboard/leaderboard.csv").empty


def references(root, name):
    """Each case's reference masks on its film's own grid."""
    source = open_source(name, root)
    return {
        case.case_id: source.read_masks(case, source.read_image(case).shape)
        for case in source.cases()
    }


@pytest.fixture
def untrained(tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return tmp_path


def write_sides(folder, root, left=1, right=2):
    folder.mkdir()
    for case, masks in references(root, "montgomery").items():
        write_png(folder / f"{case}.png", masks["left_lung"] * left + masks["right_lung"] * right)


@pytest.mark.slow
def test_left_and_right_join_a_suite_in_which_nothing_is_trained(untrained, phantom_root, capsys):
    write_sides(untrained / "masks", phantom_root)
    given = arguments(
        untrained, phantom_root, "s_to_m", masks=untrained / "masks", system="perfect"
    )
    assert main([*given, "--labels", "left_lung=1", "right_lung=2"]) == 0, capsys.readouterr().err
    rows = pd.read_parquet(cell(untrained, "perfect", "s_to_m") / "cases.parquet")
    assert rows.groupby("structure")["dice"].min().to_dict() == {
        "left_lung": 1, "lungs": 1, "right_lung": 1,
    }  # fmt: skip
    assert len(rows) == 3 * 16 and rows["train_on"].isna().all()
    board = untrained / "runs/small/leaderboard"
    assert "perfect" in (board / "leaderboard.md").read_text()
    page = (board / "leaderboard.html").read_text()
    failures = page[page.index('<section id="failures"') :].split("</section>")[0]
    shown = [case for case in gallery(cell(untrained, "perfect", "s_to_m"))
             if case["kind"] == "worst"]  # fmt: skip
    assert "perfect" in failures and "kept no pictures" not in page
    assert all(f'aria-label="{case["case_id"]}: Dice 1.000' in failures for case in shown[:3])
    assert main([*given, "--labels", "left_lung=2", "right_lung=1"]) == 2
    assert "exchange the labels" in capsys.readouterr().err


@pytest.mark.slow
def test_a_protocol_of_folds_is_scored_on_every_case(untrained, tmp_path, capsys):
    suite = {**SMALL, "protocols": ["jsrt"]}
    (untrained / "small.yaml").write_text(yaml.safe_dump(suite))
    write_jsrt(tmp_path / "data", 8, size=256)
    (untrained / "masks").mkdir()
    for case, masks in references(tmp_path / "data", "jsrt").items():
        labels = masks["left_lung"] + 2 * masks["right_lung"]
        labels[masks["heart"] & (labels == 0)] = 3
        write_png(untrained / "masks" / f"{case}.png", labels)
    given = arguments(untrained, tmp_path / "data", "jsrt", masks=untrained / "masks")
    given += ["--system", "perfect", "--labels", "left_lung=1", "right_lung=2", "heart=3"]
    assert main(given) == 0, capsys.readouterr().err
    rows = pd.read_parquet(cell(untrained, "perfect", "jsrt") / "cases.parquet")
    assert rows["case_id"].nunique() == 8
    assert set(rows["structure"]) == {"lungs", "left_lung", "right_lung", "heart"}
    assert rows.query("structure == 'left_lung'")["dice"].min() > 0.99
    record = json.loads((cell(untrained, "perfect", "jsrt") / "cell.json").read_text())
    assert record["folds"] == 2 and "+" in record["split_hash"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory, phantom_root):
    """A plan, and a folder of right masks for Montgomery: left 1, right 2."""
    folder = tmp_path_factory.mktemp("planned")
    (folder / "small.yaml").write_text(yaml.safe_dump(SMALL))
    write_sides(folder / "masks", phantom_root)
    return make_plan(str(folder / "small.yaml"), folder / "runs", phantom_root), folder / "masks"


SIDES = ("left_lung=1", "right_lung=2")


def lose(folder, first, shape):
    first.unlink()


def cut(folder, first, shape):
    first.write_bytes(first.read_bytes()[:90])


def cut_nifti(folder, first, shape):
    first.unlink()
    path = first.with_suffix(".nii.gz")
    write_nifti(path, np.ones(shape))
    path.write_bytes(path.read_bytes()[:40])


def text(folder, first, shape):
    first.write_text("no picture")


def shrink(folder, first, shape):
    write_png(first, np.ones((32, 32)))


def turn(folder, first, shape):
    write_png(first, np.ones(shape[::-1]))


def turn_nifti(folder, first, shape):
    first.unlink()
    write_nifti(first.with_suffix(".nii.gz"), np.ones(shape[::-1]))


def stack(folder, first, shape):
    first.unlink()
    volume = SimpleITK.GetImageFromArray(np.ones((5, *shape), np.uint8))
    SimpleITK.WriteImage(volume, str(first.with_suffix(".nii.gz")))


def probabilities(folder, first, shape):
    first.unlink()
    image = SimpleITK.GetImageFromArray(np.full((1, *shape), 0.4, np.float32))
    SimpleITK.WriteImage(image, str(first.with_suffix(".nii.gz")))


def foreign_label(folder, first, shape):
    write_png(first, np.full(shape, 7))


def noise(folder, first, shape):
    write_png(first, np.random.default_rng(0).integers(0, 256, shape))


def jpeg(folder, first, shape):
    first.unlink()
    write_png(first.with_suffix(".jpg"), np.ones(shape))


def colours(folder, first, shape):
    write_png(first, np.random.default_rng(0).integers(0, 2, (*shape, 3)))


def twice(folder, first, shape):
    write_png(first.with_name(f"{first.stem}_mask.png"), np.ones(shape))


FAULTS = [
    (lose, "no mask of {id}.*empty mask is valid"),
    (cut, "{id}.png: found 90 bytes that do not decode"),
    (cut_nifti, "{id}.nii.gz: found no readable volume"),
    (text, "{id}.png: found 10 bytes that do not decode"),
    (shrink, "{id}.png: found a mask of 32×32 pixels; expected the film's.*--resize"),
    (turn, "{id}.png: found a mask of {h}×{w} pixels; expected the film's {w}×{h}.*transpose"),
    (turn_nifti, "{id}.nii.gz: found a mask of {h}×{w} pixels.*transpose"),
    (stack, "{id}.nii.gz: found a volume of {w} × {h} × 5; expected one film"),
    (probabilities, "{id}.nii.gz: found fractions"),
    (foreign_label, "{id}.png: found the value 7; expected 0 and the labels left_lung=1"),
    (noise, "{id}.png: found .* values: 3, 4, 5.*expected 0 and the labels"),
    (jpeg, "{id}.jpg: found a JPEG file; expected a lossless format"),
    (colours, "{id}.png: found colours"),
    (twice, "{id}.png and {id}_mask.png; expected one mask of case {id}"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_faulty_mask_is_named_and_nothing_is_written(planned, tmp_path, spoil, message):
    plan, masks = planned
    folder = shutil.copytree(masks, tmp_path / "masks")
    first = sorted(folder.glob("*.png"))[0]
    height, width = cv2.imread(str(first), 0).shape
    assert height != width
    spoil(folder, first, (height, width))
    given = Predictions(folder, "theirs", "s_to_m", labels=SIDES)
    with pytest.raises(DataError, match=message.format(id=first.stem, h=height, w=width)):
        score(plan, given, tmp_path / "cache")
    assert not (plan.folder / "cells" / "theirs").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("left_lung=1",)}, "--labels: found left_lung; expected lungs, or"),
        ({"labels": ("lungs=0",)}, "--labels lungs=0: found '0'; expected whole numbers above 0"),
        ({"labels": ("liver=1",)}, "--labels liver=1: found 'liver'"),
        ({"labels": ()}, r"found 3 values: 0, 1, 2|found the values 0, 1, 2.*--labels left_lung=1"),
        ({"system": "../x"}, "--system: found the name '../x'"),
        ({"system": "unet"}, "the name of a system of suite small"),
        ({"protocol": "jsrt"}, "--protocol: found 'jsrt'; expected of suite small: m_to_s"),
        ({"folder": Path("nowhere")}, "nowhere: found no such folder"),
    ],
)
def test_wrong_arguments_are_named(planned, tmp_path, change, message):
    plan, masks = planned
    given = Predictions(masks, "theirs", "s_to_m", labels=SIDES)
    with pytest.raises(UserError, match=message):
        score(plan, replace(given, **change), tmp_path / "cache")
    assert not (plan.folder / "cells" / "theirs").exists()


def test_binary_masks_of_grey_values_are_refused(planned, tmp_path):
    plan, masks = planned
    folder = shutil.copytree(masks, tmp_path / "masks")
    for path in folder.glob("*.png"):
        soft = cv2.GaussianBlur((cv2.imread(str(path), 0) > 0) * np.uint8(255), (5, 5), 0)
        write_png(path, soft)
    with pytest.raises(DataError, match=r"values: 0, .*one other value.*hard masks"):
        score(plan, Predictions(folder, "theirs", "s_to_m"), tmp_path / "cache")


def test_a_squashed_network_output_is_scored_only_when_resizing_is_asked_for(planned, tmp_path):
    plan, masks = planned
    folder = tmp_path / "masks"
    folder.mkdir()
    for path in masks.glob("*.png"):
        small = cv2.resize(cv2.imread(str(path), 0), (96, 96), interpolation=cv2.INTER_NEAREST)
        write_png(folder / path.name, small)
    given = Predictions(folder, "squashed", "s_to_m", labels=SIDES)
    with pytest.raises(DataError, match="--resize"):
        score(plan, given, tmp_path / "cache")
    assert score(plan, replace(given, resize=True), tmp_path / "cache")
    rows = pd.read_parquet(plan.folder / "cells/squashed/s_to_m/seed-0/cases.parquet")
    assert rows["dice"].min() > 0.95 and rows["dice"].max() < 1


def test_files_of_no_case_are_told(planned, tmp_path, capsys):
    plan, masks = planned
    folder = shutil.copytree(masks, tmp_path / "masks")
    write_png(folder / "MCUCXR_9999_1.png", np.ones((8, 8)))
    assert score(plan, Predictions(folder, "extra", "s_to_m", labels=SIDES), tmp_path / "cache")
    assert "1 files belong to no test case and are left alone: MCUCXR_9999_1.png" in (
        capsys.readouterr().out
    )


def test_without_a_suite_masks_join_the_one_that_has_the_protocol(tmp_path):
    assert home_of("m_to_s", tmp_path) == "smoke"
    assert "jsrt_160_40_40" in load_suite(home_of("jsrt_160_40_40", tmp_path)).protocols
    (tmp_path / "quick" / "cells" / "unet" / "m_to_s").mkdir(parents=True)
    assert home_of("m_to_s", tmp_path) == "quick"
    (tmp_path / "zoo" / "cells" / "unet" / "m_to_s").mkdir(parents=True)
    with pytest.raises(UserError, match="quick, zoo"):
        home_of("m_to_s", tmp_path)
    with pytest.raises(UserError, match="m_to_s"):
        home_of("nonsense", tmp_path)


def test_a_seed_below_zero_is_refused(untrained, phantom_root, capsys):
    given = arguments(untrained, phantom_root, masks=untrained, system="theirs", seed=-1)
    with pytest.raises(SystemExit):
        main(given)
    assert "no whole number from 0" in capsys.readouterr().err


def test_without_a_suite_the_rows_of_changed_cells_stay(own_folder, trained, phantom_root, capsys):
    runs, masks = own_folder / "runs", own_folder / "masks"
    (runs / "small").rename(runs / "smoke")  # cells that today's smoke would call outdated
    for path in runs.glob("smoke/cells/*/*/seed-0/cell.json"):
        path.write_text(path.read_text().replace('"small"', '"smoke"'))
        rows = pd.read_parquet(path.with_name("cases.parquet")).assign(suite="smoke")
        files = CellFolder(path.parent)
        files.update(**files.write_rows(pa.Table.from_pandas(rows, CASE_SCHEMA)))
    layouts(masks, trained[1], "png")
    given = ["score", "--masks", str(masks), "--system", "theirs", "--protocol", "m_to_s"]
    assert main([*given, "--runs", str(runs)]) == 0
    assert "suite smoke" in capsys.readouterr().out
    table = pd.read_csv(runs / "smoke/leaderboard/leaderboard.csv")
    assert set(table["system"]) == {"unet", "theirs"}
    assert not (runs / "phantoms").exists()
