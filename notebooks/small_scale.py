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
# sentence each and no paraphrase. No GPU is needed. Two models start from the same weights:
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
from dataclasses import replace

import pandas as pd

from maskft.exhibits import sweep_runs
from maskft.notebooks import open_study, provenance
from maskft.paper import CATEGORIES, CATEGORY_LABELS, METHOD_LABELS
from maskft.plots import cell_curves, save_figure
from maskft.runs import read_generations, read_metrics
from maskft.tables import write_table

CELLS = list(CATEGORIES["name_description"])

# %% [markdown]
# ## The two runs
# Training prints how far it is; the log that it names has the four cells at each evaluation. Records hold scores and no
# texts, because the data set states no licence.

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
# ## The learning rates
# Both methods get the same grid. The row of each run at its best checkpoint (by total accuracy); a rate that is not there was
# not run. `maskft train figure5 --scale small` trains the whole grid.

# %% tags=["nbval-check-output"]
grid = [run for run in sweep_runs(study.scale, seeds) if study.store.is_finished(run)]
tried = read_metrics([study.store], grid)
tried = tried[tried.metric == "accuracy"].pivot_table(index=["method", "learning_rate", "step"], columns="category", values="value")[CELLS]
tried["total"] = tried[CELLS].mean(axis=1)
sweep = tried.loc[tried.groupby(["method", "learning_rate"]).total.idxmax()].reset_index()
sweep["learning_rate"] = sweep.learning_rate.map("{:g}".format)
print(sweep.rename(columns=CATEGORY_LABELS).to_string(index=False, float_format="%.3f"))

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
origin = provenance("small_scale", study)
save_figure(figure, study.scale.figures, "small_scale", origin)
write_table(table, study.scale.tables, "small_scale", origin)
write_table(sweep, study.scale.tables, "small_sweep", origin)
replace(study, configs=list(dict.fromkeys([*study.configs, *grid]))).pack()
