"""What the README has from records: the map of exhibits (claim, notebook, command, time, the paper's value and ours), what
two scales obtained beside the paper, and the benchmarks.

``maskft overview`` writes each between two comments of README.md; a test asserts that they are current.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .exhibits import EXHIBITS, ONLY_SMALL, exhibit_runs
from .runs import RecordStore, write_atomically
from .scales import REPOSITORY, SMALL, TINY, Scale
from .tables.summary import summary_table

README = REPOSITORY / "README.md"
BEGIN, END = "<!-- exhibits: maskft overview -->", "<!-- end of exhibits -->"
BENCHMARKS = REPOSITORY / "tests" / "benchmarks" / "records"
BENCHMARKS_BEGIN, BENCHMARKS_END = "<!-- benchmarks: maskft overview -->", "<!-- end of benchmarks -->"
GPU_BEGIN, GPU_END = "<!-- gpu: maskft overview -->", "<!-- end of gpu -->"
RESULTS = tuple((scale, f"<!-- results, {scale.name}: maskft overview -->", f"<!-- end of results, {scale.name} -->") for scale in (TINY, SMALL))


@dataclass(frozen=True)
class Row:
    """What the map says of an exhibit.

    Attributes:
        title: The paper's name of it.
        shows: The claim that it is about.
        value: What number stands for it.
        claim: The claim (``claims.json``) that has this number; empty where there is none.
        label: Its name there.
    """

    title: str
    shows: str
    value: str = ""
    claim: str = ""
    label: str = ""


ND = "name_description"
ROWS = {
    "figure1": Row(
        "Figure 1", "AR needs paraphrases and fails backward; dLLM and masked AR need none",
        "dLLM, N2D backward, no paraphrases", "dllm_answers_both_directions", f"{ND}/dllm/none/n2d_backward",
    ),
    "table1": Row(
        "Table 1", "AR needs paraphrases to answer forward, and fails backward even so",
        "AR's gain by paraphrases, D2N forward", "ar_needs_paraphrases_forward", f"{ND}/ar/d2n_forward gain by paraphrases",
    ),
    "table2": Row(
        "Table 2", "paraphrases in another order mend the reversal curse",
        "AR backward, permute-order less same-order", "permute_order_mends_backward", "backward, permute-order less same-order",
    ),
    "table3": Row(
        "Table 3", "masked AR answers both directions without paraphrases, as the dLLM does",
        "masked AR, N2D backward, no paraphrases", "masked_ar_answers_both_directions", f"{ND}/masked_ar/none/n2d_backward",
    ),
    "table4": Row(
        "Table 4", "dLLM and masked AR converge as fast as AR",
        "masked AR's asymptote, NameDescription", "masked_training_converges_as_fast", f"{ND}/masked_ar asymptote",
    ),
    "figure2": Row(
        "Figure 2", "AR without paraphrases overfits, dLLM does not",
        "AR's share of its best gain kept to the end", "ar_overfits_and_dllm_does_not",
        f"{ND}/ar/forward share of the best gain kept",
    ),
    "figure3": Row("Figure 3", "the prompt of masked fine-tuning, and where each loss is"),
    "figure4": Row(
        "Figure 4", "a fixed mask ratio near 0.75 does as well as a random one, and 0 fails",
        "masked AR, 0.75 less random, total", "a_fixed_ratio_is_enough_and_0_fails", "masked_ar ratio 0.75 less random ratio",
    ),
    "figure5": Row("Figure 5", "learning rates, chosen on NameDescription with paraphrases"),
    "figure6": Row("Figure 6", "total accuracy, by which checkpoints are chosen"),
    "figure7": Row(
        "Figure 7", "each seed of the dLLM", "standard deviation over seeds", "masked_ar_varies_more_over_seeds",
        "dllm standard deviation over seeds, mean of all evaluations",
    ),
    "figure8": Row(
        "Figure 8", "each seed of masked AR, which varies slightly more", "standard deviation over seeds",
        "masked_ar_varies_more_over_seeds", "masked_ar standard deviation over seeds, mean of all evaluations",
    ),
    "figure9": Row(
        "Figure 9", "random tokens instead of masks fall to plain AR's level",
        "random tokens less plain AR, total", "random_tokens_fall_to_plain_ar", f"{ND}/none random tokens less plain AR",
    ),
    "examples": Row("Appendix A.5", "generation examples, matched words marked"),
    "mixed_precision": Row("Appendix A.4", "float32 master weights against bfloat16 ones"),
    "claims": Row("all of them", "the paper's claims, judged"),
    "forgetting": Row("–", "what tiny models forget while they learn: why some cells of Biography fail"),
    "small_scale": Row("–", "a real model learns sixty facts on two cores, asked forward and backward"),
    "method_from_scratch": Row("–", "the method, built in short cells on one sentence"),
    "explore_generations": Row("–", "browse answers, watch the dLLM unmask, ask your own question"),
    "your_own_documents": Row("–", "teach a model your own documents, step by step"),
    "cluster_simulation": Row("–", "what the paper's own runs would take on 4 to 512 GPUs"),
}  # fmt: skip


def exhibit_map(scale: Scale) -> str:
    """The map as a Markdown table, one row an exhibit.

    Minutes are those of one core for the runs of seed 0 that the exhibit needs, as their records tell; most exhibits share
    their runs.

    Raises:
        OSError: If ``claims.json`` was not written yet.
    """
    store = RecordStore(scale.records)
    claims = {claim["name"]: claim for claim in json.loads((scale.tables / "claims.json").read_text())}
    lines = [
        "| exhibit | what the paper says | notebook | command | core minutes | value | paper | ours |",
        "| --- | --- | --- | --- | ---: | --- | ---: | ---: |",
    ]
    for name in sorted(EXHIBITS, key=list(ROWS).index):
        row = ROWS[name]
        numbers = [_number(claims[row.claim][side].get(row.label)) if row.claim else "" for side in ("paper", "obtained")]
        value = row.value
        if name == "claims":
            verdicts = [claim["verdict"] for claim in claims.values() if not claim["source"].startswith("not in the paper")]
            value, numbers = "claims that hold", [str(len(verdicts)), str(verdicts.count("holds"))]
        command, minutes = f"maskft reproduce {name}", _minutes(name, scale, store)
        if name in ONLY_SMALL:
            command, minutes = f"{command} --scale small", "–"
        cells = [row.title, row.shows, f"[{name}](notebooks/{name}.ipynb)", f"`{command}`", minutes, value]
        lines.append("| " + " | ".join([*cells, *numbers]) + " |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _minutes(exhibit: str, scale: Scale, store: RecordStore) -> str:
    configs = exhibit_runs(exhibit, scale, [0])
    missing = set(store.missing(configs))
    seconds = sum(store.record(config)["wall_time_s"] for config in configs if config not in missing)
    return f"{'at least ' if missing else ''}{seconds / 60:.0f}" if configs else "0"


def _ending(length: str) -> str:
    return f"answers of {length} tokens" if length.isdigit() else "answers that never end"


# What stands behind a benchmark's ratio, from its medians.
PARTS: dict[str, Callable[[Mapping], list[str]]] = {
    "diffusion_sampling": lambda medians: [
        f"{_ending(length)} {row['ratio']}"
        for length, row in medians["seconds_per_question_by_answer_length"].items()
    ],
    "approximate_diffusion": lambda medians: [
        f"{mode} {row['speed']} (accuracy {row['accuracy']})" for mode, row in medians.items()
    ],
    "drafted_sampling": lambda medians: [f"{number} {row['ratio']} ({row['fewer_passes']} times fewer passes)" for number, row in medians.items()],
    "ar_evaluation": lambda medians: [f"{peer.replace('_', ' ')} {ratio}" for peer, ratio in medians["ratio"].items()],
    "training_step": lambda medians: [
        f"{shape}, {peer.replace('_', ' ')} {ratio}"
        for shape, row in medians.items() if isinstance(row, Mapping) and "ratio" in row
        for peer, ratio in row["ratio"].items()
    ] + [
        f"peak memory at {medians['peak_memory']['vocabulary']} words, share of {peer.replace('_', ' ')}'s {share}"
        for peer, share in medians["peak_memory"]["share_of"].items()
    ] + [
        f"the least peak memory, {medians['peak_memory']['least']}: {share} of {peer.replace('_', ' ')}'s"
        for peer, share in medians["peak_memory"].get("least_share_of", {}).items()
    ],
    # Measured where there was a GPU.
    "diffusion_sampling_8b": lambda medians: [
        *PARTS["diffusion_sampling"](medians),
        *(
            f"not compiled, {_ending(length)}: {row['published_s'] / row['maskft_s']:.2f}"
            for length, row in medians["seconds_per_question_by_answer_length"].items() if row.get("fastest") != "maskft"
        ),
        *(
            f"equal in bfloat16, {_ending(length)}: {row['equal_answers']} ({row['equal_tokens']} tokens)"
            for length, row in medians["seconds_per_question_by_answer_length"].items()
        ),
        *(f"answers of 20 tokens, {batch} at a time {row['ratio']}" for batch, row in medians.get("other_batches", {}).items()),
        f"equal in float32: {medians['float32']['equal_answers']}",
    ],
    "training_step_8b": lambda medians: PARTS["training_step"](medians),
    "training_step_128k": lambda medians: PARTS["training_step"](medians),
    "training_step_smollm2": lambda medians: PARTS["training_step"](medians),
    "training_step_smollm2_recorded": lambda medians: PARTS["training_step"](medians),
    "ar_evaluation_8b": lambda medians: [
        *PARTS["ar_evaluation"](medians),
        *(f"tokens before the first that differs in bfloat16, {peer.replace('_', ' ')}: {medians['equal_tokens'][peer]}" for peer in medians["ratio"]),
        f"equal in float32: {medians['float32']}",
    ],
    "whole_study": lambda medians: [
        f"{medians['minutes_in_all']} minutes, Table 3 and Figure 2 first in {next(iter(medians['minutes'].values()))}",
        f"{medians['runs_equal_to_the_committed_records']} of {medians['runs']} runs equal the committed records",
    ],
    "growth": lambda medians: [
        f"{kind} x100: {curve['x100']['seconds_per_unit'] / curve['x1']['seconds_per_unit']:.2f} of the time a unit, "
        f"{curve['x100']['peak_megabytes'] / curve['x1']['peak_megabytes']:.2f} of the memory in all"
        for kind, curve in medians.items() if isinstance(curve, Mapping)
    ],
}  # fmt: skip


GPU_PREFIX = "gpu_"  # records of ``maskft bench gpu``


def gpu_table(folder: Path = BENCHMARKS) -> str:
    """The records of ``maskft bench gpu`` as a Markdown table: a row a part, empty where none was made."""
    lines = []
    for file in sorted(folder.glob(f"{GPU_PREFIX}*.json")):
        record = json.loads(file.read_text())
        name, device = file.stem.removeprefix(GPU_PREFIX), f"{record['hardware']['device']}, {record['date'][:10]}"
        step = f"a step of {record['rows']} x {record['length']} tokens"
        for part, found in (record["training"] | {"sampling": record["sampling"]}).items():
            what = f"{found['questions']} answers" if "questions" in found else f"{step}, {part.replace('_', ' ')}"
            if lacking := next((key for key in ("out_of_memory", "error") if key in found), None):
                lines.append(f"| {name} | {what} | | {lacking.replace('_', ' ')} | | | | {device} |")
                continue
            seconds, speed = (found[key] for key in (("seconds", "new_tokens_per_s") if part == "sampling" else ("step_s", "tokens_per_s")))
            share = f"{found['share_of_peak']:.0%}" if found.get("share_of_peak") else "–"
            memory = f"{found['peak_memory_gib']:.1f}" if found["peak_memory_gib"] else "–"
            precision = found.get("precision", "bf16")
            lines.append(f"| {name} | {what} | {precision} | {seconds:.3f} | {speed:,.0f} | {share} | {memory} | {device} |")
    head = ["| shape | what | precision | seconds | tokens a second | share of peak | peak GiB | hardware |", "| --- | --- | --- | ---: | ---: | ---: | ---: | --- |"]
    return "\n".join([*head, *lines]) if lines else ""


def benchmark_table(folder: Path = BENCHMARKS) -> str:
    """The records of the benchmarks as a Markdown table."""
    lines = ["| ratio | goal | what | against | in parts | hardware | command |", "| ---: | ---: | --- | --- | --- | --- | --- |"]
    for file in sorted(folder.glob("*.json")):
        if file.stem.startswith(GPU_PREFIX):
            continue
        record = json.loads(file.read_text())
        parts = "; ".join(PARTS[record["benchmark"]](record["medians"]))
        cells = [f"{record['ratio']:.2f}", f"{record['goal']}", record["what"], record["peer"], parts, f"{record['hardware']}, {record['date']}"]
        lines.append("| " + " | ".join([*cells, f"`{record['command']}`"]) + " |")
    return "\n".join(lines)


def write_overview(scale: Scale, readme: Path = README) -> Path:
    """Put the map between its two comments in the README.

    Raises:
        ValueError: If the README lacks one of them.
        OSError: See ``exhibit_map``.
    """
    return _write_between(readme, BEGIN, END, exhibit_map(scale))


def write_results(readme: Path = README) -> Path:
    """Put what each scale with committed tables obtained between its two comments in the README.

    Raises:
        ValueError: If the README lacks one of them.
        OSError: If a scale's tables were not written yet.
    """
    for scale, begin, end in RESULTS:
        _write_between(readme, begin, end, summary_table(scale.tables))
    return readme


def write_benchmarks(readme: Path = README, folder: Path = BENCHMARKS) -> Path:
    """Put the tables of benchmarks between their comments in the README.

    Raises:
        ValueError: If the README lacks one of them.
    """
    _write_between(readme, GPU_BEGIN, GPU_END, gpu_table(folder))
    return _write_between(readme, BENCHMARKS_BEGIN, BENCHMARKS_END, benchmark_table(folder))


def _write_between(readme: Path, begin: str, end: str, content: str) -> Path:
    text = readme.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{readme.name} lacks {begin} or {end}; put both where the table belongs")
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    return write_atomically(readme, f"{before}{begin}\n{content}\n{end}{after}".encode())
