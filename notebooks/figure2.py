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
# # Figure 2: training dynamics
#
# The paper's claim: without paraphrases the arLLM improves only at the beginning and then overfits; the dLLM and the
# masked arLLM keep improving, forward and backward, as fast as the arLLM with paraphrases.
#
# Thin lines are seeds, bold lines their mean; solid without paraphrases, dashed with. The x axis counts true optimizer
# steps; it is linear up to the first evaluation and logarithmic from there on. A step of masked fine-tuning reads two to three times the tokens of plain fine-tuning, so the second figure
# shows the same curves against training tokens.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import direction_curves, figure2, figure2_tokens, save_figure

check_injected(In)

# %% tags=["nbval-ignore-output"]
study = open_study("figure2", scale, seeds, world_seed, from_records)

# %%
steps_figure = figure2(study.metrics)

# %%
tokens_figure = figure2_tokens(study.metrics)

# %% [markdown]
# ## The curves' ends in numbers
# Best and last accuracy of each curve, mean over seeds. A last value far below the best one is overfitting.

# %% tags=["nbval-check-output"]
curves = direction_curves(study.metrics)
mean = curves.groupby(["dataset", "direction", "method", "paraphrases", "step"]).accuracy.mean()
ends = mean.groupby(level=[0, 1, 2, 3]).agg(["max", "last"])
print(ends.to_string(float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("figure2", study)
save_figure(steps_figure, study.scale.figures, "figure2", origin)
save_figure(tokens_figure, study.scale.figures, "figure2_tokens", origin)
study.pack()
