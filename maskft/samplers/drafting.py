"""The exact diffusion sampler for few questions at a time: it guesses the next tokens and verifies them in one pass.

A narrow model's pass over one question on a GPU is mostly launching; a few canvases more cost little there
(``evaluation.drafting_pays``). The order and the tokens of the last logits are a guess at what the next steps commit. One pass sees
the canvas as it is and as it would be after each guess; guesses are taken as long as the logits that the published loop would have
had make them too. After a whole block the first logits of the next one are there as well. So a pass commits up to a block, with the
loop's own tokens; where all guesses hold, it has computed no canvas more than the loop. Lossless self-verification as in FreeDave
(arXiv 2510.00294), of the loop with one token a step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from maskft.samplers.block_pass import BlockPass
from maskft.samplers.diffusion import Canvases, Commit, check_request, fill_blocks


@dataclass(frozen=True)
class _Row:
    """What is known of a row's block beyond its canvas.

    Attributes:
        tokens: The likeliest token of each place, by the last logits; empty: there are none.
        confidence: Its probability.
        is_current: Whether these are the logits of the canvas as it is, so that the next token needs no pass.
    """

    tokens: list[int] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    is_current: bool = False

    def order(self, block: list[int], mask: int) -> list[int]:
        """Masked places, the most confident first, the leftmost of equals."""
        return sorted((p for p, token in enumerate(block) if token == mask and self.tokens), key=lambda p: (-self.confidence[p], p))


@torch.inference_mode()
def generate_diffusion_drafted(
    model,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    block_length: int,
    mask: int,
    stop: Sequence[int],
    pad: int,
    batch_size: int | None = None,
    on_commit: Callable[[Commit], None] | None = None,
) -> list[list[int]]:
    """Answers of a masked diffusion model: those of ``generate_diffusion`` with a token a step, in fewer passes.

    Args:
        model, prompts, max_new_tokens, block_length, mask, stop, pad: As for ``generate_diffusion``.
        batch_size: Prompts in work at most. A pass computes up to ``block_length + 1`` canvases of each.
        on_commit: Called with each ``Commit`` in the order of steps, row by row.

    Raises:
        ValueError: As ``generate_diffusion``.
    """
    request = {"max_new_tokens": max_new_tokens, "block_length": block_length, "mask": mask, "batch_size": batch_size}
    check_request(model, prompts, **request)
    known: dict[int, _Row] = {}

    def fill(canvases: Canvases) -> None:
        blocks, width = canvases.block.tolist(), canvases.ids.shape[1]
        ours = [known.get(row, _Row()) for row in canvases.rows]
        said: list[list[tuple[int, float]]] = [[] for _ in ours]  # the places that are committed, and how sure
        drafts: list[list[list[int]]] = []  # of each row, the block in the states that the pass sees, the true one first
        for block, row, commits in zip(blocks, ours, said, strict=True):
            order = row.order(block, mask)
            if row.is_current:
                place = order.pop(0)
                commits.append((place, row.confidence[place]))
                block[place] = row.tokens[place]
            states = [block]
            for place in order:
                states.append([row.tokens[place] if p == place else token for p, token in enumerate(states[-1])])
            drafts.append(states)
        # A full block is seen from the next one, whose first logits it gives; at the end of the canvas nothing is left to see.
        seen = [
            (i, state, canvases.window[i] + block_length * (mask not in state))
            for i, states in enumerate(drafts) for state in states
            if mask in state or int(canvases.window[i, -1]) + block_length < width
        ]  # fmt: skip
        views: list[list[tuple]] = [[] for _ in ours]  # of each row, the states with what the model says to them
        if seen:
            rows = torch.tensor([i for i, _, _ in seen], device=model.device)
            ids = canvases.ids[rows].scatter(1, canvases.window[rows], torch.tensor([state for _, state, _ in seen], device=model.device))
            window = torch.stack([columns for *_, columns in seen])
            tokens, chosen, confidence = look(ids, canvases.attention_mask[rows], window, torch.ones(len(rows), dtype=torch.long))
            said_to = zip(tokens.tolist(), confidence.tolist(), chosen.int().argmax(dim=1).tolist(), strict=True)
            for (i, state, _), answer in zip(seen, said_to, strict=True):
                views[i].append((state, *answer))
        for i, (block, commits) in enumerate(zip(blocks, said, strict=True)):
            row = _Row()
            for state, likeliest, sure, place in views[i]:
                if state != block:  # the guess that led here was another than the loop's
                    break
                row = _Row(likeliest, sure, is_current=mask not in state)
                if mask in state:
                    commits.append((place, sure[place]))
                    block[place] = likeliest[place]
            # Of a block that is done, nothing is known of the next one unless its first logits are there.
            known[canvases.rows[i]] = row if mask in block or row.is_current else _Row()
            if on_commit is not None:
                first = canvases.blocks[i] * block_length + sum(token != mask for token in block) - len(commits)
                for n, (place, sure) in enumerate(commits):
                    on_commit(Commit(canvases.rows[i], first + n, canvases.blocks[i] * block_length + place, block[place], sure))
        committed = torch.tensor(blocks, device=model.device)
        canvases.commit(committed, committed != mask)

    with BlockPass(model, mask) as look:
        return fill_blocks(prompts, fill, device=model.device, stop=stop, pad=pad, whole_blocks=on_commit is not None, **request)
