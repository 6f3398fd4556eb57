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
# # The whole paper on 4, 8, 64 and 512 GPUs
#
# What the paper's runs at its own scale would take on clusters of H100, by `maskft plan`'s model: each arm once, and four
# seeds where the paper averages over four. No run of the paper was made. The model's operations are held to PyTorch's own
# bookkeeping by the tests, its memory and hours also to what one H200 measured at both 8B shapes with random weights: steps
# of 16 x 256 tokens, and answers of 128 tokens. Within a quarter of them are a third of the GPU's peak, and the least time of a
# layer's recorded pass, which decides how long an AR model's answers take. That an H100 needs no more, and what several GPUs
# lose to NVLink and to the network, are assumptions.
#
# A run takes a slot of 4 GPUs (Appendix A.4) or more; the number is the one with which the whole ends first. Runs start
# longest first, each in the slot that is free first. How long answers are is not known beforehand, so each row stands
# twice: with every answer 20 tokens long, and as long as allowed.
#
# Whatever `scale` says, this is the paper's scale: the tiny one needs no cluster.

# %% tags=["parameters"]
scale = "tiny"  # tiny or paper
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.planning import CLUSTERS, Setup, best_schedule, get_gpu, paper_runs, simulate
from maskft.plots import save_figure, schedule_chart
from maskft.scales import PAPER
from maskft.tables import write_table

check_injected(In)

# %%
study = open_study("cluster_simulation", scale, seeds, world_seed, from_records)
runs, setup = paper_runs(), Setup(get_gpu("H100"))

# %% [markdown]
# ## Hours, and what bounds them
# No schedule is shorter than its longest run, nor than all work spread over all slots, which is the queue: the larger of the
# two is the bound. `busy` is the share of the slots' time in use, `evaluation` that of all work which answers questions.

# %% tags=["nbval-check-output"]
found = simulate(runs, setup)
print(len(runs), "runs")
print(found.to_string(index=False, float_format="%.2f"))

# %% [markdown]
# ## Who runs when
# Answers as long as allowed; a bar's height is its share of the cluster, and its pale part answers questions (in truth
# between the training steps).

# %%
charts = {f"{gpus} GPUs": best_schedule(runs, setup, gpus, "long")[1] for gpus in CLUSTERS}
figure = schedule_chart(charts)

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("cluster_simulation", study)
save_figure(figure, PAPER.figures, "cluster_simulation", origin)
paths = write_table(found, PAPER.tables, "cluster_simulation", origin)
