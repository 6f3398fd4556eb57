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
# # Figure 8: what the seed changes in masked AR
#
# The seed draws the mask ratio of each step and the masked tokens, and here also the order of documents. The paper's claim:
# masked AR varies slightly more over seeds than the dLLM, but the general trend and the highest accuracy do not vary much.
#
# Each thin line is a seed, with one shade in all panels; the broad pale line is the mean, where every seed was evaluated.
# The x axis counts true optimizer steps; it is linear up to the first evaluation and logarithmic from there on.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
import pandas as pd

from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import save_figure, seed_curves, seed_spread

check_injected(In)

# %% [markdown]
# ## The runs
# The runs of the dLLM, which are Figure 7's, are for the comparison of the spread below. Every missing run is trained by
# the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("figure8", scale, seeds, world_seed, from_records)
dllm = open_study("figure7", scale, seeds, world_seed, from_records)

# %%
figure = seed_curves(study.metrics, "masked_ar")

# %% [markdown]
# ## The spread in numbers, beside the dLLM's
# Standard deviation of accuracy over seeds: `best` reads each seed at its own best checkpoint, as the tables do, `largest`
# is the largest over the evaluations. Seeds that are at their best at different steps can make `best` the larger one. The
# last lines are the means over all curves. A standard deviation of four values is itself uncertain by some 40 %, so single
# rows say little. NaN: one seed has no spread.

# %% tags=["nbval-check-output"]
spread = seed_spread(pd.concat([dllm.metrics, study.metrics]))
curves = ["dataset", "paraphrases", "direction"]
print(spread.pivot(index=curves, columns="method", values=["best", "largest"]).to_string(float_format="%.3f"))
print()
means = spread.groupby("method").agg({"best": "mean", "largest": "mean", "n_seeds": "min"})
print(means.to_string(float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
save_figure(figure, study.scale.figures, "figure8", provenance("figure8", study))
study.pack()
