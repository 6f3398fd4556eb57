"""Claims about accuracies of Table 3: what is known before, who needs paraphrases, who answers backward.

Thresholds are constants here and come from the paper's numbers; a change to one belongs in the change log.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from maskft.claims.judge import Claim, Quantity, Threshold, judge, register
from maskft.paper import CATEGORIES, DATASETS, Cell

SYNTHETIC_SCALES = ("tiny",)
UNKNOWN = Threshold("accuracy before fine-tuning", "below", 0.10, "0.072, the highest but on Wiki (Table 3)")
REVERSAL_CURSE = Threshold("AR backward accuracy", "at most", 0.10, "0.071, the highest (Table 1)")
PARAPHRASE_GAP = Threshold("AR forward gain by paraphrases", "at least", 0.30, "0.536, the lowest (Table 1)")
DLLM_LEARNS = Threshold("dLLM accuracy without paraphrases", "at least", 0.55, "0.696, the lowest (Table 3)")
DLLM_STEADY = Threshold("dLLM change by paraphrases", "at most", 0.25, "0.183, the largest (Table 3)")
MASKED_AR_LEARNS = Threshold("masked AR accuracy without paraphrases", "at least", 0.55, "0.598, the lowest (Table 3)")
WIKI_FORWARD_LIFT = Threshold("AR forward gain on Wiki", "above", 0.0, "0.308 (Table 2)")
WIKI_LIFT_RATIO = 2.0  # the paper: 0.308 / 0.114 = 2.7 (Table 2)
WIKI_LIFT_EXCESS = Threshold(
    f"AR forward gain on Wiki, less {WIKI_LIFT_RATIO:g} times the backward gain", "at least", 0.0, "0.308 against 0.114"
)


def _cells(method: str, paraphrases: str, datasets: Sequence[str], direction: str = "") -> list[Cell]:
    return [
        (dataset, method, paraphrases, category)
        for dataset in datasets
        for category in CATEGORIES[dataset]
        if category.endswith(direction)
    ]


def _each(cells: Sequence[Cell], threshold: Threshold) -> list[Quantity]:
    return [Quantity("/".join(cell), (cell,), float, threshold) for cell in cells]


def _with_paraphrases(cell: Cell) -> Cell:
    return (cell[0], cell[1], "same_order", cell[3])


REVERSIBLE = ("name_description", "biography")  # the data sets whose paraphrases all keep the order of the facts


@register
def new_facts_are_unknown(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> Claim:
    # The originals' Wiki cells start at 0.13 to 0.21: "due to the naturalness of this dataset, we could not
    # completely remove the effect of base knowledge" (Section 4). The synthetic twin has no such excuse.
    datasets = DATASETS if scale in SYNTHETIC_SCALES else REVERSIBLE
    cells = [cell for method in ("ar", "dllm") for cell in _cells(method, "before", datasets)]
    return judge(
        "new_facts_are_unknown",
        "Before fine-tuning, the models do not know the new facts.",
        "Section 3, Table 3 (before fine-tuning)",
        _each(cells, UNKNOWN),
        frame,
        scale,
    )


@register
def ar_needs_paraphrases_and_fails_backward(
    frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None
) -> Claim:
    backward = [c for kind in ("none", "same_order") for c in _cells("ar", kind, REVERSIBLE, "backward")]
    gains = [
        Quantity(
            f"{dataset}/ar/{category} gain by paraphrases",
            ((dataset, method, kind, category), (dataset, method, "same_order", category)),
            lambda without, with_paraphrases: with_paraphrases - without,
            PARAPHRASE_GAP,
        )
        for dataset, method, kind, category in _cells("ar", "none", REVERSIBLE, "forward")
    ]
    return judge(
        "ar_needs_paraphrases_and_fails_backward",
        "The autoregressive model needs paraphrases to answer forward questions, and fails backward ones even so.",
        "Section 4, Table 1",
        _each(backward, REVERSAL_CURSE) + gains,
        frame,
        scale,
    )


@register
def dllm_answers_both_directions(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> Claim:
    cells = _cells("dllm", "none", REVERSIBLE)
    changes = [
        Quantity(
            f"{cell[0]}/dllm/{cell[3]} change by paraphrases",
            (cell, _with_paraphrases(cell)),
            lambda without, with_paraphrases: abs(with_paraphrases - without),
            DLLM_STEADY,
        )
        for cell in cells
    ]
    return judge(
        "dllm_answers_both_directions",
        "The masked diffusion model answers both directions without paraphrases, which change little.",
        "Section 5, Table 3",
        _each(cells, DLLM_LEARNS) + changes,
        frame,
        scale,
    )


@register
def masked_ar_answers_both_directions(frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None) -> Claim:
    return judge(
        "masked_ar_answers_both_directions",
        "Masked fine-tuning lets the autoregressive model answer both directions without paraphrases.",
        "Section 6, Table 3",
        _each(_cells("masked_ar", "none", REVERSIBLE), MASKED_AR_LEARNS),
        frame,
        scale,
    )


@register
def masked_ar_does_so_from_the_control_base(
    frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None
) -> Claim:
    cells = _cells("masked_ar", "none", REVERSIBLE)
    claim = judge(
        "masked_ar_does_so_from_the_control_base",
        "Masked fine-tuning does so also from a base that never met the demask prompt.",
        "not in the paper, whose base is an instruct model; its numbers of Section 6, Table 3",
        _each(cells, MASKED_AR_LEARNS),
        control,
        scale,
    )
    main = masked_ar_answers_both_directions(frame, scale).obtained
    differences = {f"{label} less the main base's": claim.obtained[label] - main[label] for label in main}
    return replace(claim, obtained=claim.obtained | differences)


@register
def wiki_paraphrases_lift_ar_forward_more(
    frame: pd.DataFrame, scale: str, control: pd.DataFrame | None = None
) -> Claim:
    forward, backward = _cells("ar", "none", ["wiki"])
    f, b = (forward, _with_paraphrases(forward)), (backward, _with_paraphrases(backward))
    return judge(
        "wiki_paraphrases_lift_ar_forward_more",
        "On Wiki, same-order paraphrases lift the autoregressive model's forward accuracy far more than its backward.",
        "Section 4, Table 2",
        [
            Quantity("forward gain", f, lambda without, with_: with_ - without, WIKI_FORWARD_LIFT),
            Quantity("backward gain", b, lambda without, with_: with_ - without, None),
            Quantity(
                "forward gain less twice the backward gain",
                f + b,
                lambda f0, f1, b0, b1: (f1 - f0) - WIKI_LIFT_RATIO * (b1 - b0),
                WIKI_LIFT_EXCESS,
            ),
        ],
        frame,
        scale,
    )
