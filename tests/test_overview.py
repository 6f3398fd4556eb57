"""The README's map of exhibits and table of benchmarks are made from the records, and current."""

import json

import pytest

from maskft.exhibits import EXHIBITS
from maskft.overview import (
    BEGIN,
    BENCHMARKS,
    BENCHMARKS_BEGIN,
    BENCHMARKS_END,
    END,
    GPU_BEGIN,
    GPU_END,
    PARTS,
    README,
    RESULTS,
    ROWS,
    benchmark_table,
    exhibit_map,
    gpu_table,
    write_benchmarks,
    write_overview,
    write_results,
)
from maskft.scales import TINY
from maskft.tables.summary import summary_table


def test_every_exhibit_has_its_row():
    assert set(ROWS) == set(EXHIBITS)


def test_the_readme_holds_the_current_map():
    between = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert between.strip() == exhibit_map(TINY), "run: maskft overview"


def test_the_readme_holds_the_current_benchmarks():
    between = README.read_text().partition(BENCHMARKS_BEGIN)[2].partition(BENCHMARKS_END)[0]
    assert between.strip() == benchmark_table(), "run: maskft overview"
    between = README.read_text().partition(GPU_BEGIN)[2].partition(GPU_END)[0]
    assert between.strip() == gpu_table(), "run: maskft overview"


def test_the_readme_holds_the_current_results(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(README.read_text())
    assert write_results(copy).read_text() == README.read_text(), "run: maskft overview"
    assert [README.read_text().count(comment) for _, *comments in RESULTS for comment in comments] == [1] * 4


def write_cells(folder, name, rows):
    """A table of obtained accuracies, 0.5 in the paper everywhere, with a row of another metric between them."""
    head = "dataset,method,paraphrases,category,metric,paper,obtained,std,n_seeds\n"
    cells = [f"{key},accuracy,0.5,{value},,2\n{key},exact_match,,0.9999,,2\n" for key, value in rows.items()]
    (folder / f"{name}.csv").write_text(head + "".join(cells))


def test_results_are_the_tables_cells_beside_the_paper(tmp_path):
    """Masked AR was not run and the dLLM in one direction only: no row, and a dash."""
    both = {"wiki,ar,none,forward": 0.1249, "wiki,ar,none,backward": 0.0, "wiki,dllm,none,forward": 0.3, "wiki,dllm,none,backward": ""}
    biography = {"biography,dllm,none,forward": 0.75, "biography,dllm,none,backward": 1.0}
    not_run = {"wiki,masked_ar,none,forward": "", "wiki,masked_ar,none,backward": ""}
    write_cells(tmp_path, "table3_vs_paper", both | biography | not_run)
    write_cells(tmp_path, "table2_vs_paper", {f"wiki,ar,permute_order,{way}": 0.2 for way in ("forward", "backward")})
    rows = [
        "| plain AR | – | – | – | – | 0.12 / 0.00 | 0.50 / 0.50 |",
        "| plain AR, permute-order paraphrases | – | – | – | – | 0.20 / 0.20 | 0.50 / 0.50 |",
        "| dLLM | – | – | 0.75 / 1.00 | 0.50 / 0.50 | – | 0.50 / 0.50 |",
    ]
    assert summary_table(tmp_path).splitlines()[2:] == rows
    write_cells(tmp_path, "table3_control_vs_paper", {f"biography,masked_ar,none,{way}": 0.4 for way in ("forward", "backward")})
    control = "| masked AR, from a base without masked passages | – | – | 0.40 / 0.40 | 0.50 / 0.50 | – | – |"
    assert summary_table(tmp_path).splitlines()[2:] == [*rows, control]


def test_every_benchmark_has_a_record_that_others_can_read():
    records = {file.stem: json.loads(file.read_text()) for file in BENCHMARKS.glob("*.json") if not file.stem.startswith("gpu_")}
    on_a_gpu = {"ar_evaluation_8b", "diffusion_sampling_8b"} | {f"training_step_{name}" for name in ("8b", "128k", "smollm2", "smollm2_recorded")}
    assert set(PARTS) - on_a_gpu <= set(records) <= set(PARTS)
    for name, record in records.items():
        assert record["benchmark"] == name
        assert {"ratio", "goal", "peer", "hardware", "command", "date", "medians"} <= set(record)
        script = name.removesuffix("_8b").removesuffix("_128k").removesuffix("_recorded").removesuffix("_smollm2")
        assert record["command"].startswith(f"python tests/benchmarks/{script}.py")


def test_a_benchmark_is_a_row_with_its_parts(tmp_path):
    """Two modes of 16 questions: 0.4 and 0.2 seconds, twice as fast at 0.6 of the accuracy before, 0.7."""
    medians = {"exact": {"speed": 1.0, "accuracy": 0.7}, "fast": {"speed": 2.0, "accuracy": 0.6}}
    record = {
        "benchmark": "approximate_diffusion", "ratio": 2.0, "goal": 1, "what": "speed", "peer": "the exact one",
        "medians": medians, "hardware": "a core", "date": "2026-01-01", "command": "python x.py",
    }  # fmt: skip
    (tmp_path / "approximate_diffusion.json").write_text(json.dumps(record))
    readme = tmp_path / "README.md"
    readme.write_text(f"before {BENCHMARKS_BEGIN}{BENCHMARKS_END}{GPU_BEGIN}{GPU_END}")
    write_benchmarks(readme, tmp_path)
    parts = "exact 1.0 (accuracy 0.7); fast 2.0 (accuracy 0.6)"
    row = f"| 2.00 | 1 | speed | the exact one | {parts} | a core, 2026-01-01 | `python x.py` |"
    assert row in readme.read_text().splitlines()


def test_a_part_of_the_gpu_benchmark_is_a_row(tmp_path):
    """One that did not fit says so, in its place."""
    record = {
        "hardware": {"device": "a GPU"}, "date": "2026-01-01T00:00:00", "rows": 16, "length": 256,
        "training": {
            "without_checkpointing": {"out_of_memory": "no"},
            "with_checkpointing": {
                "precision": "bf16_mixed", "step_s": 0.5, "tokens_per_s": 8192.0, "share_of_peak": 0.25, "peak_memory_gib": 123.45,
            },
        },
        "sampling": {"questions": 16, "seconds": 2.0, "new_tokens_per_s": 1024.0, "peak_memory_gib": 20.0},
    }  # fmt: skip
    (tmp_path / "gpu_llama.json").write_text(json.dumps(record))
    assert gpu_table(tmp_path).splitlines()[2:] == [
        "| llama | a step of 16 x 256 tokens, without checkpointing | | out of memory | | | | a GPU, 2026-01-01 |",
        "| llama | a step of 16 x 256 tokens, with checkpointing | bf16_mixed | 0.500 | 8,192 | 25% | 123.5 | a GPU, 2026-01-01 |",
        "| llama | 16 answers | bf16 | 2.000 | 1,024 | – | 20.0 | a GPU, 2026-01-01 |",
    ]
    assert benchmark_table(tmp_path).count("\n") == 1  # its head alone


def test_only_what_lies_between_the_comments_is_replaced(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before {BEGIN} old {END} after")
    write_overview(TINY, readme)
    assert readme.read_text() == f"before {BEGIN}\n{exhibit_map(TINY)}\n{END} after"
    readme.write_text(f"before {END}")
    with pytest.raises(ValueError, match="lacks"):
        write_overview(TINY, readme)
    assert readme.read_text() == f"before {END}"
