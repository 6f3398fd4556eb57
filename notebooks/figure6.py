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
# # Figure 6: total accuracy, and the checkpoints that the tables read
#
# Total accuracy is the mean of forward and backward accuracy. The paper draws it against training steps, finds for each
# run the step at which it is highest, and reports that checkpoint in all its tables.
#
# Thin lines are seeds, bold lines their mean; solid without paraphrases, dashed with. A mark is the best checkpoint of one
# run, filled without paraphrases and open with. The x axis counts true optimizer steps; it is linear up to the first
# evaluation and logarithmic from there on. A mark at the right end of its curve says that the run may have been too short.
# A mark well before the end says that the model forgets or overfits from there on.
#
# The best step is chosen on the test questions themselves, as in the paper, so its accuracy is an optimistic figure.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import figure6, save_figure, total_curves

check_injected(In)

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("figure6", scale, seeds, world_seed, from_records)

# %%
figure = figure6(study.metrics)

# %% [markdown]
# ## The best checkpoint of each run
# Its step and its total accuracy, by seed. NaN: no run with that seed.

# %% tags=["nbval-check-output"]
totals = total_curves(study.metrics).rename(columns={"step": "best step", "accuracy": "total"})
best = totals[totals.is_best].pivot(
    index=["dataset", "method", "paraphrases"], columns="seed", values=["best step", "total"]
)
print(best.to_string(formatters={column: "{:.0f}".format for column in best if column[0] == "best step"}, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
save_figure(figure, study.scale.figures, "figure6", provenance("figure6", study))
study.pack()
