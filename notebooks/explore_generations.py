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
# # Explore generations
#
# The paper's claim behind every number here: after fine-tuning on the same documents, the three kinds of model answer
# differently, and against the order of the text most of all. This page lets you read any answer that was kept, watch a
# dLLM unmask an answer, and ask a question of your own.
#
# It reads records; nothing is trained and no weights are needed until you press a button.

# %% tags=["parameters"]
scale = "tiny"  # tiny, small, small:BASE, paper, or a scale file
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
from IPython.display import Markdown, display

from maskft.examples import first_seed, read_answers
from maskft.explore import Explorer, ask, kept_answers, pretraining_question
from maskft.models import load_base
from maskft.notebooks import check_injected, open_study
from maskft.plots.tokens import draw_canvas

check_injected(In)

# %% tags=["nbval-ignore-output"]
study = first_seed(open_study("explore_generations", scale, seeds, world_seed, from_records))
answers = read_answers(study)

# %% [markdown]
# ## Choose and ask
# Run this notebook to get the controls; a page without a kernel cannot show them, and goes on below with some answers.
#
# The lists choose data set, method, training texts, checkpoint and question. Words that scored are in bold. To ask, a
# checkpoint needs its weights: step 0 is the shipped base, and the best checkpoint of a run is in `runs/` once the run was
# trained on this machine, which the button does. For a dLLM the slider then goes through its steps: grey is masked, blue
# was committed in this step, with the probability that the model gave the token.

# %% tags=["nbval-ignore-output"]
display(Explorer(study, answers).box)

# %% [markdown]
# ## Some answers: one backward question from before fine-tuning to the end
# The first question of NameDescription that asks for the name where the statement ends with the description, without
# paraphrases. Training in the order of the text makes the statement likely, not the answer to this question.

# %% tags=["nbval-check-output"]
Markdown(kept_answers(answers, "name_description", "n2d_backward", "none"))

# %% [markdown]
# With paraphrases, all of which keep that order:

# %% tags=["nbval-check-output"]
Markdown(kept_answers(answers, "name_description", "n2d_backward", "same_order"))

# %% [markdown]
# ## How a dLLM answers
# The shipped base `tiny-dllm` is asked about somebody of its own pretraining world. The canvas is filled in blocks; within
# a block the most confident token is committed first, whatever its place. A row is a step: grey is still masked, blue was
# committed in this step, with its probability. The tokens stand below.

# %%
question, truth = pretraining_question()
config = next(config for config in study.configs if config.method == "dllm")
model, prompts = load_base("tiny-dllm", method="dllm")
reply = ask(model, prompts, question, config)
canvas = draw_canvas(reply.commits, reply.tokens, reply.block_length)

# %% tags=["nbval-check-output"]
print(f"question: {question}\nground truth: {truth}\nanswer: {reply.answer}")
