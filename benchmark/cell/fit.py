"""One cell in one process: train (or resume), test, write the rows."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.utilities.exceptions import SIGTERMException

from benchmark.cell.cell import INTERRUPTED
from benchmark.cell.checkpoints import EpochCheckpoint, find_resumable, load_weights, weights_fault
from benchmark.cell.cli import CellCLI, under_srun
from benchmark.cell.config_check import check_keys
from benchmark.cell.gallery import Tested, keep_gallery
from benchmark.cell.identity import Identity
from benchmark.cell.ownership import Owner, clear_leftovers
from benchmark.cell.peers import Peers
from benchmark.cell.results import commit, in_order, versions, write_rows
from benchmark.cell.seal import identity_of_edited, sealed
from benchmark.failures import explain, is_of_machine
from benchmark.gpus import CELLS_PER_GPU
from benchmark.planning.changes import changes_by_flags, is_hardware, what_it_is
from benchmark.progress import say, shown
from benchmark.start import add_code_folders
from benchmark.tracking.tracker import make_tracker
from contract.cell_folder import CellFolder, CheckpointFolder
from contract.cell_record import CellRecord
from contract.errors import UserError
from contract.files import digest_of, digest_of_bytes, hash_of_text, write_atomically
from contract.machine import own_cores
from contract.yaml_files import read_yaml, yaml_text
from datamodules.base import ProtocolDataModule
from lightning_modules.segmenter import Segmenter


def fit(
    config: Path,
    out: Path,
    extra: Sequence[str] = (),
    checkpoint: Path | None = None,
    checkpoint_every_s: float = 30.0,
) -> None:
    """Train and test one cell in this process, resuming where it was interrupted.

    Args:
        config: the cell's config.
        out: the cell's folder; a finished cell of the same identity is left alone.
        extra: further LightningCLI arguments, such as ``--trainer.max_epochs=3``.
        checkpoint: test these weights instead of training.
        checkpoint_every_s: seconds between two checkpoints; the last epoch is always saved.

    Raises:
        UserError: if the config or the folder is not usable, or another process works there.
    """
    identity = _read_identity(config, extra)
    own_cores()  # a number that is none is told now, not when the test begins
    peers = Peers(out, _rank())
    if _rank() == 0:
        with Owner(out) as owner:
            clear_leftovers(out)

            def give_up(error: BaseException) -> None:
                _record_end(CellFolder(out), error)
                owner.release()

            peers.when_lost(give_up)
            _fit(config, out, extra, identity, checkpoint, checkpoint_every_s, peers)
    else:
        _fit(config, out, extra, identity, checkpoint, checkpoint_every_s, peers)


def _rank() -> int:
    """Return this process's number; Lightning, or srun, started those after 0, which speaks."""
    return int(os.environ.get("SLURM_PROCID" if under_srun() else "LOCAL_RANK", "0"))


def _fit(
    config: Path,
    out: Path,
    extra: Sequence[str],
    identity: dict[str, Any],
    checkpoint: Path | None,
    checkpoint_every_s: float,
    peers: Peers,
) -> None:
    add_code_folders(identity["code_folders"])
    first = _rank() == 0
    files = CellFolder(out)
    record = files.record
    if record.config_hash not in (None, identity["config_hash"]):
        raise UserError(
            out,
            f"a cell of configuration {record.config_hash}",
            f"{identity['config_hash']} or an empty folder",
            "choose another --out",
        )
    if record.is_done and checkpoint is None and (first or under_srun()):
        doubt = files.doubt(record, (identity["system"], identity["protocol"], identity["seed"]))
        if not doubt:
            say(f"{out} is done already; nothing to do")
            return
        say(f"{out}: {doubt}; tested again")
    spent = 0.0 if checkpoint is not None and record.is_done else _spent(record, files)
    started = time.time()
    names = ("suite", "system", "protocol", "seed", "train_on", "test_on", "config_hash")
    if first:
        files.update(
            **{name: identity[name] for name in names},
            **what_it_is(identity["changes"], identity["baseline"]),
            state="running",
            reason="",
            host=platform.node(),
            started=started,
            wall_s=round(spent, 2),
        )
    try:
        result = _run_folds(config, out, extra, identity, checkpoint, checkpoint_every_s, peers)
    except BaseException as error:
        cause = peers.first_error(error)
        if first:
            now = time.time()
            _record_end(files, cause, wall_s=round(spent + now - started, 2), ended=now)
        if cause is not error:
            raise cause from None
        raise
    if first and result:
        wall = spent + time.time() - started
        files.update(
            state="done",
            reason="",
            wall_s=round(wall, 2),
            gpu_hours=round(gpu_hours(wall, result["processes"], result["device"]), 4),
            finished=time.time(),
            **result,
        )
        files.progress.unlink(missing_ok=True)


def gpu_hours(wall_s: float, processes: int, device: str) -> float:
    """Return a cell's share of the hours of its GPUs, which it may share with other cells.

    Args:
        wall_s: its wall-clock time, seconds.
        processes: those that trained it, one a GPU.
        device: in words; ``cpu`` costs no GPU.
    """
    gpus = 0 if device == "cpu" else processes
    return wall_s * gpus / int(os.environ.get(CELLS_PER_GPU, "1")) / 3600


def _spent(record: CellRecord, files: CellFolder) -> float:
    """Return the seconds of earlier starts, of killed ones as far as they told of themselves."""
    told, began = record.wall_s or 0.0, record.started or 0.0
    if not began or (record.ended or 0.0) > began:
        return told
    try:
        last = files.progress.stat().st_mtime
    except OSError:
        return told
    return told + max(0.0, last - began)


def _record_end(files: CellFolder, error: BaseException, **facts: Any) -> None:
    """Record what ended the cell; an interruption is no failure, the cell goes on another time."""
    interrupted = isinstance(error, (KeyboardInterrupt, SIGTERMException))
    told = explain(error)
    if isinstance(error, SystemExit):
        told = f"code that the config names ended the process (exit code {error.code})"
    state, reason = ("pending", INTERRUPTED) if interrupted else ("failed", told)
    try:
        files.update(state=state, reason=reason, **facts)
    except OSError as second:
        say(f"{files.path}: {reason}; and that could not be recorded: {explain(second)}")


def _read_identity(config: Path, extra: Sequence[str]) -> dict[str, Any]:
    """Return the config's ``cell`` section; overrides that change results change its hash."""
    settings = read_yaml(config)
    check_keys(config, settings)
    stated = asdict(Identity(**settings["cell"]))
    identity = identity_of_edited(stated, settings)
    if identity != stated and _rank() == 0:
        say(
            f"{config} was edited since {stated['config_hash']} was composed: this is a cell of "
            f"its own, {identity['config_hash']}, whose rows are marked as of a changed system"
        )
    flags = [flag for flag in extra if not is_hardware(flag)]
    if flags:
        text = json.dumps([identity["config_hash"], flags])
        identity["changes"] = [*identity["changes"], *changes_by_flags(settings, flags)]
        identity["config_hash"] = hash_of_text(text)
    return identity


def _run_folds(
    config: Path,
    out: Path,
    extra: Sequence[str],
    identity: dict[str, Any],
    checkpoint: Path | None,
    checkpoint_every_s: float,
    peers: Peers,
) -> dict[str, Any] | None:
    """Train and test every fold (most protocols have one); return what the record should say."""
    tracker = make_tracker(out, identity)
    flags = [*extra, f"--cell.config_hash={identity['config_hash']}"]
    rows: list[dict[str, Any]] = []
    facts: list[dict[str, Any]] = []
    tested: list[Tested] = []
    # Before it is read: an edit in between is none that the record would vouch for.
    fold, folds, config_digest = 0, 1, digest_of(config)
    while fold < folds:
        place = CellFolder(out).checkpoints(fold).path
        more = [*flags, f"--data.init_args.fold={fold}"] if fold else flags
        cli = CellCLI(config, out, more, checkpoint_every_s, tracker, place, peers)
        if tracker is not None and not fold:
            tracker.describe(cli.config_dump)
        if cli.trainer.is_global_zero and not fold:
            kept = CellFolder(out).config
            if config.resolve() != kept.resolve():
                config_digest = _keep_config(cli, identity, kept)
        found, told = _train_and_test(cli, out, identity, checkpoint)
        rows += found
        facts.append(told)
        weights = checkpoint or CheckpointFolder(cli.checkpoints).weights(identity["checkpoint"])
        tested.append(Tested(weights, cli.datamodule))
        # Weights handed in belong to one fold; a cell's own run tests all.
        folds = cli.datamodule.protocol.fold_count if checkpoint is None else 1
        fold += 1
    if not cli.trainer.is_global_zero:
        return None
    columns = {key: identity[key] for key in ("suite", "system", "protocol", "seed", "train_on")}
    marks = {"phantom": cli.datamodule.phantom, "reduced": bool(identity["changes"])}
    vouched = write_rows(out, rows, **columns, **marks)
    if tracker is not None:
        tracker.summarise(rows, facts[0])
    keep_gallery(out, cli.trainer, cli.model, tested, rows)
    summed = {"n_test": sum(told.pop("n_test") for told in facts)}
    epochs = [told.pop("tested_epoch") for told in facts]
    summed["tested_epochs"] = [] if None in epochs else epochs
    summed["split_hash"] = "+".join(told.pop("split_hash") for told in facts)
    return {
        **facts[0],
        **summed,
        **vouched,
        "config_digest": config_digest,
        "folds": len(facts),
        "versions": versions(),
        "commit": commit(),
        "wandb_id": tracker.run_id if tracker else None,
    }


def _keep_config(cli: CellCLI, identity: dict[str, Any], kept: Path) -> str:
    """Let a cell's folder hold the config that it is run by; return the file's digest."""
    settings = yaml.safe_load(cli.parser.dump(cli.config, skip_none=False))
    settings["cell"]["changes"] = identity["changes"]
    content = yaml_text(sealed(settings)).encode()
    write_atomically(kept, content)
    return digest_of_bytes(content)


def _train(cli: CellCLI, resume: Path | None) -> None:
    """Train to the end, from a checkpoint if there is one.

    Raises:
        UserError: if the checkpoint cannot be resumed from after all, or the network does not fit.
        KeyboardInterrupt: on Ctrl-C.
    """
    try:
        with _interruptions():
            cli.trainer.fit(
                cli.model, datamodule=cli.datamodule, ckpt_path=resume, weights_only=True
            )
    except UserError as error:
        cause = error.__cause__
        if cause is not None and is_of_machine(cause):
            raise cause from None  # a network that ran out of memory is not at fault
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if resume is None or _has_begun(cli.trainer) or is_of_machine(error):
            raise
        found = f"a start from it that failed before the first step ({explain(error)})"
        expected = "a checkpoint of this system and these libraries"
        raise UserError(resume, found, expected, "delete it; an older one serves") from error
    if cli.trainer.interrupted:
        raise KeyboardInterrupt


@contextmanager
def _interruptions() -> Iterator[None]:
    """Let Ctrl-C be what it is: Lightning ends the process by ``sys.exit(1)`` on it."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _has_begun(trainer: pl.Trainer) -> bool:
    found = trainer.checkpoint_callbacks
    return any(isinstance(one, EpochCheckpoint) and one.has_begun for one in found)


def _train_and_test(
    cli: CellCLI, out: Path, identity: dict[str, Any], checkpoint: Path | None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return one fold's rows in order, and what the record should say of it."""
    trainer, module, data = cli.trainer, cli.model, cli.datamodule
    assert isinstance(module, Segmenter) and isinstance(data, ProtocolDataModule)
    if trainer.is_global_zero:
        data.progress = shown
    if checkpoint is None:
        checkpoint = CheckpointFolder(cli.checkpoints).weights(identity["checkpoint"])
        resume, complete, remarks = find_resumable(cli.checkpoints, identity["config_hash"], module)
        for remark in remarks:
            say(remark)
        fault = weights_fault(checkpoint, module) if complete else ""
        if fault:
            say(f"{checkpoint.name} {fault}; training starts anew")
            resume, complete = None, False
        if resume is not None:
            say(f"resuming from {resume.name}")
        if not complete:
            _train(cli, resume)
    trainer.strategy.barrier()
    tested = load_weights(module, checkpoint)
    with _interruptions():
        trainer.test(module, datamodule=data, verbose=False)
    assert data.split is not None
    return in_order(cli.case_rows.rows, data.split), {
        "tested_epoch": tested.get("epochs"),
        "val_dice": tested.get("val_dice"),
        "n_train": len(data.split.train),
        "n_validation": len(data.split.validation) if trainer.limit_val_batches else 0,
        "n_test": len(data.split.test),
        "split_hash": data.split.digest,
        "phantom": data.phantom,
        **cli.meter.measured(trainer, module),
    }
