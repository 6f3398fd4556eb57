"""Settings of a cluster's jobs, read and checked before any job is given; and submitit, imported where it does no harm."""

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SETTINGS_FILE = "MASKFT_SLURM"  # the environment variable that names a YAML file of settings
SUBMITIT_LOGGING = "SUBMITIT_LOG_LEVEL"  # the environment variable that submitit's import reads
SETTINGS = {
    "timeout_min": 24 * 60,  # of one attempt; a job that needs more goes on from its last checkpoint
    "max_num_timeout": 20,  # attempts that may run out of time
    "signal_delay_s": 120,  # before the limit: for the training to save its state
}
# submitit tells other values by an assertion, or leaves them to sbatch.
WHOLE = (*SETTINGS, "array_parallelism", "cpus_per_task", "cpus_per_gpu", "gpus_per_node", "gpus_per_task", "num_gpus", "time")


def read_settings(given: Sequence[str] = ()) -> dict[str, Any]:
    """Settings of jobs: of the YAML file that `MASKFT_SLURM` names, then those given as KEY=VALUE.

    Args:
        given: for example `partition=gpu`, `timeout_min=600`. Keys are submitit's; values are read as YAML.

    Raises:
        ValueError: a key is unknown, a value is not of its kind, a text is not KEY=VALUE, or something is no YAML.
        OSError: the file cannot be read.
        ModuleNotFoundError: submitit is not installed.
    """
    known, settings = _known_settings(), dict(SETTINGS)
    if path := os.environ.get(SETTINGS_FILE):
        content = _yaml(Path(path).read_text(), f"{SETTINGS_FILE}={path}") or {}
        if not isinstance(content, dict):
            raise ValueError(f"{SETTINGS_FILE}={path}: the file must hold KEY: VALUE lines, for example partition: gpu")
        settings |= content
    for text in given:
        key, is_pair, value = text.partition("=")
        if not is_pair:
            raise ValueError(f"--slurm {text!r} is not KEY=VALUE, for example partition=gpu")
        settings[key] = _yaml(value, f"--slurm {text!r}")
    for key, value in settings.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=3)
            raise ValueError(f"unknown Slurm setting {key!r}; " + (f"did you mean {', '.join(close)}?" if close else f"there are {', '.join(known)}"))
        if key in WHOLE and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise ValueError(f"Slurm setting {key}={value!r} must be a whole number from 1")
        if key == "additional_parameters" and not isinstance(value, Mapping):
            raise ValueError(f"Slurm setting {key}={value!r} must hold KEY: VALUE of sbatch, for example {{reservation: mine}}")
    return settings


def _yaml(text: str, where: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is no YAML: {' '.join(str(error).split())}") from None


def _known_settings() -> list[str]:
    submitit = import_submitit()
    mine = {"name", "tasks_per_node", "ntasks_per_node", "nodes"}  # the launcher's to say
    known = submitit.AutoExecutor._valid_parameters() | submitit.SlurmExecutor._valid_parameters() | {"max_num_timeout"}
    return sorted(known - mine)


def import_submitit() -> Any:
    """submitit. Raises ModuleNotFoundError, which says how to get it."""
    # At its import submitit configures logging for the whole process, which closes the handlers of everybody else and their
    # streams (absl's has the sys.stderr of its time), unless it is told not to. A job's own process still configures it.
    given = os.environ.get(SUBMITIT_LOGGING)
    os.environ[SUBMITIT_LOGGING] = "NOCONFIG"
    try:
        import submitit
    except ModuleNotFoundError:
        raise ModuleNotFoundError("the Slurm executor needs submitit: pip install 'maskft[slurm]'") from None
    finally:
        del os.environ[SUBMITIT_LOGGING]
        if given is not None:
            os.environ[SUBMITIT_LOGGING] = given
    return submitit
