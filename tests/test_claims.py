"""Claims on made-up results: the paper's own numbers hold, and each claim fails for its own reason."""

import json
import math

import pandas as pd
import pytest

from maskft.claims import CLAIMS, Claim, Quantity, Threshold, accuracy, check_claims, claims_table, judge, write_claims
from maskft.claims.judge import register
from maskft.paper import TABLE3

NAMES = [
    "new_facts_are_unknown",
    "ar_needs_paraphrases_and_fails_backward",
    "dllm_answers_both_directions",
    "masked_ar_answers_both_directions",
    "masked_ar_does_so_from_the_control_base",
    "wiki_paraphrases_lift_ar_forward_more",
]


def results(n_seeds=4, **changes) -> pd.DataFrame:
    """A tidy frame with the paper's cells as results; `changes` sets cells by "dataset/method/paraphrases/category"."""
    cells = {"/".join(cell): value for cell, value in TABLE3.items()} | changes
    rows = []
    for cell, value in cells.items():
        dataset, method, paraphrases, category = cell.split("/")
        shared = {"dataset": dataset, "method": method, "paraphrases": paraphrases, "category": category}
        for metric, obtained in (("accuracy", value), ("exact_match", 0.0)):
            rows.append(shared | {"metric": metric, "obtained": obtained, "std": 0.0, "n_seeds": n_seeds})
    return pd.DataFrame(rows)


WIKI_UNKNOWN = {f"wiki/{m}/before/{d}": 0.0 for m in ("ar", "dllm") for d in ("forward", "backward")}


def verdicts(frame, scale="paper", control=None) -> dict[str, str]:
    return {claim.name: claim.verdict for claim in check_claims(frame, scale, control)}


def test_the_paper_s_own_numbers_hold_at_the_paper_s_scale():
    assert verdicts(results(), control=results()) == dict.fromkeys(NAMES, "holds")


def test_at_the_tiny_scale_wiki_must_be_unknown_too():
    """The paper's Wiki cells start at 0.127 and above, which a synthetic world has no reason for."""
    assert verdicts(results(), "tiny")["new_facts_are_unknown"] == "fails"
    assert verdicts(results(**WIKI_UNKNOWN), "tiny")["new_facts_are_unknown"] == "holds"


@pytest.mark.parametrize(
    ("cell", "still_holds", "breaks", "claim"),
    [
        ("biography/dllm/before/backward", 0.0999, 0.1, NAMES[0]),
        ("name_description/ar/none/d2n_backward", 0.1, 0.1001, NAMES[1]),
        ("biography/ar/same_order/backward", 0.1, 0.1001, NAMES[1]),
        ("biography/ar/none/forward", 0.662, 0.6621, NAMES[1]),  # 0.962 with paraphrases, less 0.3
        ("name_description/dllm/none/n2d_forward", 0.75, 0.5499, NAMES[2]),
        ("name_description/dllm/same_order/d2n_backward", 0.54, 0.5399, NAMES[2]),  # 0.790 without, less 0.25
        ("biography/masked_ar/none/backward", 0.55, 0.5499, NAMES[3]),
        ("wiki/ar/same_order/backward", 0.436, 0.4361, NAMES[5]),  # 0.282 + half the forward gain of 0.308
        ("wiki/ar/same_order/forward", 0.605, 0.6049, NAMES[5]),  # 0.377 + twice the backward gain of 0.114
    ],
)
def test_each_claim_turns_at_its_threshold(cell, still_holds, breaks, claim):
    assert verdicts(results(**{cell: still_holds}))[claim] == "holds"
    after = verdicts(results(**{cell: breaks}))
    assert after[claim] == "fails"
    others = [name for name in NAMES if name not in (claim, "masked_ar_does_so_from_the_control_base")]
    assert all(after[name] == "holds" for name in others)


def test_the_dllm_threshold_is_0_55_where_paraphrases_stay_near():
    """Both cells move together, so that only the lower bound can break."""
    cells = ("biography/dllm/none/backward", "biography/dllm/same_order/backward")
    assert verdicts(results(**dict.fromkeys(cells, 0.55)))["dllm_answers_both_directions"] == "holds"
    assert verdicts(results(**dict.fromkeys(cells, 0.549)))["dllm_answers_both_directions"] == "fails"


def test_a_backward_gain_below_zero_does_not_save_a_forward_gain_of_zero():
    """Forward 0.377 to 0.377 gains 0; backward falls by 0.1: excess 0.2, and yet no lift."""
    frame = results(**{"wiki/ar/same_order/forward": 0.377, "wiki/ar/same_order/backward": 0.182})
    assert verdicts(frame)["wiki_paraphrases_lift_ar_forward_more"] == "fails"


@pytest.mark.parametrize("value", [math.nan, None])
def test_a_missing_cell_means_not_run_even_where_another_fails(value):
    cells = {"biography/masked_ar/none/backward": value, "biography/masked_ar/none/forward": 0.1}
    claim = next(c for c in check_claims(results(**cells), "paper") if c.name == NAMES[3])
    assert (claim.verdict, claim.failing, claim.n_seeds) == ("not run", (), 0)
    assert math.isnan(claim.obtained["biography/masked_ar/none/backward"])
    assert verdicts(results().query("dataset != 'biography'"))[NAMES[3]] == "not run"


def test_without_a_control_base_its_claim_is_not_run():
    assert verdicts(results())["masked_ar_does_so_from_the_control_base"] == "not run"


def test_the_control_base_is_judged_by_its_own_cells_and_its_difference_reported():
    """Main 0.598, control 0.400: fails, 0.198 less."""
    cell = "biography/masked_ar/none/backward"
    claim = next(c for c in check_claims(results(), "paper", results(**{cell: 0.4})) if c.name == NAMES[4])
    assert claim.verdict == "fails" and claim.failing == (cell,)
    assert claim.obtained[f"{cell} less the main base's"] == pytest.approx(-0.198)


def test_a_claim_carries_paper_obtained_threshold_and_the_fewest_seeds():
    frame = results(**{"wiki/ar/none/forward": 0.4})
    frame.loc[frame.dataset == "wiki", "n_seeds"] = [2 if i else 1 for i in range((frame.dataset == "wiki").sum())]
    claim = next(c for c in check_claims(frame, "small") if c.name == NAMES[5])
    assert claim.paper["forward gain"] == pytest.approx(0.308) and claim.paper["backward gain"] == pytest.approx(0.114)
    assert claim.obtained["forward gain"] == pytest.approx(0.285)
    assert claim.scale == "small" and claim.source == "Section 4, Table 2" and claim.n_seeds == 2
    assert [threshold.value for threshold in claim.threshold] == [0.0, 0.0]


def test_thresholds_stand_where_they_were_committed():
    bounds = {name: value.value for name, value in vars(accuracy).items() if isinstance(value, Threshold)}
    assert bounds == {
        "UNKNOWN": 0.10,
        "REVERSAL_CURSE": 0.10,
        "PARAPHRASE_GAP": 0.30,
        "DLLM_LEARNS": 0.55,
        "DLLM_STEADY": 0.25,
        "MASKED_AR_LEARNS": 0.55,
        "WIKI_FORWARD_LIFT": 0.0,
        "WIKI_LIFT_EXCESS": 0.0,
    }
    assert accuracy.WIKI_LIFT_RATIO == 2.0


def test_binary_fractions_do_not_move_a_threshold():
    """0.7 - 0.4 is 0.29999999999999993 in binary; as a gap it is 0.3."""
    assert 0.7 - 0.4 < 0.3 and Threshold("gap", "at least", 0.3, "").is_met(0.7 - 0.4)


def test_another_claim_needs_one_function():
    before = list(CLAIMS)
    cell = ("wiki", "dllm", "none", "forward")
    try:

        @register
        def wiki_is_learnt(frame, scale, control=None):
            bound = Threshold("accuracy", "at least", 0.9, "0.908 (Table 3)")
            return judge("wiki_is_learnt", "It is.", "Table 3", [Quantity("q", (cell,), float, bound)], frame, scale)

        assert verdicts(results())["wiki_is_learnt"] == "holds"
    finally:
        CLAIMS[:] = before


def test_claims_are_written_as_json_with_null_for_what_was_not_run(tmp_path):
    checked = check_claims(results(), "tiny")
    path = write_claims(checked, tmp_path / "claims.json")
    records = json.loads(path.read_text())
    assert [record["name"] for record in records] == NAMES
    assert set(records[0]) == set(Claim.__dataclass_fields__)
    assert records[3]["obtained"]["biography/masked_ar/none/backward"] == 0.598
    assert set(records[4]["obtained"].values()) == {None} and records[4]["verdict"] == "not run"
    assert "NaN" not in path.read_text()


def test_the_table_of_claims_names_what_fails():
    table = claims_table(check_claims(results(**{"biography/ar/none/backward": 0.4}), "paper"))
    assert table.set_index("name").failing["ar_needs_paraphrases_and_fails_backward"] == (
        "biography/ar/none/backward 0.400"
    )
