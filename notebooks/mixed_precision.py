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
# # Mixed precision: float32 master weights against bfloat16 ones
#
# Appendix A.4 trains with float32 master weights and computes in bfloat16, and gives that "around 30 % performance gain".
# Here AR learns NameDescription without paraphrases twice at each of two learning rates, from the same weights, with the
# same batches: with float32 masters (`bf16_mixed`) and with weights and moments in bfloat16 (`bf16`).
#
# The reason is rounding. AdamW moves a weight by about the learning rate; a bfloat16 number has 8 significant bits, so a
# weight near 0.02 stands 2^-13 = 0.00012 from its neighbours, and a step of less than half of that is lost, again and again.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
import torch

from maskft.models import load_base
from maskft.notebooks import check_injected, open_study, provenance
from maskft.tables import write_table

check_injected(In)

# %% [markdown]
# ## What rounding does to one step
# The share of the tiny base's weights that a step of exactly the learning rate changes at all, when they are bfloat16. The
# last is the paper's rate for AR.

# %% tags=["nbval-ignore-output"]
model, _ = load_base("tiny-ar", method="ar")

# %% tags=["nbval-check-output"]
weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1]).bfloat16()
for rate in (2e-3, 2.5e-4, 5e-6):
    print(f"learning rate {rate:g}: {(weights - rate != weights).float().mean():.2f} of the weights change")

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("mixed_precision", scale, seeds, world_seed, from_records)

# %% [markdown]
# ## Total accuracy at the best checkpoint
# Chosen on the test questions, as in the paper. Means over seeds: a difference of a few hundredths is no difference.

# %% tags=["nbval-check-output"]
precision = {config.run_id: config.precision for config in study.configs}
curves = study.metrics[study.metrics.metric == "accuracy"].assign(precision=lambda rows: rows.run_id.map(precision))
total = curves.groupby(["learning_rate", "precision", "seed", "step"], as_index=False).value.mean()
best = total.loc[total.groupby(["learning_rate", "precision", "seed"]).value.idxmax()]
table = best.groupby(["learning_rate", "precision"], as_index=False).agg(
    best_step=("step", "median"), total_accuracy=("value", "mean"), n_seeds=("seed", "nunique")
)
table["learning_rate"] = table.learning_rate.map("{:g}".format)
print(table.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
write_table(table, study.scale.tables, "mixed_precision", provenance("mixed_precision", study))
study.pack()
