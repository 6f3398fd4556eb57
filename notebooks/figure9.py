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
# # Figure 9: random tokens in place of the masked document
#
# The paper's claim: masked fine-tuning does not work because its prompts vary, as augmented data would. If every token of
# the document in the prompt is replaced by a random one, the prompts vary even more, but accuracy falls to that of plain
# arLLM fine-tuning, and backward questions fail again.
#
# The control differs from masked fine-tuning in these tokens alone, and ends sooner, as by the authors' release. (Runs as long as masked
# fine-tuning's, made before at the tiny scale, had no better checkpoint, but for 0.02 at most.) If the claim holds, its line stays near the plain
# arLLM's and below the masked arLLM's, most of all backward. Solid lines are without paraphrases, dashed ones with them;
# thin lines are seeds, bold ones their mean. The x axis counts true optimizer steps; it is linear up to the first
# evaluation and logarithmic from there on.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import figure9, save_figure
from maskft.tables import random_token_table, write_table

check_injected(In)

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("figure9", scale, seeds, world_seed, from_records)

# %%
figure = figure9(study.metrics)

# %% [markdown]
# ## The best checkpoints
# Total accuracy is the mean of forward and backward. Each run is read at its best step, chosen on these same questions as
# in the paper; `best_step` is the median over seeds, `total_std` the spread over seeds.

# %% tags=["nbval-check-output"]
table = random_token_table(study.metrics)
print(table.to_string(index=False, float_format="%.3f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("figure9", study)
save_figure(figure, study.scale.figures, "figure9", origin)
write_table(table, study.scale.tables, "figure9", origin)
study.pack()
