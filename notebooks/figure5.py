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
# # Figure 5: the learning-rate sweep on NameDescription with paraphrases
#
# As in the paper (Figure 5), rates are chosen on NameDescription with paraphrases and then used everywhere. Every method
# gets the same five rates and one run for each. Totals less than 0.01 apart are no difference on 480 questions; of such
# rates the smallest is taken, which forgets least.

# %% tags=["parameters"]
scale = "tiny"  # tiny or paper
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import open_study, provenance
from maskft.tables import learning_rate_sweep, write_table

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("figure5", scale, seeds, world_seed, from_records)

# %% [markdown]
# ## Total accuracy at the best checkpoint
# `chosen` marks the rate that the scale uses. A best step at the end of a run says that the rate is slow for the budget.

# %% tags=["nbval-check-output"]
# Records may hold more seeds of the chosen rate; every rate gets the same number of trials.
sweep = learning_rate_sweep(study.metrics[study.metrics.seed.isin(seeds)])
sweep["chosen"] = sweep.learning_rate == sweep.method.map(study.scale.learning_rates)
sweep["learning_rate"] = sweep.learning_rate.map("{:g}".format)
print(sweep.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
write_table(sweep, study.scale.tables, "figure5", provenance("figure5", study))
study.pack()
