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
# # Table 3: what fine-tuning on documents teaches three kinds of model
#
# The paper's claim: an autoregressive model (arLLM) needs paraphrases to answer questions about documents it was
# fine-tuned on, and cannot answer against the order of the text; a masked diffusion model (dLLM) needs neither, and
# *masked fine-tuning* gives an arLLM the same.
#
# Accuracy is ROUGE-1 recall without function words (the authors' scoring). Each run is read at the checkpoint with the
# best total accuracy on these same questions, as in the paper, so the figures are optimistic; `table3_last` has the last
# checkpoints.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.tables import LAYOUTS, accuracy_table, display_table, versus_paper, write_accuracy_table, write_table

check_injected(In)

layout = LAYOUTS["table3"]

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("table3", scale, seeds, world_seed, from_records)

# %% [markdown]
# ## The table
# Mean and standard deviation over seeds.

# %% tags=["nbval-check-output"]
main = study.metrics[~study.is_control]
print(display_table(layout, accuracy_table(layout, main)).to_string(index=False))

# %% [markdown]
# ## Paper against obtained
# The paper's figures are of 8-billion-parameter models on the original data. Compare the pattern, not the numbers.

# %% tags=["nbval-check-output"]
versus = versus_paper(main)
accuracy = versus[versus.metric == "accuracy"].drop(columns="metric")
print(accuracy.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files
# The verdicts on these numbers are in [claims](claims.ipynb).

# %% tags=["nbval-ignore-output"]
origin = provenance("table3", study)
write_accuracy_table(layout, main, study.scale.tables, origin)
if study.is_control.any():
    control = versus_paper(study.metrics[study.is_control])
    write_table(control[control.n_seeds > 0], study.scale.tables, "table3_control_vs_paper", origin)
study.pack()
