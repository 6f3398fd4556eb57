"""What a run has learned of its documents and what is left of its base, measured beside its answers."""

import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from maskft.data import load_corpus
from maskft.exhibits import exhibit_runs, make_run
from maskft.models import load_base
from maskft.plots import forgetting, forgetting_curves
from maskft.probing import accuracy_on_own_world, find_facts, share_in_documents
from maskft.runs import RunStore
from maskft.scales import PAPER, SMALL, TINY
from maskft.training import main


@pytest.fixture(scope="module")
def loaded():
    return load_corpus("biography", source="synthetic"), *load_base("tiny-ar", method="ar")


def test_every_fact_of_a_biography_is_found_where_it_stands(loaded):
    """Six facts of each of a hundred people, nobody of whom was born where they work; a span's tokens are the answer's."""
    corpus, _, prompts = loaded
    spans = find_facts(corpus, prompts)
    facts = {(q["document_id"], q["answer"]) for q in corpus.questions.to_list() if q["direction"] == "forward"}
    assert len(spans) == len(facts) == 600 and {prompts.decode(ids[start:stop]) for ids, start, stop in spans} == {answer for _, answer in facts}


class Oracle:
    """Knows the documents, which have a fact each: fills in what is masked, or continues what it reads; ``spoil`` errs in a fact's last token."""

    def __init__(self, spans, prompts, method, *, spoil):
        self.device, self.n_words, self.known = torch.device("cpu"), len(prompts.tokenizer), {}
        mask = prompts.ids.mask
        for ids, start, stop in spans:
            told = [*ids[:start], *[mask] * (stop - start), *ids[stop:]]
            wanted = [*ids[: stop - 1], mask if spoil else ids[stop - 1], *ids[stop:]]
            if method == "dllm":
                self.known[tuple(prompts.document(told))] = prompts.document(wanted)
            elif method == "ar":
                self.known[tuple(prompts.document(ids))] = prompts.document(wanted)[1:]
            else:
                context, target = prompts.demask(told, ids)
                self.known[tuple(context + target)] = (context + wanted + target[len(ids) :])[1:]

    def __call__(self, input_ids, use_cache):
        logits = torch.zeros(1, input_ids.shape[1], self.n_words)
        for i, token in enumerate(self.known[tuple(input_ids[0].tolist())]):
            logits[0, i, token] = 1.0
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("method", ["ar", "dllm", "masked_ar"])
def test_who_knows_the_documents_fills_in_all_and_who_errs_in_a_token_of_each_none(loaded, method):
    _, _, prompts = loaded
    statements = load_corpus("name_description", source="synthetic").select_documents([0, 1, 40])  # two with the name first
    spans = find_facts(statements, prompts)
    assert len(spans) == 3
    assert share_in_documents(Oracle(spans, prompts, method, spoil=False), statements, prompts, method) == (1.0, 3)
    assert share_in_documents(Oracle(spans, prompts, method, spoil=True), statements, prompts, method) == (0.0, 3)


def test_a_base_answers_about_its_own_world_and_fills_in_few_facts_of_people_it_never_met(loaded):
    corpus, model, prompts = loaded
    config = make_run(TINY, "ar", "biography", "none")
    value, n = accuracy_on_own_world(model, prompts, config)
    assert value > 0.5 and n == 120
    share, _ = share_in_documents(model, corpus, prompts, "ar")
    assert share < 0.2  # some are guessed: universities and companies end in a few words


def test_a_probed_run_is_the_plain_run_with_two_measures_more(tmp_path, make_config):
    plain = make_config("dllm", question_stride=60)
    probed = make_config("dllm", question_stride=60, probe="forgetting")
    listed = tmp_path / "configs.jsonl"
    listed.write_text("".join(json.dumps(config.to_dict()) + "\n" for config in (plain, probed)))
    assert main(["--store", str(tmp_path / "store"), "--configs", str(listed)]) == 0
    store = RunStore(tmp_path / "store")
    with_probe = store.metrics(probed)
    own = [row for row in with_probe if row["category"] not in ("in_document", "own_world")]
    assert own == store.metrics(plain) and plain.run_id != probed.run_id
    assert [(row["step"], row["category"], row["n_questions"]) for row in with_probe if row not in own] == [
        (step, category, n) for step in (0, 2) for category, n in (("in_document", 60), ("own_world", 120))
    ]
    frame = pd.DataFrame(with_probe).assign(dataset="name_description", method="dllm", seed=0)
    curves = forgetting_curves(frame)
    scores = [row["value"] for row in own if row["step"] == 2 and row["metric"] == "accuracy"]
    assert curves.set_index("step").answers[2] == pytest.approx(sum(scores) / len(scores))
    figure = forgetting(frame)
    assert len(figure.axes) == 3 and all(list(axes.lines[-1].get_xdata()) == [0, 2] for axes in figure.axes)


def test_the_exhibit_probes_the_runs_without_paraphrases_and_is_of_the_tiny_scale(make_config):
    runs = exhibit_runs("forgetting", TINY, [0])
    arms = {(m, d) for m in ("ar", "dllm", "masked_ar") for d in ("name_description", "biography")}
    assert {(run.method, run.dataset) for run in runs} == arms and len(runs) == len(arms)
    assert all(run.probe == "forgetting" and run.paraphrases == "none" for run in runs)
    assert exhibit_runs("forgetting", SMALL, [0]) == exhibit_runs("forgetting", PAPER, [0]) == []
    with pytest.raises(ValueError, match="probe='forgetting' with source='original'"):
        make_config(source="original", probe="forgetting")
