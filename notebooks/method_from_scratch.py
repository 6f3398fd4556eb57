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
# # The method from scratch
#
# The paper compares three ways to teach a language model a document by fine-tuning. Plain autoregressive training (AR)
# learns each token from the ones before it, so the model later answers only in that order. A masked diffusion model
# (dLLM) learns masked tokens from both sides. *Masked fine-tuning* gives an autoregressive model the same task: the
# masked document stands in its prompt, and it has to write the whole document.
#
# | | reads | predicts | loss |
# | --- | --- | --- | --- |
# | AR (Section 4) | the document | every next token | mean cross-entropy |
# | dLLM (Section 5, Eq. 1) | the document with masks | the masked tokens | cross-entropy of masked tokens, times 1/t |
# | masked AR (Section 6) | a prompt with the masked document | the whole document, token by token | mean cross-entropy |
#
# Here each is written in a few lines of plain torch, on one sentence, with the small models that the package ships, and
# compared with the package's own function. Nothing is trained. At the end a dLLM writes an answer.

# %% tags=["parameters"]
scale = "tiny"  # not used here: the models are always the shipped ones
seeds = [0]  # the first one draws the masks
world_seed = 0  # which synthetic world the sentence is from
from_records = True  # not used here: there are no runs

# %%
from functools import partial

import torch

from maskft.collators import ARCollator, DiffusionCollator, MaskedARCollator
from maskft.data import load_corpus
from maskft.explore import pretraining_question
from maskft.losses import autoregressive_loss, masked_diffusion_loss
from maskft.masking import apply_mask, draw_mask, draw_mask_ratio, generator_for
from maskft.models import load_base
from maskft.notebooks import check_injected
from maskft.plots.tokens import draw_canvas, draw_masks, draw_token_losses
from maskft.samplers import Commit, generate_diffusion

check_injected(In)

torch.set_grad_enabled(False)
# Equal up to the order of float32 sums, which padding changes.
assert_same = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-5)
seed, step = seeds[0], 11  # any step would do; with seed 0 this one masks the name and leaves the profession
ar, prompts = load_base("tiny-ar", method="ar")
dllm, _ = load_base("tiny-dllm", method="dllm")

# %% [markdown]
# ## The sentence
# A document of a fine-tuning set. The models know its words, and have never met the person. The tokenizer of the small
# models has a token for each word of their world.

# %% tags=["nbval-check-output"]
text = load_corpus("name_description", source="synthetic", world_seed=world_seed).documents[0]["text"]
tokens = torch.tensor(prompts.encode(text))
MASK, BEGIN, END = prompts.ids.mask, torch.tensor(prompts.ids.begin), torch.tensor([prompts.ids.end])


def pieces(ids):
    return [prompts.tokenizer.decode([token]) for token in ids]


print(" |".join(pieces(tokens)))

# %% [markdown]
# ## 1. Masking
# A ratio t is drawn between 0.05 and 0.95, and each token is masked with probability t. At small t a masked token has
# much context; at large t the model has to know the document.


# %%
def mask_tokens(tokens, t, generator):
    noise = torch.rand(len(tokens), generator=generator, dtype=torch.float64)
    is_masked = noise < t
    return torch.where(is_masked, MASK, tokens), is_masked


ratios = [0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95]
masks = [mask_tokens(tokens, t, torch.Generator().manual_seed(seed))[1] for t in ratios]

# %% [markdown]
# One row for each t, masked tokens in grey. All rows use the same noise, so a row holds the masks of those above it; in
# training the noise is drawn anew for every document and step.

# %%
mask_figure = draw_masks(pieces(tokens), masks, ratios)

# %% tags=["nbval-check-output"]
for t, is_masked in zip(ratios, masks, strict=True):
    assert torch.equal(is_masked, draw_mask(len(tokens), t, torch.Generator().manual_seed(seed)))
    masked, _ = mask_tokens(tokens, t, torch.Generator().manual_seed(seed))
    assert torch.equal(masked, apply_mask(tokens, is_masked, MASK))
print("checked: the masks are those of maskft.masking")

# %% [markdown]
# ## 2. Plain AR
# The model reads `BOS + document + EOS`. The output at a position is its prediction of the *next* token, and the loss is
# the mean of all cross-entropies. The description is predicted with the name before it; the name is never predicted with
# the description before it. That is the reversal curse in one line.


# %%
def cross_entropy(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


document = torch.cat([BEGIN, tokens, END])
logits = ar(input_ids=document[None]).logits[0]
ar_losses = cross_entropy(logits[:-1], document[1:])
ar_loss = ar_losses.mean()

# %% tags=["nbval-check-output"]
feature = {"text_ids": tokens.tolist(), "step": step, "sample": 0}
batch = ARCollator(prompts, seed=seed)([feature])
assert torch.equal(batch["input_ids"][0, : len(document)], document)
assert_same(ar_loss, autoregressive_loss(logits[:-1], document[1:], n_targets=len(document) - 1))
assert_same(ar_loss, ar(**batch).loss)
print("checked: the input is that of ARCollator, the loss that of autoregressive_loss and of transformers")

# %% [markdown]
# ## 3. dLLM, Eq. 1
# Attention goes both ways, and the output at a masked position is the prediction of *that* token. Only masked positions
# count:
#
# $$-\frac{1}{t} \sum_l \mathbf{1}[x_t^l = M] \, \log p(x_0^l \mid x_t)$$
#
# The factor 1/t makes up for there being fewer masked tokens at small t. The sum is divided by the number of tokens that
# can be masked: all but `BOS`, the `EOS` among them.

# %%
t = draw_mask_ratio(0.05, 0.95, generator_for("mask_ratio", seed, step))
masked, is_masked = mask_tokens(document[1:], t, generator_for("mask", seed, step))
dllm_input = torch.cat([BEGIN, masked])
dllm_logits = dllm(input_ids=dllm_input[None]).logits[0, 1:]
dllm_losses = torch.where(is_masked, cross_entropy(dllm_logits, document[1:]), 0.0)
dllm_loss = dllm_losses.sum() / t / len(masked)

# %% tags=["nbval-check-output"]
batch = DiffusionCollator(prompts, seed=seed)([feature])
assert torch.equal(batch["input_ids"][0, : len(dllm_input)], dllm_input)
expected = masked_diffusion_loss(
    dllm_logits[is_masked], document[1:][is_masked], torch.zeros(int(is_masked.sum()), dtype=torch.long),
    batch["mask_ratio"], batch["n_maskable"], n_samples=1, n_tokens=len(document),
)  # fmt: skip
assert_same(dllm_loss, expected)
print("checked: the input is that of DiffusionCollator, the loss that of masked_diffusion_loss")

# %% [markdown]
# ## 4. Masked AR, Figure 3
# The same masks, as a task in a prompt: attention stays causal, but the whole masked document stands *before* the copy
# that is to be written. So a name can be predicted with the description before it. The loss is the mean cross-entropy of
# the copy and its end of turn; the prompt is no target, and there is no 1/t.

# %%
masked, is_masked = mask_tokens(tokens, t, generator_for("mask", seed, step))
before = "<|start_header_id|>user<|end_header_id|>\n\n"
after = ("\nReturn the recovered masked passage.", "<|eot_id|>", "<|start_header_id|>assistant<|end_header_id|>\n\n")
lead_in = "Here is the recovered text:\n\n"
# Encoded piece by piece: the document then has the same tokens in both copies.
before, *after = [torch.tensor(prompts.encode(piece)) for piece in (before, *after, lead_in)]
context = torch.cat([BEGIN, before, masked, *after])
target = torch.cat([tokens, torch.tensor(prompts.encode("<|eot_id|>"))])
masked_ar_logits = ar(input_ids=torch.cat([context, target])[None]).logits[0, len(context) - 1 : -1]
masked_ar_losses = cross_entropy(masked_ar_logits, target)
masked_ar_loss = masked_ar_losses.mean()

# %% tags=["nbval-check-output"]
print(prompts.tokenizer.decode(context), prompts.tokenizer.decode(target), sep="[the copy starts here]")

# %% tags=["nbval-check-output"]
batch = MaskedARCollator(prompts, seed=seed)([feature])
assert torch.equal(batch["input_ids"][0, : len(context) + len(target)], torch.cat([context, target]))
assert torch.equal(batch["labels"][0][batch["labels"][0] != -100], target)
assert_same(masked_ar_loss, autoregressive_loss(masked_ar_logits, target, n_targets=len(target)))
assert_same(masked_ar_loss, ar(**batch).loss)
print("checked: input and targets are those of MaskedARCollator, the loss that of autoregressive_loss")

# %% [markdown]
# ## What each token costs
# Before any fine-tuning, on one scale. Grey columns are the masked tokens; a cross marks a token that is no target. A tall
# bar is something that the model does not know yet and that the loss pushes into its weights.
#
# - AR pays for every unforeseen word, and for the name at the very start, where nothing could foretell it.
# - The dLLM pays for masked tokens only.
# - Masked AR writes every token. A model that copies well, as a large one does, pays little in the white columns, where
#   the token stands in the prompt. What is left to learn is what the dLLM has to learn, with the visible tokens on *both*
#   sides as a hint. How well the small base copies what it never met shows in its white columns.

# %%
hidden = [*is_masked.tolist(), False]
losses = {
    "ar": ar_losses.tolist(),
    "dllm": [loss if masked else float("nan") for loss, masked in zip(dllm_losses.tolist(), dllm_input[1:] == MASK, strict=True)],
    "masked_ar": masked_ar_losses.tolist(),
}
loss_figure = draw_token_losses([*pieces(tokens), "end"], losses, hidden)

# %% [markdown]
# ## 5. How a dLLM answers
# The answer starts as a canvas of masks behind the question. It is filled in blocks of 4 from left to right. Each forward
# pass gives every masked position of the block its most likely token; the one the model is surest of becomes final and
# the others stay masked (`low_confidence` remasking, Appendix A.4). The answer ends at the first end of turn.
#
# The question is about somebody the base knows from its own pretraining world.

# %%
question, truth = pretraining_question()
prompt = torch.tensor(prompts.question(question))
n_new, block_length, stop = 32, 4, prompts.ids.stop[0]

canvas = torch.full((n_new,), MASK)
commits = []
for start in range(0, n_new, block_length):
    block = slice(start, start + block_length)
    while (canvas[block] == MASK).any():
        logits = dllm(input_ids=torch.cat([prompt, canvas])[None]).logits[0, len(prompt) :][block]
        logits[:, MASK] = -torch.inf
        confidence, choice = logits.softmax(-1).max(-1)
        confidence[canvas[block] != MASK] = -1
        best = int(confidence.argmax())
        canvas[start + best] = choice[best]
        commits.append(Commit(0, len(commits), start + best, int(choice[best]), float(confidence[best])))
    if (canvas[block] == stop).any():
        break
answer = canvas[: canvas.tolist().index(stop)] if stop in canvas else canvas

# %% [markdown]
# A row for each step: grey is masked, blue was committed in this step, with its probability; the tokens stand below.
# Look at the order within a block: words that any such answer has tend to come before the facts, which only this question
# decides.

# %%
canvas_figure = draw_canvas(commits, pieces(commit.token for commit in commits), block_length)

# %% tags=["nbval-check-output"]
trace = []
(expected,) = generate_diffusion(
    dllm, [prompt.tolist()], max_new_tokens=n_new, block_length=block_length, steps=n_new, mask=MASK,
    stop=prompts.ids.stop, pad=prompts.ids.pad, on_commit=trace.append,
)  # fmt: skip
assert answer.tolist() == expected
assert [commit[:4] for commit in commits] == [commit[:4] for commit in trace]
assert_same(torch.tensor([c.confidence for c in commits]), torch.tensor([c.confidence for c in trace]))
print(f"question: {question}\nanswer: {prompts.decode(answer)}\nground truth: {truth}")
print("checked: answer, order and confidence are those of generate_diffusion")

# %% [markdown]
# ## Where this goes on
# Fine-tuning is nothing but steps down these losses: `maskft/training.py` is the loop, and the notebooks of Table 3 and
# Figure 2 show what comes of it. `explore_generations` lets you ask the models yourself.
