"""What an adapted model says of itself: the model card of ``maskft adapt``, from its record."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def model_card(record: Mapping[str, Any], ratios: tuple[float, ...]) -> str:
    """What the adapted model is, in words.

    Args:
        record: As ``adaptation.json`` has it.
        ratios: Mask ratios of the measurements on held-out text.
    """
    plan, base = record["settings"], Path(record["settings"]["base"]).name
    held = "\n".join(
        f"| {row['step']} | " + " | ".join(f"{v['cross_entropy']:.2f} / {v['accuracy']:.2f}" for v in row["held_out"].values()) + " |"
        for row in record["log"] if row["held_out"]
    )  # fmt: skip
    table = f"| step | {' | '.join(f'{ratio:.0%} masked' for ratio in ratios)} |\n| ---: |{' ---: |' * len(ratios)}\n{held}\n"
    mean = sum(row["accuracy"] for row in record["answers"]) / len(record["answers"]) if record["answers"] else None
    position = "the position before it (the shift of the autoregressive model is kept)" if plan['shift'] == "keep" else "its own position (no shift)"
    last = record["log"][-1]
    return f"""# A masked diffusion model out of {base}

{base} with attention to both sides, trained to fill masks: {plan['n_text_steps']} steps on text and {plan['n_question_steps']}
on questions, {plan['batch_size']} samples each, by `maskft adapt`. The licence of {base} goes on to hold for it.

- Text and questions: {'; '.join(record['sources']) or 'not stated'}.
- A masked token (id {record['mask_id']}) is predicted from {position}.
- Mask ratio: uniform on {plan['mask_ratio'][0]} to {plan['mask_ratio'][1]}, drawn for each sample; loss: mean cross-entropy of masked tokens.
- AdamW, learning rate {plan['learning_rate']}, {plan['precision']}; {record['device']}, {last['seconds'] / 60:.0f} minutes.
- Load it with `maskft.models.load_base(FOLDER, method="dllm")`; other loaders would not know of the attention{' and the shift' if plan['shift'] == 'keep' else ''}.

Held-out text, cross-entropy in nats and accuracy on masked tokens (the base's own next-token cross-entropy on the same text:
{record['causal_cross_entropy_of_the_base']}):

{table}
Held-out questions answered by the sampler: {'not trained' if mean is None else f'accuracy {mean:.2f} over {len(record["answers"])}; the answers are in `adaptation.json`'}.

It saw {plan['n_text_steps'] * plan['batch_size'] * plan['chunk_length']:,} tokens of text, far fewer than a diffusion model needs that is to write well. It is for
experiments with fine-tuning, not for use.
"""
