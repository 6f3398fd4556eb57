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
# what it learned in each direction and what it forgot. This is `maskft inject`, step by step, on eight short biographies
# that are written here, with the tiny model that the package ships. It takes about a minute on one core. At the end
# stands the command for your documents and your model.

# %% tags=["parameters"]
scale = "tiny"  # whose causal base is taught
seeds = [0]  # the first one draws masks, order and held-back questions
world_seed = 0  # not used here: the people are written below
from_records = True  # not used here: there are no runs, teaching takes less than a minute

# %%
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from IPython.display import Markdown

from maskft.injection import Question, Request, cut, inject, read_documents
from maskft.models import load_base
from maskft.named_scales import get_scale

base = get_scale(scale).bases["masked_ar"]
_, prompts = load_base(base, method="masked_ar")
workplace = TemporaryDirectory()
folder = Path(workplace.name) / "documents"
folder.mkdir()

# %% [markdown]
# ## 1. Documents
# `.txt` and `.md` files are a document each, a `.jsonl` file is one a line. The name of a Hugging Face data set works as
# well. These people do not exist, so no model knows them. (A tiny model reads only the words of its world; that is why the
# texts sound alike.)

# %%
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
for number, text in enumerate(texts[:5]):
    (folder / f"person{number}.{'md' if number % 2 else 'txt'}").write_text(text)
rows = [{"id": f"person{number}", "text": text} for number, text in enumerate(texts) if number >= 5]
(folder / "others.jsonl").write_text("\n".join(map(json.dumps, rows)))
(folder / "a_copy.txt").write_text(texts[4])
print(texts[0])

# %% [markdown]
# Documents are cut at sentence ends into passages within a budget of tokens (128, or what the model's context allows: in
# the prompt of masked fine-tuning a passage stands twice). These are short enough to stay whole; with a budget of 30 they
# would not be. A passage that came before is dropped, so the copy does not count double.

# %% tags=["nbval-check-output"]
documents = read_documents(folder).documents
found = cut(documents[1:2], lambda text: len(prompts.encode(text)), budget=30, longest=200)
for passage in found.passages:
    print(f"{passage.n_tokens} tokens: {passage.text}")

# %% [markdown]
# ## 2. Questions
# Questions are never trained on: they tell what was learned. Each says which way it asks. *Forward*: the answer comes after
# what is asked with, as in the document. *Backward*: before it. Here, eight questions a person; half of them are
# held back, to stop when the model is at its best.

# %%
asked = []
for person in people.to_dict("records"):
    about = [("When was {name} born?", "born"), ("Where was {name} born?", "city"), ("Where did {name} study?", "school"), ("Who employed {name}?", "company")]
    asked += [Question(text.format(**person), person[key], "forward") for text, key in about]
    traits = {"born": "was born on {born}", "school": "studied at {school}", "major": "majored in {major}", "company": "worked for {company}"}
    for a, b, c in (("born", "school", "company"), ("major", "company", "born"), ("school", "born", "major"), ("company", "major", "school")):
        given = [traits[key].format(**person) for key in (a, b, c)]
        asked.append(Question(f"Who has these attributes: 1) {given[0]}, 2) {given[1]}, 3) {given[2]}?", person["name"], "backward"))
file = Path(workplace.name) / "questions.jsonl"
file.write_text("\n".join(json.dumps({"question": q.question, "answer": q.answer, "direction": q.direction}) for q in asked))
print(file.read_text().splitlines()[0], file.read_text().splitlines()[4], sep="\n")

# %% [markdown]
# ## 3. Teach
# Before anything is trained, everything is checked: files that are no text, passages longer than the context, questions
# about documents that are not there, the disk. Then the model is asked, taught, and asked again. `compare_ar` also
# fine-tunes it plainly with as many steps, which is what most people try first.

# %%
request = Request(
    model=base, documents=folder, questions=file, output=Path(workplace.name) / "taught", compare_ar=True,
    max_steps=60, held_back_share=0.5, seed=seeds[0],
)
output = inject(request, say=lambda line: None)
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
assert recall.masked_ar.backward > recall.ar.backward + 0.1, recall
recall.round(2)

# %% [markdown]
# Both learned to answer in the order of the text. Against it, only the model that was shown masked passages answers: the
# reversal curse, and what mends it. Both forgot much of their own world, and a tiny model at this learning rate forgets more
# than a large one would; a lower rate (`learning_rate`) or adapters (`lora_rank`) forget less and learn less.
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
    inject(replace(request, output=Path(workplace.name) / "other"))
except ValueError as error:
    print(str(error).replace(f"{folder}/", ""))

# %%
workplace.cleanup()

# %% [markdown]
# ## Your documents
# ```
# maskft inject --model HuggingFaceTB/SmolLM2-135M-Instruct --documents my_notes --questions my_questions.jsonl \
#     --output my_model --compare-ar
# ```
# Any Llama-like instruct model works. `--lora` trains an adapter instead of all weights. Learning rate and steps come from
# the study's sweeps, by the size of the model; `maskft inject --help` has the rest. An interrupted command goes on where
# it was: what was finished is not done again.
