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
# # Figure 7: what the seed changes in the dLLM
#
# The seed draws the mask ratio of each step and the masked tokens, and here also the order of documents. The paper shows
# each seed's curve on NameDescription and Biography: the general trend and the highest accuracy hardly depend on the seed.
#
# Each thin line is a seed, with one shade in all panels; the broad pale line is the mean, where every seed was evaluated.
# The x axis counts true optimizer steps; it is linear up to the first evaluation and logarithmic from there on.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import save_figure, seed_curves, seed_spread

check_injected(In)

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("figure7", scale, seeds, world_seed, from_records)

# %%
figure = seed_curves(study.metrics, "dllm")

# %% [markdown]
# ## The spread in numbers
# Standard deviation of accuracy over seeds: `best` reads each seed at its own best checkpoint, as the tables do, `largest`
# is the largest over the evaluations. Seeds that are at their best at different steps can make `best` the larger one.
# Figure 8 sets these numbers beside those of masked AR. NaN: one seed has no spread.

# %% tags=["nbval-check-output"]
print(seed_spread(study.metrics).to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
save_figure(figure, study.scale.figures, "figure7", provenance("figure7", study))
study.pack()
