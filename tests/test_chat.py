"""Format and ids of instruct models of several families, on small tokenizers made for the test."""

import json

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from maskft.chat import chat_format_of, special_tokens
from maskft.collators import MaskedARCollator
from maskft.models import load_base, prompts_for
from maskft.planning.shapes import Shape
from maskft.plots.samples import load_prompts
from maskft.preflight import _look_at_base
from maskft.prompts import LLAMA3
from maskft.samplers import generate_ar

CHATML = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are Q.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
# With the dated block that the study leaves out.
LLAMA = (
    "{{ bos_token }}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>' }}"
    "{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + m.content"
    " + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{{ '[INST] ' + m.content + ' [/INST]' if m.role == 'user' else ' ' + m.content + eos_token }}{% endfor %}"
)
QWEN = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|fim_pad|>")
LLAMA_SPECIAL = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|spare_reserved_1|>", "<|spare_reserved_0|>")
TEXT = "Known for being the renowned baker, Anya Barlow lives at 12 Oak Street."


def make_tokenizer(special, template, *, first=False, prefix_space=False, **roles):
    """A byte-level BPE; special tokens before the ordinary ones (``first``) or behind them, as families differ."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=list(special) if first else [], show_progress=False)
    backend.train_from_iterator([TEXT, "user assistant system model"], trainer)
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **roles)
    tokenizer.chat_template = template
    return tokenizer


def qwen(**changes):
    return make_tokenizer(changes.pop("special", QWEN), CHATML, eos_token="<|im_end|>", pad_token="<|endoftext|>", **changes)


def llama():
    return make_tokenizer(LLAMA_SPECIAL, LLAMA, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>")


def read(prompts, ids):
    return prompts.tokenizer.decode(ids, skip_special_tokens=False)


def test_a_qwen_conversation_has_no_system_block_no_bos_and_no_thoughts():
    prompts = prompts_for(qwen(), n_rows=400)
    to_id = prompts.tokenizer.convert_tokens_to_ids
    assert read(prompts, prompts.question("Who?")) == "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert read(prompts, prompts.document(prompts.encode("Ada."))) == "Ada.<|im_end|>"
    assert read(prompts, prompts.answer("Ada.")) == "Ada.<|im_end|>"
    assert (prompts.ids.begin, prompts.ids.pad, prompts.ids.stop) == ((), to_id("<|endoftext|>"), (to_id("<|im_end|>"),))


def test_a_qwen_mask_is_the_first_row_without_a_token():
    tokenizer = qwen()
    assert prompts_for(tokenizer, n_rows=len(tokenizer) + 3).ids.mask == len(tokenizer)
    with pytest.raises(ValueError, match=r"no id for the mask: none of its 1 unused special tokens .* no row beyond the tokenizer's"):
        prompts_for(tokenizer, n_rows=len(tokenizer))


def test_a_llama_like_conversation_begins_with_bos_and_drops_the_dated_block():
    prompts = prompts_for(llama())
    assert chat_format_of(llama()) == LLAMA3
    assert read(prompts, prompts.question("Who?")) == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWho?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert prompts.ids.mask == prompts.tokenizer.convert_tokens_to_ids("<|spare_reserved_1|>")  # the first by id


@pytest.mark.parametrize(
    ("special", "chosen"),
    [
        ((*QWEN, "<unused0>", "<reserved_9>", "<a_mask>"), "<a_mask>"),
        ((*QWEN, "<unused0>", "<reserved_9>"), "<reserved_9>"),
        ((*QWEN, "<unused1>", "<unused0>"), "<unused1>"),
    ],
)
def test_a_mask_is_taken_by_its_name_before_a_row_without_token(special, chosen):
    tokenizer = qwen(special=special)
    assert prompts_for(tokenizer, n_rows=1000).ids.mask == tokenizer.convert_tokens_to_ids(chosen)


def test_a_tokenizer_s_own_mask_token_comes_first_and_ordinary_words_never():
    tokenizer = qwen(special=(*QWEN, "<a_mask>", "[M]"), mask_token="[M]")
    assert prompts_for(tokenizer).ids.mask == tokenizer.convert_tokens_to_ids("[M]")
    tokenizer = qwen()
    tokenizer.add_tokens(["unmasked"])  # an ordinary word that text gives
    assert "unmasked" not in special_tokens(tokenizer)
    assert prompts_for(tokenizer, n_rows=1000).ids.mask == len(tokenizer)


@pytest.mark.parametrize("first", [False, True])
def test_random_tokens_are_drawn_from_ordinary_ones_wherever_the_special_ones_stand(first):
    tokenizer = qwen(first=first)
    prompts = prompts_for(tokenizer, n_rows=1000)
    special = set(special_tokens(tokenizer).values())
    assert min(special) == (0 if first else len(tokenizer) - len(special))
    assert set(range(prompts.ids.first_ordinary, prompts.ids.n_ordinary)) == set(range(len(tokenizer))) - special
    batch = MaskedARCollator(prompts, corruption="random_token")([{"text_ids": [5] * 4000}])
    start = len(prompts.encode("<|im_start|>user\n"))
    drawn = set(batch["input_ids"][0, start : start + 4000].tolist())
    assert not drawn & special and min(drawn) == prompts.ids.first_ordinary and max(drawn) == prompts.ids.n_ordinary - 1


def test_gemma_like_turns_work_too():
    special = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<unused0>")
    prompts = prompts_for(make_tokenizer(special, GEMMA, first=True, bos_token="<bos>", eos_token="<eos>", pad_token="<eos>"))
    assert read(prompts, prompts.question("Who?")) == "<bos><start_of_turn>user\nWho?<end_of_turn>\n<start_of_turn>model\n"
    assert [prompts.tokenizer.convert_ids_to_tokens(i) for i in prompts.ids.stop] == ["<end_of_turn>", "<eos>"]


@pytest.mark.parametrize(
    ("tokenizer", "reason"),
    [
        (lambda: make_tokenizer(QWEN, None, eos_token="<|im_end|>"), "no chat template"),
        (lambda: make_tokenizer(("<s>", "</s>"), MISTRAL, bos_token="<s>", eos_token="</s>"), "a question ends in ' \\[/INST\\]' and an answer in '</s>'"),
        (lambda: make_tokenizer(("<s>",), "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"), "not at once by a special token"),
        (lambda: qwen(prefix_space=True), "pieces otherwise than the whole"),
    ],
)
def test_an_unsuitable_tokenizer_is_refused_with_the_reason(tokenizer, reason):
    with pytest.raises(ValueError, match=reason):
        prompts_for(tokenizer(), n_rows=1000)


def test_a_text_that_holds_the_mask_token_is_refused():
    prompts = prompts_for(llama())
    with pytest.raises(ValueError, match=r"holds the mask token '<\|spare_reserved_1\|>'"):
        prompts.encode("Ada <|spare_reserved_1|> lives here.")


SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}


@pytest.mark.parametrize(
    ("tokenizer", "config", "model"),
    [(qwen, Qwen2Config, Qwen2ForCausalLM), (llama, LlamaConfig, LlamaForCausalLM)],
)
def test_a_folder_of_another_family_loads_attends_both_ways_learns_and_answers(tokenizer, config, model, tmp_path):
    torch.manual_seed(0)
    tokenizer = tokenizer()
    model(config(vocab_size=len(tokenizer) + 8, **SIZES)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert isinstance(_look_at_base(str(tmp_path), "any"), Shape)  # nothing stands against it before a run either
    load_base(str(tmp_path), method="dllm")  # asserts that it attends to both sides
    loaded, prompts = load_base(str(tmp_path), method="masked_ar")
    batch = MaskedARCollator(prompts)([{"text_ids": prompts.encode(TEXT)}])
    assert prompts.ids.mask in batch["input_ids"] and prompts.ids.mask not in batch["labels"]
    loaded(**batch).loss.backward()
    (answer,) = generate_ar(loaded, [prompts.question("Who?")], max_new_tokens=3, stop=prompts.ids.stop, pad=prompts.ids.pad)
    assert len(answer) <= 3


def test_an_architecture_of_another_kind_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ValueError, match=r"is a gpt2 model; maskft trains llama, qwen2"):
        load_base(str(tmp_path), method="ar")


def test_a_mask_that_is_a_row_without_a_token_is_found_as_in_training(tmp_path):
    """Qwen2.5's embedding has more rows than its tokenizer has tokens."""
    tokenizer = qwen()
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2", "vocab_size": 400}))
    assert load_prompts({"ar": str(tmp_path)}, {})["ar"].ids.mask == len(tokenizer)
