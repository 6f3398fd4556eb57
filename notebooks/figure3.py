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
# # Figure 3: the masked fine-tuning prompt
#
# In masked fine-tuning the user's turn holds the document with some of its tokens masked and asks for it back. The
# assistant's turn holds the document itself, after a fixed lead-in. The loss counts the document and the end of the turn,
# nothing before: the lead-in is given. Both copies have the same tokens, because the document is tokenized apart from the
# prompt.
#
# Each box is a token, as the collators of this package make them for training. Those on yellow are in the loss. Beneath is
# what the other two methods make of the same document. Plain fine-tuning of an arLLM has the document alone, and every
# token of it is predicted from those before. A dLLM reads the document with masks and predicts the masked tokens where
# they stand; its end token can be masked too.
#
# The masks here are drawn at a ratio of one half. In training the ratio is drawn anew for each batch, from U(0.05, 0.95).
# This figure needs no runs; whether records are read or not changes nothing.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from maskft.data import load_corpus
from maskft.notebooks import check_injected, open_study, provenance
from maskft.plots import figure3, save_figure
from maskft.plots.samples import load_prompts, training_samples
from maskft.tables import write_table

check_injected(In)

# %%
study = open_study("figure3", scale, seeds, world_seed, from_records)

# %%
corpus = load_corpus("name_description", source=study.scale.source, world_seed=world_seed)
samples = training_samples(load_prompts(study.scale.bases, study.scale.revisions), corpus.documents[0]["text"])
figure = figure3(samples)

# %% [markdown]
# ## What is in the loss
# Tokens by the part they play, how many of them are masked, and how many the loss counts.

# %% tags=["nbval-check-output"]
parts = samples.groupby(["method", "role"], sort=False)
print(parts.agg(tokens=("token", "size"), masked=("is_masked", "sum"), in_loss=("in_loss", "sum")).to_string())

# %% [markdown]
# ## Files
# The table has a row for each token. What a reader sees of it, beside the CSV file, has special tokens without their bars,
# which would end a column of the table.

# %% tags=["nbval-ignore-output"]
origin = provenance("figure3", study)
save_figure(figure, study.scale.figures, "figure3", origin)
display = samples.astype(str).replace(r"\|", "", regex=True)
write_table(samples, study.scale.tables, "figure3", origin, display=display)
study.pack()
