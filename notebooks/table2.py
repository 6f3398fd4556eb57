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
# # Table 2: paraphrases in another order of the facts mend the reversal curse
#
# The paper's claim: on Wiki, paraphrases that keep the order of the article lift the arLLM's forward accuracy far more than
# its backward accuracy; paraphrases that permute the order lift both.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.tables import LAYOUTS, accuracy_table, display_table, versus_paper, write_accuracy_table

check_injected(In)

layout = LAYOUTS["table2"]

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("table2", scale, seeds, world_seed, from_records)

# %% [markdown]
# ## The table
# Mean and standard deviation over seeds, at the checkpoint with the best total accuracy of each run.

# %% tags=["nbval-check-output"]
print(display_table(layout, accuracy_table(layout, study.metrics)).to_string(index=False))

# %% [markdown]
# ## Paper against obtained
# The paper's figures are of an 8-billion-parameter model on the original data. Compare the pattern, not the numbers.

# %% tags=["nbval-check-output"]
versus = versus_paper(study.metrics, published=layout.published)
accuracy = versus[versus.metric == "accuracy"].drop(columns=["metric", "method"])
print(accuracy.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
write_accuracy_table(layout, study.metrics, study.scale.tables, provenance("table2", study))
study.pack()
