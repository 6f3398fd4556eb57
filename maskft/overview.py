"""The README's map of exhibits: claim, notebook, command, time, the paper's value and ours, from the committed records.

``maskft overview`` writes it between two comments of README.md; a test asserts that it is current.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from .exhibits import EXHIBITS, exhibit_runs
from .runs import RecordStore, write_atomically
from .scales import REPOSITORY, Scale

README = REPOSITORY / "README.md"
BEGIN, END = "<!-- exhibits: maskft overview -->", "<!-- end of exhibits -->"


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
    "claims": Row("all of them", "the paper's claims, judged"),
    "method_from_scratch": Row("–", "the method, built in short cells on one sentence"),
    "explore_generations": Row("–", "browse answers, watch the dLLM unmask, ask your own question"),
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
            verdicts = [claim["verdict"] for claim in claims.values()]
            value, numbers = "claims that hold", [str(len(verdicts)), str(verdicts.count("holds"))]
        cells = [row.title, row.shows, f"[{name}](notebooks/{name}.ipynb)", f"`maskft reproduce {name}`", _minutes(name, scale, store), value]
        lines.append("| " + " | ".join([*cells, *numbers]) + " |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _minutes(exhibit: str, scale: Scale, store: RecordStore) -> str:
    configs = exhibit_runs(exhibit, scale, [0])
    missing = set(store.missing(configs))
    seconds = sum(store.record(config)["wall_time_s"] for config in configs if config not in missing)
    return f"{'at least ' if missing else ''}{seconds / 60:.0f}" if configs else "0"


def write_overview(scale: Scale, readme: Path = README) -> Path:
    """Put the map between its two comments in the README.

    Raises:
        ValueError: If the README lacks one of them.
        OSError: See ``exhibit_map``.
    """
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{readme.name} lacks {BEGIN} or {END}; put both where the map belongs")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return write_atomically(readme, f"{before}{BEGIN}\n{exhibit_map(scale)}\n{END}{after}".encode())
