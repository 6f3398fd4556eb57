"""What a run is: its configuration, its identity, and the records it leaves.

A run is a value. `RunConfig` holds everything that can change a number, `RunConfig.run_id` names it, and a run that is
finished under that name is never trained again. Two places hold finished runs, behind the one interface `Store`:
`RunStore`, the working folders that training writes, and `RecordStore`, the small records that are committed beside the
tables and figures. This package knows no model, no tensor and no metric.

A run folder `ROOT/RUN_ID/` holds four files (and whatever else training chose to leave):

| file | one line holds |
| --- | --- |
| `run.json` | one object: `RECORD_FIELDS`, and the fields that `RunStore.publish` adds |
| `metrics.jsonl` | `METRIC_FIELDS`: one score of one category at one optimizer step |
| `losses.jsonl` | what training logs of its steps |
| `generations.jsonl` | `GENERATION_FIELDS`: one scored answer at one optimizer step |

A record `ROOT/RUN_ID.jsonl` holds the same in one file: a first line `{"kind": "run", ...}` with run.json and the
sha256 of everything in the file, then `{"kind": "metric", ...}` lines, then `{"kind": "generation", ...}` lines of a few
steps, without the question and the answer: the data set has them under `question_id`.

Beside its run folders a `RunStore` has hidden ones: `.partial/RUN_ID/` (a run in training; survives a kill, so that it
can resume), `.locks/`, `.corrupt/`, `.progress/PROCESS.json` (`PROGRESS_FIELDS`), `.failed/RUN_ID.txt` (a traceback),
`.logs/` (what workers print), `.slurm/` (jobs of a cluster and what they print).
"""

from maskft.runs.committed import RecordStore, Store
from maskft.runs.config import BY_NAME, HASH_NEUTRAL_DEFAULTS, IN_DOCUMENT, OWN_WORLD, RunConfig
from maskft.runs.files import (
    CORPUS_TEXTS,
    GENERATION_FIELDS,
    METRIC_FIELDS,
    PROGRESS_FIELDS,
    RECORD_FIELDS,
    RESUME_FOLDER,
    RecordError,
    read_record,
    write_atomically,
)
from maskft.runs.records import (
    CONFIG_COLUMNS,
    best_step,
    cut_paths,
    find_store,
    pack_records,
    read_generations,
    read_metrics,
    steps_to_keep,
    steps_to_pack,
)
from maskft.runs.store import WORKER, RunStore

__all__ = [
    "BY_NAME",
    "CONFIG_COLUMNS",
    "CORPUS_TEXTS",
    "GENERATION_FIELDS",
    "HASH_NEUTRAL_DEFAULTS",
    "IN_DOCUMENT",
    "METRIC_FIELDS",
    "OWN_WORLD",
    "PROGRESS_FIELDS",
    "RECORD_FIELDS",
    "RESUME_FOLDER",
    "WORKER",
    "RecordError",
    "RecordStore",
    "RunConfig",
    "RunStore",
    "Store",
    "best_step",
    "cut_paths",
    "find_store",
    "pack_records",
    "read_generations",
    "read_metrics",
    "read_record",
    "steps_to_keep",
    "steps_to_pack",
    "write_atomically",
]
