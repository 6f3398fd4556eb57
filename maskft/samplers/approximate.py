"""Approximate diffusion samplers, faster and not the published one: opt-in, and measured beside the exact one.

Two ideas of Fast-dLLM (arXiv 2505.22618). A block cache keeps, while a block is filled, the keys and values that the rest
of prompt and canvas had when it began. Parallel commits make every token final whose confidence passes a threshold. Both
change answers: what they cost in accuracy is in ``tests/benchmarks/records/approximate_diffusion.json``.
"""

from collections.abc import Sequence

import torch

from maskft.ar_shift import has_ar_shift
from maskft.samplers.block_pass import choose_commits
from maskft.samplers.diffusion import Canvases, check_request, fill_blocks
from maskft.samplers.last_layer import Everywhere, LastLayerAtWindow


@torch.inference_mode()
def generate_diffusion_approximate(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    block_length: int,
    mask: int,
    stop: Sequence[int],
    pad: int,
    batch_size: int | None = None,
    block_cache: bool = True,
    threshold: float = float("inf"),
) -> list[list[int]]:
    """Answers as of ``generate_diffusion`` with a token a step, approximately.

    Args:
        model: A bidirectional ``LlamaForCausalLM``.
        prompts: Token ids.
        max_new_tokens: Length of the canvas, a multiple of ``block_length``.
        block_length: Tokens of a block.
        mask: Mask id.
        stop: Ids that end an answer.
        pad: Padding id.
        batch_size: Prompts in work at most; None takes all at once.
        block_cache: Pass over the whole canvas once a block, and then over the block alone.
        threshold: A step commits every masked position more confident than this, and at least the most confident one.
            Infinity commits one a step; with ``block_cache=False`` that is the exact sampler.

    Raises:
        ValueError: As of ``generate_diffusion``, or if the model predicts from the position before (``ar_shift``).
    """
    if has_ar_shift(model):
        raise ValueError("a model with the autoregressive shift needs the state before a block; use generate_diffusion")
    request = {"max_new_tokens": max_new_tokens, "block_length": block_length, "mask": mask, "batch_size": batch_size}
    check_request(model, prompts, **request)

    def fill(canvases: Canvases) -> None:
        last_layer.window = window = canvases.window
        everywhere = Everywhere(window) if block_cache else None
        # Four dimensions: transformers hands such a mask on as it is, and so does not look for lengths in the cache.
        visible = canvases.attention_mask[:, None, None].bool()
        inputs, positions = canvases.ids, torch.arange(canvases.ids.shape[1], device=canvases.ids.device)[None]
        for _ in range(block_length if block_cache else 1):  # without a cache nothing keeps rows together
            options = {"position_ids": positions, "past_key_values": everywhere, "use_cache": False}
            seen = visible.expand(-1, -1, inputs.shape[1], -1)
            logits = model(input_ids=inputs, attention_mask=seen, **options).logits
            is_masked = canvases.block == mask
            tokens, committed, confidence = choose_commits(logits, is_masked, mask, 1)
            canvases.commit(tokens, committed | (confidence > threshold))
            inputs, positions = canvases.block, window
            if threshold < 1 and not (inputs == mask).any():
                break

    with LastLayerAtWindow(model) as last_layer:
        return fill_blocks(prompts, fill, device=model.device, stop=stop, pad=pad, **request)
