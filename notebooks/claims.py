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
# # The paper's claims, judged
#
# Every claim of the paper, and one about a control base that the paper does not have, is compared with what ran here: it
# *holds*, it *fails*, or it was *not run*. Its bounds are
# constants of the package. They come from the paper and not from these runs: as a rule an effect must be about half of the
# smallest that the paper reports, and where the paper shows curves only, the bound follows its words.
#
# How to read the table: a claim holds if every number behind it is within its bound. The paper's number and ours are the
# critical ones of each bound, the highest under "at most" and the lowest over "at least", in the order of the bounds.
# Means over seeds are judged, at the checkpoints with the best total accuracy, which makes them optimistic, as in the
# paper. A claim that something stays small, such as "paraphrases add little", also holds where nothing is learnt: read it
# beside the claims that something is.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from IPython.display import Markdown, display

from maskft.claims import Results, check_claims, claims_table, what_misses, write_claims
from maskft.notebooks import check_injected, open_study, provenance

check_injected(In)

# %% [markdown]
# ## The runs
# The claims are about all runs of the study. From records, those without a record are left out, and claims that need them
# are not run.

# %% tags=["nbval-ignore-output"]
study = open_study("claims", scale, seeds, world_seed, from_records, allow_missing=True)

# %% [markdown]
# ## The claims

# %% tags=["nbval-check-output"]
claims = check_claims(Results(study.scale, study.metrics))
display(Markdown(claims_table(claims).to_markdown(index=False, disable_numparse=True)))

# %% [markdown]
# ## What misses
# Each number outside its bound, and what the claims that were not run lack.

# %% tags=["nbval-check-output"]
print(what_misses(claims))

# %% [markdown]
# ## Files

# %% tags=["nbval-ignore-output"]
write_claims(claims, study.scale.tables, provenance("claims", study))
study.pack()
