"""Claims about fixed mask ratios and random tokens, which the paper shows as curves only (Figures 4 and 9).

The bounds follow its words. "As effective" and "close to the level" allow 0.10, what `REVERSAL_CURSE` and `UNKNOWN` allow
for nothing at all.
"""

from maskft.claims.accuracy import REVERSAL_CURSE
from maskft.claims.cells import PAPER_HAS_NONE, REVERSIBLE, cells_of, each, total
from maskft.claims.judge import Quantity, Threshold, difference, register
from maskft.claims.results import Results
from maskft.paper import DATASETS

GOOD_RATIO = 0.75
RATIO_IS_AS_GOOD = Threshold(
    f"total accuracy with a fixed mask ratio of {GOOD_RATIO:g}, less with a random one", "at least", -0.10,
    'curves only: "as effective as using random mask ratios" (Section 7)',
)  # fmt: skip
RATIO_0_FAILS = Threshold(
    "masked AR total accuracy with a mask ratio of 0", "at most", 0.10,
    'curves only: "completely fails" (Section 7)',
)  # fmt: skip
AT_AR_LEVEL = Threshold(
    "total accuracy with random tokens, less plain AR's", "at most", 0.10,
    'curves only: "close to the level of naive arLLM fine-tuning" (Section 6)',
)  # fmt: skip
# Half of what the paper's masked AR is ahead of plain AR: with nothing to lose, a fall would mean nothing.
MASKS_MATTER = Threshold(
    "masked AR total accuracy without paraphrases, less with random tokens", "at least", 0.30,
    "0.626 ahead of plain AR, the lowest (Table 3)",
)  # fmt: skip
RANDOM_TOKENS_CURSE = Threshold(
    "backward accuracy with random tokens", "at most", REVERSAL_CURSE.value,
    'curves only: "suffer from reversal curse" (Figure 9), by plain AR\'s bound',
)  # fmt: skip


@register(
    f"A fixed mask ratio near {GOOD_RATIO:g} does as well as a random one, and a ratio of 0 fails.",
    "Section 7, Figure 4",
)
def a_fixed_ratio_is_enough_and_0_fails(results: Results) -> list[Quantity]:
    quantities = []
    for method in ("dllm", "masked_ar"):
        arm = ("name_description", method, "none")
        fixed = total("", arm, None, results.fixed_ratio(GOOD_RATIO), PAPER_HAS_NONE)
        label = f"{method} ratio {GOOD_RATIO:g} less random ratio"
        quantities.append(difference(label, fixed, total("", arm, None, results.main), RATIO_IS_AS_GOOD))
    arm = ("name_description", "masked_ar", "none")
    return [*quantities, total("masked_ar ratio 0", arm, RATIO_0_FAILS, results.fixed_ratio(0.0), PAPER_HAS_NONE)]


@register(
    "With random tokens for masks, masked fine-tuning falls to the level of plain fine-tuning, reversal curse included.",
    "Section 6, Figure 9",
)
def random_tokens_fall_to_plain_ar(results: Results) -> list[Quantity]:
    quantities = []
    for dataset in DATASETS:
        for kind in ("none", "same_order"):
            random = total("", (dataset, "masked_ar", kind), None, results.random_tokens, PAPER_HAS_NONE)
            plain = total("", (dataset, "ar", kind), None, results.main)
            masked = total("", (dataset, "masked_ar", kind), None, results.main)
            quantities.append(difference(f"{dataset}/{kind} random tokens less plain AR", random, plain, AT_AR_LEVEL))
            if kind == "none":
                quantities.append(difference(f"{dataset} masks less random tokens", masked, random, MASKS_MATTER))
    backward = [c for kind in ("none", "same_order") for c in cells_of("masked_ar", kind, REVERSIBLE, "backward")]
    curse = each(backward, RANDOM_TOKENS_CURSE, results.random_tokens, PAPER_HAS_NONE)
    return quantities + curse
