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
# # What the tiny models forget while they learn
#
# The paper's dLLM and masked AR answer about Biography as well as about NameDescription. The tiny ones do not: the dLLM answers
# nearly nothing about Biography, masked AR less and less from some step on. Do they not learn the documents, or can they not say
# what they learned? Here the runs of both data sets without paraphrases are asked two more things at each evaluation:
#
# - *documents' facts filled in*: what the forward questions ask for is masked in its document, and the model fills it in, in the
#   form that it is trained on (plain AR, which sees no masks, continues the document up to there);
# - *questions about the base's world*: about people of the same kind that the base was told of in pretraining, in both
#   directions. The base answers them; fine-tuning never mentions them.
#
# The middle row are the data set's own questions, the mean of its categories.

# %% tags=["parameters"]
scale = "tiny"  # tiny: the one scale whose bases have a world of their own
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.notebooks import open_study, provenance
from maskft.plots import forgetting, forgetting_curves, save_figure
from maskft.tables import write_table

# %% [markdown]
# ## The runs
# Every missing run is trained by the `accelerate launch` command printed here, in worker processes outside this kernel.

# %% tags=["nbval-ignore-output"]
study = open_study("forgetting", scale, seeds, world_seed, from_records)

# %% [markdown]
# ## Learned, answered, left

# %%
figure = forgetting(study.metrics)

# %% tags=["nbval-check-output"]
table = forgetting_curves(study.metrics)
print(table.to_string(index=False, float_format="%.2f"))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("forgetting", study)
save_figure(figure, study.scale.figures, "forgetting", origin)
write_table(table, study.scale.tables, "forgetting", origin)
study.pack()
