"""Decoding, token for token against slow references in plain Python lists."""

import math
import statistics

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GenerationConfig

from maskft.ar_shift import shift_outputs
from maskft.llada import rotate_in_float32
from maskft.samplers import (
    Commit,
    choose_commits,
    commits_per_step,
    cut_at_stop,
    generate_ar,
    generate_diffusion,
    generate_diffusion_approximate,
    generate_diffusion_drafted,
    pad_left,
)

PROMPTS = [[300, 301, 302, 303, 304], [400, 401], [310, 320, 330, 340, 350, 360, 370]]
N_NEW = 16


def slow_diffusion(model, prompt, *, block_length, steps, mask, commits=None, n_new=N_NEW) -> list[int]:
    """LLaDA's sampler on one prompt: whole-sequence logits, every block, nothing stopped early. The mask is never chosen."""
    ids = [*prompt, *[mask] * n_new]
    n_blocks = n_new // block_length
    for block in range(n_blocks):
        positions = range(len(prompt) + block * block_length, len(prompt) + (block + 1) * block_length)
        per_step = steps // n_blocks
        for step in range(per_step):
            count = block_length // per_step + (1 if step < block_length % per_step else 0)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0].tolist()
            candidates = []
            for position in positions:
                if ids[position] == mask:
                    row = [-math.inf if token == mask else x for token, x in enumerate(logits[position])]
                    top = max(row)
                    candidates.append((-1 / sum(math.exp(x - top) for x in row), position, row.index(top)))
            for confidence, position, token in sorted(candidates)[:count]:
                ids[position] = token
                if commits is not None:
                    commits.append((position - len(prompt), token, -confidence))
    return ids[len(prompt) :]


def before_stop(ids, stop) -> list[int]:
    return ids[: min((ids.index(token) for token in stop if token in ids), default=len(ids))]


@pytest.fixture(scope="module")
def bidirectional(random_llama):
    return random_llama(is_causal=False, seed=1)


@pytest.fixture(scope="module")
def ids(prompts):
    return {"mask": prompts.ids.mask, "pad": prompts.ids.pad}


# (block length, steps): a token a step, two a step, and eight tokens in three steps (3, 3, 2).
SCHEDULES = [(4, 16), (8, 16), (4, 8), (8, 6)]


@pytest.fixture(scope="module")
def references(bidirectional, ids):
    """The slow answers to all prompts, by schedule, whole."""
    return {
        (block, steps): [slow_diffusion(bidirectional, p, block_length=block, steps=steps, mask=ids["mask"]) for p in PROMPTS]
        for block, steps in SCHEDULES
    }


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("batched", [True, False])
def test_diffusion_without_a_stop_equals_the_slow_reference(schedule, batched, bidirectional, ids, references):
    block, steps = schedule
    settings = {"max_new_tokens": N_NEW, "block_length": block, "steps": steps, "stop": (), **ids}
    groups = [PROMPTS] if batched else [[prompt] for prompt in PROMPTS]
    answers = [answer for group in groups for answer in generate_diffusion(bidirectional, group, **settings)]
    assert answers == references[schedule]
    assert not any(ids["mask"] in answer for answer in answers)
    assert len({tuple(answer) for answer in answers}) == 3  # else a mixed-up order of rows would not show


def slow_passes(commits, counts, stop) -> int:
    """After how many passes the first stop id of a row is final and all before it is; all passes if that never is."""
    canvas: list = [None] * N_NEW
    start = 0
    for n, count in enumerate(counts, start=1):
        for position, token, _ in commits[start : start + count]:
            canvas[position] = token
        start += count
        final = canvas[: canvas.index(None)] if None in canvas else canvas
        if any(token in stop for token in final):
            return n
    return len(counts)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rows_that_end_early_equal_the_slow_reference_and_leave_the_batch(schedule, bidirectional, ids, references):
    """Stop ids are picked from the whole answers, so that rows 1 and 2 end, apart or in one run, and row 0 does not. A
    row is last computed in the pass that completes its answer. The third time only two rows fit: the one that waits is
    the shortest, row 1, and it takes the place of whichever ends first."""
    block, steps = schedule
    whole = references[schedule]
    counts = commits_per_step(block, steps // (N_NEW // block)) * (N_NEW // block)
    traces: list[list] = [[], [], []]
    for prompt, trace in zip(PROMPTS, traces, strict=True):
        slow_diffusion(bidirectional, prompt, block_length=block, steps=steps, mask=ids["mask"], commits=trace)
    sizes: list[int] = []
    n_early = []
    hook = bidirectional.register_forward_pre_hook(
        lambda _, __, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    first = next(token for token in whole[1] if token not in whole[0])  # ends row 1 and not row 0
    second = next(token for token in whole[2][block:] if token not in whole[0])
    try:
        for stop in [(first,), (second,), (first, second), (whole[0][-1],)]:
            passes = [slow_passes(trace, counts, stop) for trace in traces]
            settings = {"max_new_tokens": N_NEW, "block_length": block, "steps": steps, "stop": stop, **ids}
            answers = [before_stop(answer, stop) for answer in whole]
            sizes.clear()
            assert generate_diffusion(bidirectional, PROMPTS, **settings) == answers
            assert sizes == [sum(n > k for n in passes) for k in range(max(passes))]
            sizes.clear()
            assert generate_diffusion(bidirectional, PROMPTS, batch_size=2, **settings) == answers
            ends = [passes[0], passes[2], min(passes[0], passes[2]) + passes[1]]
            assert sizes == [2 - (k >= sorted(ends)[-2]) for k in range(max(ends))]
            n_early.append(sum(n < len(counts) for n in passes))
    finally:
        hook.remove()
    assert any(0 < n < len(PROMPTS) for n in n_early)


LONG_AND_SHORT = [[300 + (7 * i + j) % 900 for j in range(1 + (i * 5) % 23)] for i in range(70)]


@pytest.fixture(scope="module")
def many_references(bidirectional, ids):
    """Whole slow answers to the prompts above, by schedule."""
    return {
        (block, steps): [
            slow_diffusion(bidirectional, p, block_length=block, steps=steps, mask=ids["mask"], n_new=8) for p in LONG_AND_SHORT
        ]
        for block, steps in [(4, 8), (8, 3)]
    }


@pytest.mark.parametrize(
    ("batch_size", "ends", "schedule"),
    [(1, True, (4, 8)), (7, True, (4, 8)), (64, True, (4, 8)), (7, False, (4, 8)), (64, False, (4, 8)), (7, True, (8, 3))],
)
def test_long_and_short_prompts_in_any_batch_equal_the_slow_reference(
    batch_size, ends, schedule, bidirectional, ids, many_references
):
    """70 prompts of 1 to 23 tokens, so that of 64 at a time six wait; without a stop id no row leaves before its end. With
    8 tokens in three steps (3, 3, 2) rows of one pass are at different steps and commit different numbers."""
    stop, (block, steps) = tuple(range(0, 1660, 7)) if ends else (), schedule
    settings = {"max_new_tokens": 8, "block_length": block, "steps": steps, "stop": stop, **ids}
    answers = generate_diffusion(bidirectional, LONG_AND_SHORT, batch_size=batch_size, **settings)
    assert answers == [before_stop(answer, stop) for answer in many_references[schedule]]
    assert len({len(answer) for answer in answers}) == (9 if ends else 1)


def test_an_answer_that_opens_with_a_stop_is_empty(bidirectional, ids, references):
    stop = (references[4, 16][0][0],)
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "steps": 16, "stop": stop, **ids}
    assert generate_diffusion(bidirectional, PROMPTS[:1], **settings) == [[]]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_on_commit_reports_the_commits_of_the_slow_reference_in_their_order(schedule, bidirectional, ids, references):
    """Tokens of one step are reported from left to right; rows are told by their place in the prompts, also after
    another row has left the batch. A step is a forward pass: with eight tokens a block in three steps, block 0 commits
    3, 3 and 2 in passes 0, 1 and 2, block 1 in passes 3, 4 and 5."""
    block, steps = schedule
    stop = (next(token for token in references[schedule][0] if token not in references[schedule][2]),)
    trace: list[Commit] = []
    settings = {"max_new_tokens": N_NEW, "block_length": block, "steps": steps, "stop": stop, **ids}
    generate_diffusion(bidirectional, PROMPTS, **settings, on_commit=trace.append)
    expected: list = []
    slow_diffusion(bidirectional, PROMPTS[2], block_length=block, steps=steps, mask=ids["mask"], commits=expected)
    counts = commits_per_step(block, steps // (N_NEW // block)) * (N_NEW // block)
    ordered, start = [], 0
    for step, count in enumerate(counts):
        ordered += [(step, *commit) for commit in sorted(expected[start : start + count])]
        start += count
    seen = [commit for commit in trace if commit.row == 2]
    assert [(c.step, c.position, c.token) for c in seen] == [commit[:3] for commit in ordered]
    assert [c.confidence for c in seen] == pytest.approx([commit[3] for commit in ordered], rel=1e-3)
    assert len(seen) == N_NEW
    if steps == N_NEW:
        assert [c.position for c in seen] != list(range(N_NEW))  # the order is the model's, not left to right


def test_recording_the_commits_changes_no_answer(bidirectional, ids, references):
    trace: list[Commit] = []
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "steps": 16, "stop": (), **ids}
    assert generate_diffusion(bidirectional, PROMPTS, **settings, on_commit=trace.append) == references[4, 16]
    # The canvas of each row, put together from its commits, is its answer.
    for row, answer in enumerate(references[4, 16]):
        assert [c.token for c in sorted((c for c in trace if c.row == row), key=lambda c: c.position)] == answer


def slow_approximate(model, prompt, *, threshold, mask, n_new=N_NEW, block=4) -> list[int]:
    """One prompt without a cache: each pass commits what is surer than the threshold, and the surest in any case."""
    ids = [*prompt, *[mask] * n_new]
    for start in range(len(prompt), len(ids), block):
        while mask in ids[start : start + block]:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids])).logits[0]
            logits[:, mask] = -math.inf
            sure, tokens = logits.softmax(-1).max(-1)
            masked = [i for i in range(start, start + block) if ids[i] == mask]
            surest = max(masked, key=lambda i: float(sure[i]))
            for i in masked:
                if i == surest or sure[i] > threshold:
                    ids[i] = int(tokens[i])
    return ids[len(prompt) :]


def slow_block_cache(model, prompt, *, mask, n_new=N_NEW, block=4) -> list[int]:
    """One prompt: layer by layer in plain matrices, what lies outside the block keeps its states from the block's first
    pass, at every layer."""
    ids = [*prompt, *[mask] * n_new]
    layers, config = model.model.layers, model.config
    size = config.hidden_size // config.num_attention_heads
    angles = torch.arange(len(ids))[:, None] * config.rope_parameters["rope_theta"] ** -(torch.arange(0, size, 2) / size)
    cos, sin = (f(torch.cat([angles, angles], -1))[:, None] for f in (torch.cos, torch.sin))
    turned = lambda x: x * cos + torch.cat([-x[..., size // 2 :], x[..., : size // 2]], -1) * sin  # noqa: E731
    for start in range(len(prompt), len(ids), block):
        inside = torch.tensor([[start <= i < start + block] for i in range(len(ids))])
        kept: dict = {}
        for _ in range(block):
            with torch.no_grad():
                x = model.model.embed_tokens(torch.tensor(ids))
                for n, layer in enumerate(layers):
                    x = kept[n] = torch.where(inside, x, kept.get(n, x))
                    normed, at = layer.input_layernorm(x), layer.self_attn
                    q, k, v = (p(normed).view(len(ids), -1, size) for p in (at.q_proj, at.k_proj, at.v_proj))
                    weights = torch.einsum("qhd,khd->hqk", turned(q), turned(k)) / math.sqrt(size)
                    x = x + at.o_proj(torch.einsum("hqk,khd->qhd", weights.softmax(-1), v).flatten(1))
                    x = x + layer.mlp(layer.post_attention_layernorm(x))
                logits = model.lm_head(model.model.norm(x))
            logits[:, mask] = -math.inf
            sure, tokens = logits.softmax(-1).max(-1)
            surest = max((i for i in range(start, start + block) if ids[i] == mask), key=lambda i: float(sure[i]))
            ids[surest] = int(tokens[surest])
    return ids[len(prompt) :]


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_parallel_commits_equal_a_slow_loop_and_take_fewer_passes(batch_size, bidirectional, ids):
    """The threshold is the median confidence of the exact sampler, so that about every other commit passes it."""
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "stop": (), "batch_size": batch_size, **ids}
    trace: list[Commit] = []
    generate_diffusion(bidirectional, PROMPTS, steps=N_NEW, **settings, on_commit=trace.append)
    threshold = statistics.median(commit.confidence for commit in trace)
    calls = []
    hook = bidirectional.register_forward_hook(lambda *_: calls.append(1))
    answers = generate_diffusion_approximate(bidirectional, PROMPTS, threshold=threshold, block_cache=False, **settings)
    hook.remove()
    assert answers == [slow_approximate(bidirectional, p, threshold=threshold, mask=ids["mask"]) for p in PROMPTS]
    assert len(calls) < N_NEW * -(-len(PROMPTS) // (batch_size or 3))


@pytest.mark.parametrize("batch_size", [1, 2, None])
def test_the_block_cache_equals_a_slow_loop_that_keeps_what_lies_outside(batch_size, bidirectional, ids):
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "stop": (), "batch_size": batch_size, **ids}
    widths = []
    hook = bidirectional.register_forward_pre_hook(
        lambda _, __, options: widths.append(options["input_ids"].shape[1]), with_kwargs=True
    )
    answers = generate_diffusion_approximate(bidirectional, PROMPTS, **settings)
    hook.remove()
    assert answers == [slow_block_cache(bidirectional, p, mask=ids["mask"]) for p in PROMPTS]
    assert [width == 4 for width in widths] == [False, True, True, True] * (len(widths) // 4)


def test_a_model_that_rotates_within_attention_answers_alike(random_llama, ids, references):
    """LLaDA's attention rotates queries and keys itself: in float32 it is the same arithmetic, and the last layer's few
    queries have to meet keys of all positions."""
    model = random_llama(is_causal=False, seed=1)
    rotate_in_float32(model)
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "stop": (), **ids}
    assert generate_diffusion(model, PROMPTS, steps=N_NEW, **settings) == references[4, 16]
    plain = generate_diffusion_approximate(random_llama(is_causal=False, seed=1), PROMPTS, **settings)
    assert generate_diffusion_approximate(model, PROMPTS, **settings) == plain


@pytest.mark.parametrize("schedule", [(4, 16), (8, 6)])
def test_a_model_that_predicts_from_the_position_before_answers_as_the_slow_reference(schedule, random_llama, ids):
    """Its first token of a block comes from the state before the block, which a block computed alone would lack."""
    (block, steps), model = schedule, random_llama(is_causal=False, seed=1)
    shift_outputs(model)
    whole = [slow_diffusion(model, p, block_length=block, steps=steps, mask=ids["mask"]) for p in PROMPTS]
    settings = {"max_new_tokens": N_NEW, "block_length": block, **ids}
    assert generate_diffusion(model, PROMPTS, steps=steps, stop=(), batch_size=2, **settings) == whole
    with pytest.raises(ValueError, match="autoregressive shift"):
        generate_diffusion_approximate(model, PROMPTS, stop=(), **settings)


def test_without_cache_and_threshold_the_approximate_sampler_is_the_exact_one(bidirectional, ids, references):
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "stop": (), "block_cache": False, **ids}
    assert generate_diffusion_approximate(bidirectional, PROMPTS, **settings) == references[4, 16]


def test_the_mask_is_never_committed_although_the_model_prefers_it(random_llama, ids):
    """The mask's row of lm_head is a hundred times the sum of all, so it is far the largest or far the smallest logit;
    its negative is tried too."""
    model = random_llama(is_causal=False, seed=2)
    settings = {"max_new_tokens": 8, "block_length": 4, "steps": 8, "stop": (), **ids}
    with torch.no_grad():
        base = model.lm_head.weight.sum(dim=0)
        for sign in (100, -100):
            model.lm_head.weight[ids["mask"]] = sign * base
            answers = generate_diffusion(model, PROMPTS, **settings)
            assert not any(ids["mask"] in answer for answer in answers)
            slow = [slow_diffusion(model, p, block_length=4, steps=8, mask=ids["mask"], n_new=8) for p in PROMPTS]
            assert answers == slow


def test_ties_go_to_the_leftmost_position_and_the_lowest_token():
    """Equal logits everywhere: three ordinary tokens share 1/3 each, the mask (id 1) takes no part."""
    logits = torch.zeros(2, 4, 4)
    is_masked = torch.tensor([[True] * 4, [False, True, True, True]])
    tokens, committed, confidence = choose_commits(logits, is_masked, mask=1, count=2)
    assert tokens.tolist() == [[0] * 4] * 2
    assert committed.tolist() == [[True, True, False, False], [False, True, True, False]]
    torch.testing.assert_close(confidence[0], torch.full((4,), 1 / 3))
    assert confidence[1, 0] == -math.inf


def test_confidence_is_told_apart_in_float32_where_bfloat16_rounds_it_to_1():
    """Margins of 8 and 9 nats give 1 - exp(-8) = 0.99966 and 0.99988; bfloat16 next to 1 has steps of 1/256."""
    logits = torch.zeros(1, 2, 2, dtype=torch.bfloat16)
    logits[0, 0, 0], logits[0, 1, 0] = 8, 9
    padded = torch.cat([logits, torch.full((1, 2, 1), 50, dtype=torch.bfloat16)], dim=-1)
    _, committed, confidence = choose_commits(padded, torch.ones(1, 2, dtype=torch.bool), mask=2, count=1)
    assert committed.tolist() == [[False, True]]
    assert confidence[0].tolist() == pytest.approx([1 / (1 + math.exp(-8)), 1 / (1 + math.exp(-9))], abs=1e-6)


def test_no_more_than_the_masked_positions_are_committed():
    _, committed, _ = choose_commits(torch.zeros(1, 3, 3), torch.tensor([[False, True, False]]), mask=2, count=3)
    assert committed.tolist() == [[False, True, False]]


@pytest.mark.parametrize(
    ("n_masked", "n_steps", "expected"),
    [(4, 4, [1, 1, 1, 1]), (4, 3, [2, 1, 1]), (8, 3, [3, 3, 2]), (8, 2, [4, 4]), (5, 1, [5]), (2, 3, [1, 1, 0])],
)
def test_earlier_steps_commit_the_rest(n_masked, n_steps, expected):
    assert commits_per_step(n_masked, n_steps) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_length": 3}, "max_new_tokens=16 must be a multiple of block_length=3"),
        ({"block_length": 0}, "must be a multiple of block_length=0"),
        ({"steps": 6}, "steps=6 must be a multiple of the 4 blocks"),
        ({"steps": 0}, "steps=0 must be a multiple"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"steps": 20}, "steps=20 must be a multiple of the 4 blocks and at most 16"),
        ({"prompts": [[300, 301], []]}, "every prompt needs at least one token"),
        ({"prompts": []}, "every prompt needs at least one token"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, bidirectional, ids):
    arguments = {"prompts": PROMPTS, "max_new_tokens": 16, "block_length": 4, "steps": 16, "stop": (), **ids} | change
    with pytest.raises(ValueError, match=message):
        generate_diffusion(bidirectional, **arguments)


def test_a_prompt_with_the_mask_and_a_causal_model_are_refused(bidirectional, random_llama, ids):
    settings = {"max_new_tokens": 8, "block_length": 4, "steps": 8, "stop": (), **ids}
    with pytest.raises(ValueError, match=f"a prompt holds the mask id {ids['mask']}"):
        generate_diffusion(bidirectional, [[300], [301, ids["mask"]]], **settings)
    with pytest.raises(ValueError, match="needs a bidirectional model"):
        generate_diffusion(random_llama(is_causal=True), PROMPTS, **settings)


def slow_greedy(model, prompt, n_new) -> list[int]:
    """One prompt, no cache, no padding: the most likely next token of the whole sequence, again and again."""
    ids = list(prompt)
    for _ in range(n_new):
        with torch.no_grad():
            last = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].tolist()
        ids.append(last.index(max(last)))
    return ids[len(prompt) :]


def test_greedy_decoding_equals_a_slow_loop_with_and_without_stops(random_llama, ids):
    model = random_llama(is_causal=True, seed=3)
    whole = [slow_greedy(model, prompt, N_NEW) for prompt in PROMPTS]
    early = next(token for token in whole[1] if token not in whole[0])
    for stop in [(early,), (early, whole[2][3]), (whole[0][0],), (ids["pad"],)]:
        answers = generate_ar(model, PROMPTS, max_new_tokens=N_NEW, stop=stop, pad=ids["pad"])
        assert answers == [before_stop(answer, stop) for answer in whole]
    assert [len(before_stop(answer, (early,))) for answer in whole][:2] != [N_NEW, N_NEW]


def test_rows_leave_a_batch_once_they_have_ended(random_llama, ids):
    """At every fourth token; until then an answer is computed beyond its end."""
    model = random_llama(is_causal=True, seed=3)
    whole = [slow_greedy(model, prompt, 12) for prompt in PROMPTS]
    stop, sizes = (whole[0][3], whole[1][6]), []
    expected = [before_stop(answer, stop) for answer in whole]
    n_steps = [4 * math.ceil((len(answer) + 1) / 4) if len(answer) < 12 else 12 for answer in expected]
    assert len(set(n_steps)) > 1 and 3 in map(len, expected)  # one ends with the fourth token
    model.register_forward_pre_hook(lambda _, arguments, options: sizes.append(len(options["input_ids"])), with_kwargs=True)
    assert generate_ar(model, PROMPTS, max_new_tokens=12, stop=stop, pad=ids["pad"]) == expected
    assert sizes == [sum(n > step for n in n_steps) for step in range(max(n_steps))]


def test_greedy_decoding_takes_nothing_from_the_settings_that_a_model_comes_with(random_llama, ids):
    """Qwen's instruct models come with a repetition penalty, which is not greedy decoding."""
    model, plain = random_llama(is_causal=True, seed=3), random_llama(is_causal=True, seed=3)
    came_with = GenerationConfig(repetition_penalty=1.8, no_repeat_ngram_size=2, do_sample=True, temperature=0.7)
    model.generation_config = came_with
    common = {"max_new_tokens": N_NEW, "stop": (ids["pad"],), "pad": ids["pad"]}
    assert generate_ar(model, PROMPTS, **common) == generate_ar(plain, PROMPTS, **common)
    assert model.generation_config is came_with


class CastsOf(TorchDispatchMode):
    """Counts how often a tensor is converted to another type."""

    def __init__(self, tensor):
        super().__init__()
        self.place, self.count = tensor.data_ptr(), 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += function is torch.ops.aten._to_copy.default and arguments[0].data_ptr() == self.place
        return function(*arguments, **options or {})


@pytest.mark.parametrize("is_causal", [True, False])
def test_under_autocast_weights_are_rounded_once_and_not_at_every_token(is_causal, random_llama, ids):
    model, common = random_llama(is_causal=is_causal, seed=3), {"max_new_tokens": N_NEW, "stop": (ids["pad"],), "pad": ids["pad"]}
    with torch.autocast("cpu", torch.bfloat16), CastsOf(model.model.layers[0].mlp.up_proj.weight) as casts:
        if is_causal:
            generate_ar(model, PROMPTS, **common)
        else:
            generate_diffusion(model, PROMPTS, block_length=4, steps=N_NEW, mask=ids["mask"], **common)
    assert casts.count == 1


def test_greedy_decoding_refuses_an_empty_prompt(random_llama, ids):
    with pytest.raises(ValueError, match="every prompt needs at least one token"):
        generate_ar(random_llama(is_causal=True), [[300], []], max_new_tokens=2, stop=(5,), pad=ids["pad"])


def test_padding_goes_left_and_is_not_attended():
    padded, attended = pad_left([[5, 6, 7], [8]], pad=0)
    assert padded.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert attended.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_an_answer_is_cut_before_the_first_of_several_stops():
    assert cut_at_stop([5, 6, 7, 6], stop=(7, 6)) == [5]
    assert cut_at_stop([5, 6], stop=(9,)) == [5, 6]
    assert cut_at_stop([9, 5], stop=(9,)) == []


@pytest.mark.parametrize("block", [4, 8])
@pytest.mark.parametrize("batch_size", [1, 2, None])
@pytest.mark.parametrize("shift", [False, True])
def test_drafts_that_are_verified_are_the_tokens_of_the_loop_in_fewer_passes(block, batch_size, shift, random_llama, ids):
    """Order, tokens and confidence of every commit are the slow reference's, whichever guesses hold; with a stop as without."""
    model = random_llama(is_causal=False, seed=2)
    if shift:
        shift_outputs(model)
    traces: list[list] = [[] for _ in PROMPTS]
    whole = [slow_diffusion(model, p, block_length=block, steps=N_NEW, mask=ids["mask"], commits=t) for p, t in zip(PROMPTS, traces, strict=True)]
    n_passes = []
    hook = model.register_forward_pre_hook(lambda _, __, kwargs: n_passes.append(len(kwargs["input_ids"])), with_kwargs=True)
    settings = {"max_new_tokens": N_NEW, "block_length": block, "batch_size": batch_size, **ids}
    for stop in [(), (whole[1][5],), (whole[0][-1], whole[2][0])]:
        n_passes.clear()
        commits: list[Commit] = []
        assert generate_diffusion_drafted(model, PROMPTS, stop=stop, **settings) == [before_stop(answer, stop) for answer in whole]
        assert max(n_passes) <= (batch_size or 3) * (block + 1)
        generate_diffusion_drafted(model, PROMPTS, stop=stop, on_commit=commits.append, **settings)
        for row, trace in enumerate(traces):
            mine = [c for c in commits if c.row == row]
            assert [c.step for c in mine] == list(range(len(mine)))
            assert [(c.position, c.token) for c in mine] == [(p, t) for p, t, _ in trace][: len(mine)]
            assert [c.confidence for c in mine] == pytest.approx([c for *_, c in trace][: len(mine)], rel=1e-4)
    hook.remove()


def test_a_pass_of_verified_drafts_commits_a_block_where_all_guesses_hold(random_llama, ids):
    """A model whose outputs do not look at the canvas but at the place alone: every guess holds. The first pass has no guess."""
    model = random_llama(is_causal=False, seed=3)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
    n_passes = []
    hook = model.register_forward_pre_hook(lambda _, __, kwargs: n_passes.append(len(kwargs["input_ids"])), with_kwargs=True)
    settings = {"max_new_tokens": N_NEW, "block_length": 4, "stop": (), **ids}
    expected = generate_diffusion(model, PROMPTS[:1], steps=N_NEW, **settings)
    assert len(n_passes) == N_NEW
    n_passes.clear()
    assert generate_diffusion_drafted(model, PROMPTS[:1], **settings) == expected
    hook.remove()
    # One token, then the block's other three with the next one's first logits; from there a block a pass.
    assert n_passes == [1, 4, 4, 4, 3]
