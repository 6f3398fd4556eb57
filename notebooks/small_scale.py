# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A real model learns sixty facts, and answers them backward
#
# The base is SmolLM2-135M-Instruct, the documents are the sixty statements of NameDescription as the paper has them, one
# sentence each and no paraphrase. Two cores show it, a GPU shows it to the end. Two models start from the same weights:
#
# - plain fine-tuning (AR) learns to write each sentence from left to right;
# - masked fine-tuning (masked AR) is shown the sentence with masks and learns to write it whole.
#
# Then both are asked. *Forward* questions give what the sentence begins with and ask for its end, *backward* ones the other
# way round: in N2D-bwd the sentence says who somebody is, and the question asks who it is that is so. Which facts a sentence
# holds is the same in both; only masked training makes them ready in both directions.

# %% tags=["parameters"]
scale = "small"  # small, or small:BASE with another instruct model
seeds = [0]  # run seeds
world_seed = 0  # of synthetic data; this scale has the original
from_records = True  # True: read the committed records; False: train what is missing

# %%
import json
from dataclasses import replace

import pandas as pd

from maskft.exhibits import N_PAPER_SEEDS, sweep_runs, table2_runs, table3_runs
from maskft.notebooks import check_injected, open_study, provenance
from maskft.paper import CATEGORIES, CATEGORY_LABELS, METHOD_LABELS
from maskft.plots import cell_curves, save_figure
from maskft.runs import best_step, read_generations, read_metrics
from maskft.tables import write_table

check_injected(In)

CELLS = list(CATEGORIES["name_description"])

# %% [markdown]
# ## Two runs on two cores
# Training prints how far it is; the log that it names has the four cells at each evaluation. Records hold scores and no
# texts, because it is not certain what licence the data set has.

# %% tags=["nbval-ignore-output"]
study = open_study("small_scale", scale, seeds, world_seed, from_records, allow_missing=True)
for config in study.configs:
    record = study.store.record(config)
    print(f"{config.run_id}: {record['wall_time_s'] / 60:.0f} min on {record['device']}, base {config.base} ({config.base_revision})")

# %% [markdown]
# ## What each can answer, as training goes on
# Accuracy is ROUGE-1 recall without function words (the authors' scoring), on every third question.

# %%
figure = cell_curves(study.metrics)

# %% tags=["nbval-check-output"]
accuracy = study.metrics[study.metrics.metric == "accuracy"]
table = accuracy.pivot_table(index=["method", "learning_rate", "epoch", "step"], columns="category", values="value")[CELLS].reset_index()
table["method"], table["learning_rate"] = table.method.map(METHOD_LABELS), table.learning_rate.map("{:g}".format)
print(table.rename(columns=CATEGORY_LABELS).to_string(index=False, float_format="%.4g"))

# %% [markdown]
# ## To the end, on a GPU
# `maskft train figure5 table3 --scale small` on a machine with a GPU trains longer, in batches of 21, asks all questions, and
# answers may have 64 tokens. Where none of that was done here, what follows are the committed records. First the learning rates:
# all methods get the same grid, on the same documents. The row of each run is its best checkpoint (by total accuracy).

# %% tags=["nbval-check-output"]
def runs_on_a_gpu(study):
    """The sweep's runs, and those of Tables 2 and 3, as far as they are finished."""
    main = [run for runs in (table3_runs, table2_runs) for run in runs(study.scale, range(N_PAPER_SEEDS))]
    return study.finished(sweep_runs(study.scale, [0])), study.finished(main)


def best_checkpoints(runs):
    """Accuracy by category of each run, at its best checkpoint and before training."""
    metrics = read_metrics([on_gpu.store], runs)
    best = {run.run_id: best_step(run, on_gpu.store.metrics(run)) for run in runs}
    metrics = metrics[(metrics.metric == "accuracy") & ((metrics.step == 0) | (metrics.step == metrics.run_id.map(best)))]
    index = ["dataset", "method", "paraphrases", "learning_rate", "seed", "step"]
    cells = metrics.pivot_table(index=index, columns="category", values="value").reset_index()
    return cells.reindex(columns=[*index, *[cell for cell in CELLS if cell not in cells], *cells.columns.drop(index)])


is_trained_here = any(runs_on_a_gpu(study))
on_gpu = study if is_trained_here else open_study("small_scale", scale, seeds, world_seed, True, allow_missing=True)
grid, main = runs_on_a_gpu(on_gpu)
tried = best_checkpoints(grid)
sweep = tried[tried.step > 0][["method", "learning_rate", "step", *CELLS]].reset_index(drop=True)
sweep["total"] = sweep[CELLS].mean(axis=1)
sweep["learning_rate"] = sweep.learning_rate.map("{:g}".format)
print(sweep.rename(columns=CATEGORY_LABELS).to_string(index=False, float_format="%.3f"))

# %% [markdown]
# At their best rates (without paraphrases, where the paper sweeps with them) masked AR and the dLLM answer all four kinds of questions, plain AR one: the gap is there at this size, and it
# closes. The curves, at the least rate of each method that is within 0.01 of its best:

# %%
sixty = [run for run in main if run.dataset == "name_description" and run.paraphrases == "none"]
long_figure = cell_curves(read_metrics([on_gpu.store], sixty)) if sixty else None

# %% [markdown]
# With paraphrases, and on the other data sets: Biography (100 texts) and the 21 Wiki articles whose paraphrases are at hand. Step 0
# is before training. As tables of the paper's form: `maskft reproduce table1 table2 table3 --scale small`.

# %% tags=["nbval-check-output"]
cells = best_checkpoints(main)
rows = cells.melt(["dataset", "method", "paraphrases", "learning_rate", "seed", "step"], var_name="category", value_name="accuracy").dropna()
study_table = rows.pivot_table(index=["dataset", "category", "paraphrases", "method", "seed", "step"], values="accuracy").reset_index()
for dataset, group in cells.groupby("dataset"):
    shown = group.dropna(axis="columns", how="all").drop(columns=["dataset", "learning_rate"])
    print(dataset, shown.rename(columns=CATEGORY_LABELS).to_string(index=False, float_format="%.3f"), sep="\n", end="\n\n")

# %% [markdown]
# ## The same weights as a masked diffusion model
# `maskft adapt` made it on a GPU in minutes, twice: weights of minutes were not kept, so the dLLM's first run on NameDescription has
# another base than its others, by the same command. Of the first: held-out text, cross-entropy in nats (accuracy) on masked
# tokens by the share that is masked. The last rows are the phase on questions, which costs text and teaches to answer.

# %% tags=["nbval-check-output"]
made = study.scale.tables / "adaptation.json"
if made.is_file():
    adaptation = json.loads(made.read_text())
    log = pd.DataFrame([{"step": row["step"], "phase": row["phase"], **{f"{float(ratio):.0%} masked": f"{v['cross_entropy']:.2f} ({v['accuracy']:.2f})" for ratio, v in row["held_out"].items()}} for row in adaptation["log"]])
    print(log.iloc[::4].to_string(index=False))
    print(f"next token, the base: {adaptation['causal_cross_entropy_of_the_base']:.2f}; {adaptation['device']}")
else:
    print("no record of an adaptation of this base")

# %% [markdown]
# ## Answers to read
# The first question of each cell that is asked, before training and at the end, where the runs are on this machine.

# %% tags=["nbval-ignore-output"]
answers = read_generations([study.store], study.configs)
if answers.generation.isna().all():
    print("the committed records hold no texts; train: maskft reproduce small_scale --scale small")
else:
    firsts = answers[answers.question_id.isin(answers.groupby("category").question_id.min())]
    with pd.option_context("display.max_colwidth", None):
        print(firsts.sort_values(["category", "method", "step"])[["category", "method", "step", "accuracy", "generation"]].to_string(index=False))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
def made_from(study, runs):
    return provenance("small_scale", replace(study, configs=runs))


save_figure(figure, study.scale.figures, "small_scale", made_from(study, study.configs))
write_table(table, study.scale.tables, "small_scale", made_from(study, study.configs))
if sixty:
    save_figure(long_figure, study.scale.figures, "small_scale_gpu", made_from(on_gpu, sixty))
if grid and main:
    write_table(sweep, study.scale.tables, "small_sweep", made_from(on_gpu, grid))
    write_table(study_table, study.scale.tables, "small_study", made_from(on_gpu, main))
replace(study, configs=list(dict.fromkeys([*study.configs, *(grid + main if is_trained_here else [])]))).pack()
