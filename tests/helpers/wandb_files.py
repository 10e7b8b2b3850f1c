"""What a W&B run left on the disk, by wandb's own reader of its files."""

import json

from wandb.proto import wandb_internal_pb2
from wandb.sdk.internal.datastore import DataStore


def read_run(path):
    """Return a run's ids, groups, histories, summary, and its config, tags and type of job."""
    store = DataStore()
    store.open_for_scan(str(path))
    ids, histories, summary, groups = set(), [], {}, set()
    told = {"config": {}, "tags": set(), "job_type": set()}
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            ids.add(record.run.run_id)
            groups.add(record.run.run_group)
            told["tags"] |= set(record.run.tags)
            told["job_type"].add(record.run.job_type)
            told["config"] |= _values(record.run.config.update)
        elif kind == "config":
            told["config"] |= _values(record.config.update)
        elif kind == "history":
            histories.append(
                {"/".join(i.nested_key) or i.key: json.loads(i.value_json)
                 for i in record.history.item}
            )  # fmt: skip
        elif kind == "summary":
            for item in record.summary.update:
                summary["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    return ids, groups, histories, summary, told


def _values(items):
    return {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}
