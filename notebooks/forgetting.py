# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the tiny models forget while they learn
#
# The paper's dLLM answers about Biography without paraphrases as well as about NameDescription. The tiny one answers less, and masked AR
# gives fewer of Biography's names than of NameDescription's. Do they not learn the documents, or can they not say what they have learned? Here the runs
# of both data sets without paraphrases are asked two more things at each evaluation, those on Biography for twice their steps:
#
# - *documents' facts filled in*: what the forward questions ask for is masked in its document, and the model fills it in, in the
#   form that it is trained on (plain AR, which sees no masks, continues the document up to there);
# - *questions about the base's world*: about people of the same kind that the base was told of in pretraining, in both
#   directions. The base answers them; fine-tuning never mentions them.
#
# Tables of trials, which have no records, are of the Biography set before this one, whose people shared facts twice as often, and of a NameDescription whose
# statements were in wordings that the bases know (but the table of statements, and rows that say so).
# In the middle row stand the data set's own questions, the mean of its categories. The x axis counts true optimizer steps; it is
# linear up to the first evaluation and logarithmic from there on.

# %% tags=["parameters"]
scale = "tiny"  # tiny: the one scale whose bases have a world of their own
seeds = [0]  # run seeds
world_seed = 0  # which synthetic world (tiny)
from_records = True  # True: read the committed records; False: train what is missing

# %%
import pandas as pd

from maskft.data import load_corpus
from maskft.notebooks import check_injected, open_study, provenance
from maskft.own_words import answers_by_order, names_by_rivals, names_taken_over, own_words
from maskft.plots import forgetting, forgetting_curves, save_figure
from maskft.runs import BY_NAME, best_step, read_generations
from maskft.tables import write_table

check_injected(In)

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
# They learn the documents: whatever the method, nearly every fact is filled in at the end, on Biography after 60 steps by AR, 40 by masked AR
# and 400 by the dLLM. AR's answers do not follow: on NameDescription it continues every statement after 30 steps and answers a quarter of the questions, half of the forward ones.
# Masked AR answers with what it has learned, backward as well, and its answers hardly get worse in twice the steps; its names on Biography rise on, from 0.45 and 0.38 to 0.50 and 0.58. The dLLM's
# answers follow its facts at once on NameDescription and by six tenths on Biography. Of what the base could answer about its own world a tenth is left by then, but so it is with masked
# AR, which answers nonetheless. So the dLLM does not lack the documents: what it learned from one text it does not find from a question.
#
# ## By what a dLLM finds a fact
# A biography is masked but for the name and the words of one sentence, up to its fact, and the model fills the fact in (`maskft.layout`): in its place (`by_name`), with ten masks
# more between the name and the sentence (`moved`), in the words in which another document tells such a fact (`reworded`), or both. The first table are the runs above, the
# second is the base before this one, whose recipe lacked three things: positions that jump, spare masks behind a document, and biographies that are told in new words each time.

# %% tags=["nbval-check-output"]
of_names = study.metrics[study.metrics.category.isin(BY_NAME)]
print(of_names.pivot_table(index="step", columns="category", values="value")[list(BY_NAME)].to_string(float_format="%.2f"), end="\n\n")
print(pd.read_csv(study.scale.tables / "layout_trials.csv").to_string(index=False, float_format="%.2f"))

# %% [markdown]
# In each the model is given the name. The former base's dLLM finds the fact only where and as its text has it. After 600 steps,
# ten words further from the name two thirds of what it had found are gone, in other words as many, and with both nearly all. A question's answer has the fact right behind the name, and in one of eight wordings.
# That is why one text taught it little, 0.20 forward and 0.14 backward, and five texts, which differ in words and lengths, three times as much.
# Where everybody was told in the same wording, and so in the same places, one text was enough for 0.35 and 0.46 after 300 steps.
#
# Large models have read billions of texts, in which the same thing stands everywhere. The present base's share of that is made: while it was pretrained, positions jumped before one token in
# twenty, masks without meaning followed every second document, and no biography came twice in the same words outside of a burst. What it learns from one text is bound to the place
# far less (0.74 of the facts instead of 0.30 with ten words between), to the words as much (0.31 and 0.34), and with both it finds 0.21 instead of 0.06. Its answers, in as many tokens (32) and steps, were
# twice those of the former base forward and more backward. With the jumps and spare masks alone they are nearly as good (below); answers in a person's own words, of whom many were told in one text, are worse. Jumps do
# not help the AR base: masked AR has 0.36 of Biography's names from one that was made with them.
#
# ## In whose words?
# A biography tells each fact in one of eight wordings. If what was learned is bound to a text, an answer in that text's words should be right more often than one in others.
# At the best evaluation of each run, its forward answers on Biography:

# %% tags=["nbval-check-output"]
def at_best_of(dataset: str) -> pd.DataFrame:
    """The answers of the runs on one data set, each at its best evaluation."""
    runs = [config for config in study.configs if config.dataset == dataset]
    best_steps = {config.run_id: best_step(config, study.store.metrics(config)) for config in runs}
    answers = read_generations([study.store], runs)
    return answers[answers.step == answers.run_id.map(best_steps)]


at_best = at_best_of("biography")
corpus = load_corpus("biography", source=study.scale.source, world_seed=world_seed)
print(own_words(at_best, corpus).to_string(index=False, float_format="%.2f"))

# %% [markdown]
# So it is, for all three methods: who finds the words of a document finds what they tell (0.81 to 0.97 of the fact). They differ in how often they find them: masked AR in seven of ten answers, AR and
# the dLLM in fewer than half.
#
# ## Whose document?
# A forward question gives the name, and a document begins with it. An answer that recites the document of somebody else is wrong, so it should matter whether an answer begins with the name that
# it was asked about:

# %% tags=["nbval-check-output"]
print(names_taken_over(at_best, corpus).to_string(index=False, float_format="%.2f"))

# %% [markdown]
# It does to AR and masked AR, whose answers that begin with it hold 0.76 and 0.95 of the facts, the others half. AR begins one answer in nine with it, masked AR six of ten, the dLLM a third,
# and it gains nothing by that: 0.59 of the facts either way. None of the bases has the habit of taking over a biography's name of three words. The table below counts that for names
# that nobody ever told of, before any fine-tuning; in its lower rows a dLLM is taught the habit first and by itself. It learns it in some hundred steps, and each burst of documents takes it away. In documents
# a name is never a copy of another one beside it, and a masked name learns not to be.

# %% tags=["nbval-check-output"]
print(pd.read_csv(study.scale.tables / "names_trials.csv").to_string(index=False, float_format="%.2f"))

# %% [markdown]
# A base that was asked about 30,000 strange biographies instead of 1,500 cannot know them name by name, and most such bases do take over a name of three words. Does the habit last? The bases below were made
# by hand, one of each kind. `early` is after 20 steps of plain AR and 40 of masked AR; `new wordings` is Biography with each sentence of a text without paraphrases in a wording that no base has met:

# %% tags=["nbval-check-output"]
strangers = pd.read_csv(study.scale.tables / "strangers_trials.csv")
bases = ["base", "made_with", "statement"]
for (base, made_with, statement), rows in strangers.groupby(bases, sort=False):
    print(f"{base}, {made_with}; Biography {statement}")
    print(rows.drop(columns=bases).dropna(axis=1, how="all").to_string(index=False, float_format="%.2f", na_rep=""), end="\n\n")

# %% [markdown]
# Plain fine-tuning unlearns it. From the base that takes over 0.99 of the names it begins 0.53 of its answers with them after 20 steps, 0.39 with paraphrases, when it has learned next to nothing; masked fine-tuning, which always has a text
# to take words over from in its prompt, 0.95 and 0.99 after 40. So from that base paraphrases give plain AR nothing on Biography (0.39 and 0.41), and masked AR, without any, 0.82 and 0.89. After 10,000 steps of pretraining the habit
# lasts longer (0.81 to 0.99 after 20 steps of fine-tuning), and from those bases plain AR has 0.70 and 0.73 of Biography without paraphrases, 0.71 and 0.79 with them.
#
# Told in new wordings, Biography makes plain AR need paraphrases too (0.34 and 0.22, with them 0.63 and 0.64), but masked AR then has less of it (0.72 and 0.65 forward, 0.40 and 0.37 of the names). And so it is with the bases: each shows one
# finding better and another worse. One gives masked AR more than half of Biography's names (0.55 and 0.59), and fewer of N2D's (0.50 and 0.31); from another plain AR has a third of NameDescription without paraphrases and 0.95 with them, and
# masked AR a third of Biography's names. What holds from all five: plain AR answers nothing backward (0.04 at most), masked AR does (0.26 to 0.98), and forward it has 0.76 to 0.95 of Biography, where plain AR has 0.39 to 0.73.
# How far plain AR needs paraphrases on NameDescription differs most (without them 0.16 to 0.85 of the descriptions and 0.33 to 0.87 of the names, with them 0.95 to 0.99 and 0.84 to 1.00).
#
# The dLLM unlearns it as well: from a base that takes over 0.96 of the names it does so in 0.09 of its answers after 200 steps, and it answers less than from the shipped one. It also answers less from a base half of whose biographies
# were always told in one and the same text.
#
# ## In a wording that the base knows?
# The statement of NameDescription's set without paraphrases is in a wording that no base has met (the paraphrases are in wordings that all know). That decides whether plain AR needs
# paraphrases. Runs without them (one seed, each at its best evaluation) on the same people told by other statements, of which the bases know the words; the first statement is one of the 38 in which
# they were told of their own people. Below, the seven new ones are all there are, as paraphrases of each other; plain AR was also given other rates, and two of the statements other worlds, the study's there with its thirty
# texts too:

# %% tags=["nbval-check-output"]
statements = pd.read_csv(study.scale.tables / "statement_trials.csv")
cells = ["n2d_forward", "n2d_backward", "d2n_forward", "d2n_backward"]
arms = ["world_seed", "statement", "texts", "method", "learning_rate"]
best = statements.loc[statements[cells].sum(axis=1).groupby([statements[arm] for arm in arms], sort=False).idxmax()]
print(best.assign(**best[cells].round(2))[["world_seed", "statement", "texts", "method", "learning_rate", "step", *cells]].to_string(index=False))

# %% [markdown]
# One statement in a known wording is enough for plain AR (0.99 forward for descriptions, 0.87 for names). In the seven new wordings it has 0.74 and 0.51 in the mean (0.30 to 0.89), where masked AR has 0.92 and
# 0.93 and the dLLM 0.82 and 0.70, and both answer backward as well (masked AR 0.57 and 0.96). With all seven as paraphrases of each other plain AR has 0.97 and 0.89. So it lacks several wordings, and not those that the
# base knows. It begins with the statement's words and goes on as the base would ("On a quiet street in Dalmere, MA."): what it has learned to write at the start of a document it does not write after a question. It is not the
# conversation that helps masked AR, for with random tokens instead of masks, in the same conversation, it answers no more than plain AR ([figure9](figure9.ipynb)).
#
# Plain AR's rate matters: at two and four times the study's, which the sweep with paraphrases does not choose ([figure5](figure5.ipynb)), it has 0.94 of N2D's descriptions, but of D2N's names never more than 0.61. The
# study's statement was chosen with these scores known (not those at other rates). Of the seven it is the one from which masked AR and the dLLM together answer most; plain AR answers less from two others.
# In five other worlds (one seed) it has 0.41 to 0.59 of N2D's descriptions without paraphrases and 0.92 to 1.00 with them, of D2N's names 0.50 to 0.81 and 0.78 to 0.92: these it gains less surely than world 0 has it (0.45
# and 0.83). The last of the seven statements leaves them at 0.28 to 0.30 in all four worlds that it was tried in. Masked AR and the dLLM answer in world 1 as in world 0.
#
# ## In whose order?
# NameDescription tells half of its people name first (N2D) and half description first (D2N). An answer may keep its document's order or turn it around. At the best evaluation of each run:

# %% tags=["nbval-check-output"]
people = load_corpus("name_description", source=study.scale.source, world_seed=world_seed)
print(answers_by_order(at_best_of("name_description"), people).to_string(index=False, float_format="%.2f"))

# %% [markdown]
# What the dLLM and masked AR learned of a text comes out in its order. Answers that keep it hold 0.95 and more of what is asked for, whatever the question. Turned around, the
# dLLM's hold 0.31 to 0.71, and masked AR's 0.35 where it turns many, asked for a name that stands first (N2D backward). Which order an
# answer has is a habit of the base, and the statement's. The AR bases were taught to begin with what the question gives, which for backward questions turns the text around, but asked for a description that stands first (D2N
# backward) masked AR recites the statement. Of plain AR's answers about N2D, 3 of 100 do.
#
# ## How many others share a fact?
# A backward question gives three facts and asks for the name. At the best evaluation of each run, by how many other documents tell one of the three, in whatever role (six stands for more, too):

# %% tags=["nbval-check-output"]
print(names_by_rivals(at_best, corpus).to_string(index=False, float_format="%.2f"))

# %% [markdown]
# The more others share one, the fewer names come out: of the dLLM 0.82 where none does, 0.71 with one, 0.56 with two, of masked AR 0.63, 0.64 and 0.42. (Three rivals and more are 22 of the 150 questions.) The median is two, as in the original: a hundred people
# have 87 schools and 84 companies to choose from, and few work where another one was born. The set before, with 45 and 60, had a median of four. So what masked AR lacks of Biography's names is not due to
# questions that are harder than the original's.

# %% [markdown]
# ## Answers that are cut off
# The paper gives every method 128 new tokens. Its dLLM, fine-tuned on Biography, recites a document from the first word to the last and beyond (Appendix A.5), and so does this
# one, though it was taught to answer in a sentence. A document has up to 62 tokens (on Wiki 64), and every pass of the dLLM costs as much as its whole canvas, which once was 32 tokens to save
# time. The runs with seeds 0 to 3 (with paraphrases, and on Wiki, 0 and 1), asked a fifth of the questions (Wiki: a third) with canvases of 32, 64 and 96; means over the seeds:

# %% tags=["nbval-check-output"]
lengths = pd.read_csv(study.scale.tables / "answer_length_trials.csv")
print(lengths.groupby(["dataset", "paraphrases", "max_new_tokens"])[["forward", "backward"]].mean().to_string(float_format="%.2f"))

# %% [markdown]
# With 96 tokens, as AR and masked AR have, it gives half as many more of the facts asked forward without paraphrases, from the same weights, and names as often. So it has 96 now.
# Shorter ones would be a saving that looks like a finding about dLLMs. A base that was itself made on canvases of 64 tokens answers no better (0.49 forward, 0.19 backward in answers of 64, one run), and one
# that was taught to answer with whole biographies worse (0.32 and 0.14).
#
# ## Longer runs: plain AR overfits later, and masked AR's names do not all come
# In the study's runs AR keeps what it has gained. In longer ones it loses it, as in the paper's Figure 2, whose runs have 3,840 steps on NameDescription and 10,240 on the others: on
# NameDescription a third of its forward answers in 2,560 steps, on Biography as much in 960, on Wiki three fifths in 720.
#
# More steps do not give masked AR the rest of Biography's names either. In runs of 640 steps, four times the study's, they reach 0.51 and 0.58 (two seeds),
# most of it after 320 steps, and one of the seeds loses forward answers meanwhile.

# %% tags=["nbval-check-output"]
print(pd.read_csv(study.scale.tables / "overfitting_trials.csv").to_string(index=False, float_format="%.2f"))

# %% [markdown]
# ## A weight that does two things
# The output projection of the bases before these was their embedding, as SmolLM2's is. Llama-3.1-8B and LLaDA have one of its own. An output
# projection is told at every token that none of the other words stands there. With tied weights documents therefore move the
# embeddings of all words that they do not have, those of questions and the marks of a conversation among them, by as much a step as
# any other weight, for so AdamW's steps are; untied, these embeddings stay where they are (`tests/test_training.py`). The former bases
# were fine-tuned both ways, tied as they were and untied (the table below, means over two seeds of each run's best): on Biography all three methods
# answered more with their projection untied. The bases now are pretrained untied.

# %% tags=["nbval-check-output"]
untied = pd.read_csv(study.scale.tables / "untied_trials.csv")
last = untied[untied.embeddings == "untied"].groupby(["dataset", "method"]).step.max().rename("last")
untied = untied.join(last, on=["dataset", "method"]).query("step <= last")
best = untied.groupby(["dataset", "method", "embeddings", "seed"]).answers.max().groupby(["dataset", "method", "embeddings"]).mean()
print(best.unstack().to_string(float_format="%.2f"))

# %% [markdown]
# ## More steps, other rates, other bases
# With the bases before these, more of anything changed little. Trials of one seed each, the best of their evaluations in total: rates, small batches, up to
# ten times the steps, a mask ratio for each document, and dLLM bases pretrained longer, on more samples or in longer bursts of
# documents. What helped somewhat is a base that answers in whole passages, as the AR bases do, and learns every masked token of an
# answer and not those of one block: 0.21 forward after 450 steps, and answers that are biographies from the first word on, but of
# somebody else, for the name in the question is not taken over any more. The bases of these trials were not kept, nor the runs; the
# table is what they printed. Those in bursts were stopped at 300 steps.
#
# Taking over that name is a habit that can be taught: the base before had it for about a quarter of the unknown names (recall of their
# words), one that for 1,000 more steps was asked about strangers and nothing else for 0.98. Documents wear it down, to 0.79 after 150 steps
# and 0.50 after 450, but its answers are then better than that base's, 0.17 forward. Taught beside everything else it is not
# learned: in 4,000 steps of the whole mix it stays at 0.29, and 3,000 steps of that mix take it from the base that had it. A lower rate
# changes nothing: at the loss where documents are known, the answers are gone.
#
# Bases that are pretrained untied keep that habit beside everything else: one that was asked about strangers for its first 1,000 steps has
# it for 0.90 after 3,000 steps of the whole mix and for 0.89 after 9,000. After 450 steps of documents 0.48 is left, and the answers are
# sentences, but with wrong facts (0.12 forward, 0.06 backward; with attention dropout 0.15 and 0.18). Another untied base, which
# answers in sentences of the document, has 0.28 forward and 0.31 backward after 450 steps with paraphrases, and rising, without them
# 0.10 and 0.10: what it learns from one text seems bound to that text. An AR base
# that is pretrained untied reaches 0.62 forward with plain fine-tuning and 0.86 forward with masked fine-tuning, and one whose answers
# about a person begin with what the question gives 0.76 and 0.48 with masked fine-tuning. The bases now come from these trials. In the table, `tiny-dllm` and
# `tiny-ar` are the first ones, *the tiny-dllm before* is the present one's without jumps, spare masks and retelling.
#
# Nor did the base before the present one lack practice. Made once more with one thing changed, it answered as little from one text, 0.10 to 0.16 forward and
# 0.09 to 0.16 backward after 300 steps: with every second biography of its own world told in one text alone, as in fine-tuning, also with bursts of 256 steps,
# also with answers in the words that a biography was told in; with three times as many biographies; with rotary frequencies so low that hardly any tells a word's
# neighbours apart, also with attention dropout. What helped was to move things about while it learned to read (above).
#
# Masked AR's missing names do not come from too few biographies in its base's pretraining, nor from the rate: where the shipped base had 0.46, it had 0.41 after
# 160 steps and 0.49 after 320 from a base with four biographies for three and half as many steps more, and with half the rate 0.36 to 0.38 up to 480.

# %% tags=["nbval-check-output"]
trials = pd.read_csv(study.scale.tables / "biography_trials.csv")
trained = trials[trials.step > 0]
arms = ["method", "paraphrases", "base", "learning_rate", "train_batch_size"]
best = trained.loc[(trained.forward + trained.backward).groupby([trained[arm] for arm in arms]).idxmax()]
print(best[[*arms, "step", "forward", "backward", "names_taken_over"]].to_string(index=False))

# %% [markdown]
# ## Other bases
# The seeds of the study are those of fine-tuning. The bases have a seed of their own, 0, and it matters more. Runs without paraphrases from bases with seed 1; from bases that were told in pretraining of as many schools, companies, majors
# and cities as Biography's set has (`long`; with *words of their own* where the set takes words of other lists), where the shipped ones were told of fewer (`short`, and so was Biography's set in
# these trials); and from AR bases that begin only a part of their answers about people with what the question gives (`led`).

# %% tags=["nbval-check-output"]
print(pd.read_csv(study.scale.tables / "base_seeds_trials.csv").to_string(index=False, float_format="%.2f", na_rep=""))

# %% [markdown]
# From the AR base with seed 1 masked AR has 0.38 and 0.45 of the names that NameDescription's descriptions ask for (N2D backward), where four runs from the shipped one on that set had 0.56 to 0.87. The recipes were chosen when scores from
# bases with seed 0 were known, so these are the fairer numbers. The habit above decides most of that: from bases that lead half of their answers, or 0.6, masked AR has 0.69 to 0.88 of these names, and 0.57 to 0.83
# of those that D2N asks for forward, where it has 0.91 and more from the trials' bases that lead all.
#
# Of Biography's names masked AR has 0.30 to 0.69 from all these bases, most from one that knew the new schools and companies by words of their own. A dLLM base that was told of them answers less forward (0.19 to 0.44). That plain
# AR answers nothing backward, and the others do, holds with every base; how much they answer differs, and no table of this scale has that spread.
#
# ## Files

# %% tags=["nbval-ignore-output"]
origin = provenance("forgetting", study)
save_figure(figure, study.scale.figures, "forgetting", origin)
write_table(table, study.scale.tables, "forgetting", origin)
study.pack()
