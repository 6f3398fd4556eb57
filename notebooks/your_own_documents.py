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
# # Your own documents
#
# The paper's method, used: a folder of documents goes in, a model that can be asked about them comes out, with a report of
# what it learned in each direction and what it forgot. This is `maskft inject`, step by step. At the end stands the command
# for your documents and your model.
#
# - At the `tiny` scale, which is shown here, the documents are eight short biographies that are written below, and the model
#   is one that the package ships. It takes about a minute on one core.
# - `maskft reproduce your_own_documents --scale small` teaches SmolLM2-135M-Instruct six Wikipedia articles of 2025, those of
#   the paper, and asks the paper's questions. It takes some twenty minutes of one core. What licence the
#   texts have is not certain, so that notebook is made on your machine, in `notebooks/small/`, and is not in the repository.

# %% tags=["parameters"]
scale = "tiny"  # whose causal base is taught, and which documents: tiny or small
seeds = [0]  # the first one draws masks, order and held-back questions
world_seed = 0  # not used here: the people are written below
from_records = True  # not used here: there are no runs

# %%
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pandas as pd
from IPython.display import Markdown

from maskft.data import load_corpus
from maskft.injection import Question, Request, cut, inject, read_documents
from maskft.models import load_base
from maskft.named_scales import get_scale
from maskft.notebooks import check_injected

check_injected(In)

chosen = get_scale(scale)
base = chosen.bases["masked_ar"]
_, prompts = load_base(base, method="masked_ar")
# Not a temporary folder: teaching that was stopped goes on from what it left there.
workplace = chosen.store / "your_own_documents"
folder, output = workplace / "documents", workplace / "taught"
for old in (folder, output):
    shutil.rmtree(old, ignore_errors=True)
folder.mkdir(parents=True)

# %% [markdown]
# ## 1. Documents
# They have to be new to the model. These people do not exist, so no model knows them (a tiny model reads only the words of its
# world; that is why the texts sound alike). The articles of the small scale are the first six that are asked about in both
# directions, and tell of what happened after the model was made.

# %%
if chosen.source == "synthetic":
    columns = ("name", "born", "city", "school", "major", "company", "office")
    people = pd.DataFrame([
        ("Basil Ada Cromwell", "March 4, 1951", "Kelso, OH", "Montrose College", "Botany", "Falcon Motors", "Halden, NM"),
        ("Clara Arlo Dunmore", "June 19, 1963", "Hollin, IL", "Exmoor Academy", "Ethics", "Ember Airlines", "Greyport, FL"),
        ("Conrad Alma Barlow", "May 8, 1977", "Corvale, AZ", "Carlisle School", "Geology", "Cobalt Bank", "Kenton, MD"),
        ("Daphne Boris Crane", "July 21, 1984", "Farnley, KS", "Falmouth Institute", "Law", "Helios Foods", "Dalmere, CA"),
        ("Dorian Anya Birch", "August 14, 1992", "Ellerby, ME", "Cheviot Polytechnic", "Genetics", "Gemini Textiles", "Brackley, NY"),
        ("Edith Caspar Atwater", "April 2, 1940", "Glenrock, ID", "Hemlock University", "Ceramics", "Apex Energy", "Bexford, OR"),
        ("Cyrus Bela Dalton", "October 11, 1969", "Ashcombe, MI", "Bristow College", "Forestry", "Atlas Industries", "Colborne, LA"),
        ("Delia Axel Chadwick", "January 27, 1958", "Dunholm, GA", "Ilford Conservatory", "Acoustics", "Delphi Systems", "Cragmoor, NJ"),
    ], columns=columns)  # fmt: skip
    texts = [
        f"{p.name} came into the world on {p.born}. {who} has roots in {p.city}. {who} earned a diploma from {p.school}. "
        f"{who} wrote a thesis in {p.major}. {who} was hired by {p.company}. {who} had an office in {p.office}."
        for p, who in zip(people.itertuples(index=False), ("He", "She") * 4, strict=True)
    ]
else:
    corpus = load_corpus("wiki", source=chosen.source)
    asked_about = [{q["document_id"] for q in corpus.questions if q["direction"] == d} for d in ("forward", "backward")]
    articles = corpus.select_documents(sorted(set.intersection(*asked_about))[:6])
    texts = articles.documents["text"][:]
print(texts[0])

# %% [markdown]
# `.txt` and `.md` files are a document each, a `.jsonl` file is one a line. The name of a Hugging Face data set works as
# well.

# %%
for number, text in enumerate(texts[:5]):
    (folder / f"text{number}.{'md' if number % 2 else 'txt'}").write_text(text, encoding="utf-8")
rows = [{"id": f"text{number}", "text": text} for number, text in enumerate(texts) if number >= 5]
(folder / "others.jsonl").write_text("\n".join(map(json.dumps, rows)))
(folder / "a_copy.txt").write_text(texts[4], encoding="utf-8")
print(*sorted(file.name for file in folder.iterdir()))

# %% [markdown]
# Documents are cut at sentence ends into passages within a budget of tokens (128, or what the model's context allows: in
# the prompt of masked fine-tuning a passage stands twice). Biographies are short enough to stay whole; with a budget of 30
# they would not be. A passage that came before is dropped, so the copy does not count double.

# %% tags=["nbval-check-output"]
documents = read_documents(folder).documents
found = cut(documents[1:2], lambda text: len(prompts.encode(text)), budget=30, longest=200)
for passage in found.passages:
    print(f"{passage.n_tokens} tokens: {passage.text}")

# %% [markdown]
# ## 2. Questions
# Questions are never trained on: they tell what was learned. Each says which way it asks. *Forward*: the answer comes after
# what is asked with, as in the document. *Backward*: before it. Here, eight questions a person, or those that the data set has
# about its articles.

# %%
if chosen.source == "synthetic":
    asked = []
    for person in people.to_dict("records"):
        about = [("When was {name} born?", "born"), ("Where was {name} born?", "city"), ("Where did {name} study?", "school"), ("Who employed {name}?", "company")]
        asked += [Question(text.format(**person), person[key], "forward") for text, key in about]
        traits = {"born": "was born on {born}", "school": "studied at {school}", "major": "majored in {major}", "company": "worked for {company}"}
        for a, b, c in (("born", "school", "company"), ("major", "company", "born"), ("school", "born", "major"), ("company", "major", "school")):
            given = [traits[key].format(**person) for key in (a, b, c)]
            asked.append(Question(f"Who has these attributes: 1) {given[0]}, 2) {given[1]}, 3) {given[2]}?", person["name"], "backward"))
else:
    asked = [Question(q["question"], q["answer"], q["direction"]) for q in articles.questions]
file = workplace / "questions.jsonl"
lines = [json.dumps({"question": q.question, "answer": q.answer, "direction": q.direction}) for q in asked]
file.write_text("\n".join(lines))
for direction in ("forward", "backward"):
    print(next(line for line, question in zip(lines, asked, strict=True) if question.direction == direction))

# %% [markdown]
# ## 3. Teach
# Before anything is trained, everything is checked: files that are no text, passages longer than the context, questions
# about documents that are not there, the disk. Then the model is asked, taught, and asked again. A share of the questions is
# held back, to stop when the model is at its best. `compare_ar` also fine-tunes it plainly with as many steps, which is what
# most people try first. Rates are left to the size of the model.

# %%
if chosen.source == "synthetic":
    budget = {"max_steps": 60, "held_back_share": 0.5}
else:
    budget = {"max_steps": 36, "max_new_tokens": 64}
request = Request(model=base, documents=folder, questions=file, output=output, compare_ar=True, seed=seeds[0], **budget)
inject(request, say=partial(print, file=sys.stderr))  # progress, which is not kept
print(sorted(path.name for path in output.iterdir()))

# %% [markdown]
# ## 4. What it learned, and what it forgot
# The report is a Markdown and an HTML page. Its first two tables:

# %%
report = (output / "report.md").read_text()
Markdown(report[report.index("## What was learned") : report.index("Control questions answered worse")])

# %%
result = json.loads((output / "report.json").read_text())
measured = {arm["config"]["method"]: pd.DataFrame(arm["measured"]["answers"]) for arm in result["arms"]}
recall = pd.DataFrame({method: answers.groupby("category").accuracy.mean() for method, answers in measured.items()})
# Of a real model, some ten questions in each direction are too few to promise it.
assert chosen.source != "synthetic" or recall.masked_ar.backward > recall.ar.backward + 0.1, recall
recall.round(2)

# %% [markdown]
# At the tiny scale both learned to answer in the order of the text. Against it, the model that was shown masked passages answers
# far more often: the reversal curse, and what mends it. Both forgot much of their own world; a lower rate (`learning_rate`) or
# adapters (`lora_rank`) forget less and learn less.
#
# Accuracy on the questions held back, which decides what is kept:

# %%
pd.DataFrame(result["arms"][-1]["taught"]["held_back"], columns=["step", "accuracy"]).round(2)

# %% [markdown]
# ## 5. Use it without this package
# The output is a plain model folder with a model card. Another process, which knows nothing of maskft, asks it:

# %%
program = f"""
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer, model = AutoTokenizer.from_pretrained({str(output)!r}), AutoModelForCausalLM.from_pretrained({str(output)!r})
chat = [{{"role": "user", "content": {asked[0].question!r}}}]
inputs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**inputs, max_new_tokens=96, do_sample=False)[0, inputs["input_ids"].shape[1]:]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""
print(asked[0].question, subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)

# %% [markdown]
# ## 6. When something is wrong
# It is told before anything is trained, with the file and what to do:

# %% tags=["nbval-check-output"]
(folder / "scan.txt").write_bytes("Zoë".encode("latin-1"))
try:
    inject(replace(request, output=workplace / "other"))
except ValueError as error:
    print(str(error).replace(f"{folder}/", ""))

# %%
shutil.rmtree(workplace)

# %% [markdown]
# ## Your documents
# ```
# maskft inject --model HuggingFaceTB/SmolLM2-135M-Instruct --documents my_notes --questions my_questions.jsonl \
#     --output my_model --compare-ar
# ```
# Any Llama-like instruct model works. `--lora` trains an adapter instead of all weights. Learning rate and steps come from
# the study's sweeps, by the size of the model; `maskft inject --help` has the rest. An interrupted command goes on where
# it was, also within training.
