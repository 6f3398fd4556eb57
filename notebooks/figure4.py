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
# # Figure 4: fixed mask ratios beside the random one
#
# The paper's claim: a dLLM and a masked arLLM need no random mask ratio in fine-tuning. On NameDescription without
# paraphrases some fixed ratios (0.5 and 0.75) do as well as one drawn for each batch from U(0.05, 0.95), but ratios differ
# much. At ratio 0 masked fine-tuning fails: the document stands whole in the prompt, and copying it teaches nothing.
#
# Dark lines are low ratios, light ones high; 0 is black, and a dLLM cannot be trained there, where nothing is masked. The
# bold line in the method's own colour is the random ratio. Lines are means over seeds, thin ones the seeds. The x axis
# counts true optimizer steps; it is linear up to the first evaluation and logarithmic from there on.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import figure4, save_figure
from maskft.tables import fixed_ratio_table, write_table

check_injected(In)

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("figure4", scale, seeds, world_seed, from_records)

# %%
figure = figure4(study.metrics)

# %% [markdown]
# ## The best checkpoints
# Total accuracy is the mean of forward and backward. Each run is read at its best step, chosen on these same questions as
# in the paper; `best_step` is the median over seeds, `total_std` the spread over seeds.

# %% tags=["nbval-check-output"]
table = fixed_ratio_table(study.metrics)
print(table.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("figure4", study)
save_figure(figure, study.scale.figures, "figure4", origin)
write_table(table, study.scale.tables, "figure4", origin)
study.pack()
