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
# # Generation examples (Appendix A.5)
#
# What accuracy stands for. The paper shows answers "to better demonstrate the generation quality". In its examples the
# arLLM misses the name that the Biography question asks for, with paraphrases and without; the masked arLLM gives it with
# both, mostly in the words of the document.
#
# Words of an answer that scored are in **bold**: words of the ground truth, function words left out. Accuracy is the
# share of the ground truth's words that occur in the answer, so an answer that says much more can still score 1.
#
# *How the questions were chosen.* As in the paper, one question for each data set: NameDescription forward about a
# "description is name" statement, Biography backward, Wiki forward. Of each of these categories it is the first by its
# number. Three further questions a data set were drawn from all its questions by the seed in `maskft/examples.py`. Nobody
# looked at the answers. The runs are those of the first seed. `best` is the checkpoint with the best total accuracy,
# `early` the last one before it among the first three evaluations, the first of which is before fine-tuning.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from IPython.display import Markdown

from maskft.examples import collect_examples, examples_markdown, first_seed, write_examples
from maskft.notebooks import check_injected, open_study, provenance

check_injected(In)

# %% tags=["nbval-ignore-output"]
study = open_study("examples", scale, seeds, world_seed, from_records)

# %% tags=["nbval-check-output"]
examples = collect_examples(study)
Markdown(examples_markdown(examples))

# %% [markdown]
# ## The same in numbers
# Accuracy of the answers above at the best checkpoints. These are single questions: Table 3 has the means over all of them.

# %% tags=["nbval-check-output"]
best = examples[examples.checkpoint == "best"]
arms = best.pivot(index=["dataset", "question_id"], columns=["method", "paraphrases"], values="accuracy")
print(arms.to_string(float_format="%.2f"))

# %% [markdown]
# ## Files
# The CSV holds the early answers to the drawn questions as well.

# %% tags=["nbval-ignore-output"]
write_examples(examples, study.scale.tables, provenance("examples", first_seed(study)))
study.pack()
