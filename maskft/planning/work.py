"""What one run computes, whatever computes it: tokens and floating-point operations, training and evaluation apart."""

from dataclasses import dataclass
from math import ceil

from maskft.packing import pays
from maskft.planning.lengths import Lengths, lengths_of, padded
from maskft.planning.shapes import Real, Shape, cached_answer_flops, diffusion_answer_flops, shape_of, training_flops
from maskft.runs import RunConfig

SHORT_ANSWER = 20  # tokens: an answer of a sentence, which ends early; the other end of the range is ``max_new_tokens``


@dataclass(frozen=True)
class Work:
    """The work of one run. Evaluation is a range: every answer ``SHORT_ANSWER`` tokens long, and as long as allowed.

    Attributes:
        run: The run.
        shape: Its model.
        lengths: Of its data.
        train_tokens: Trained on, without padding, as records count them.
        step_flops: Of one optimizer step, with the padding that is computed.
        answer_flops: Of one answer, short and long.
    """

    run: RunConfig
    shape: Shape
    lengths: Lengths
    train_tokens: Real
    step_flops: Real
    answer_flops: tuple[Real, Real]

    @property
    def train_flops(self) -> Real:
        """Of all optimizer steps."""
        return self.run.total_steps * self.step_flops

    @property
    def n_answers(self) -> int:
        """Answers of all evaluations."""
        return len(self.run.eval_steps) * self.lengths.n_questions

    @property
    def eval_flops(self) -> tuple[Real, Real]:
        """Of all answers."""
        short, long = self.answer_flops
        return self.n_answers * short, self.n_answers * long


def answer_tokens(run: RunConfig) -> tuple[int, int]:
    """Length of a short and of a long answer."""
    return min(SHORT_ANSWER, run.max_new_tokens), run.max_new_tokens


def rows_per_step(run: RunConfig, lengths: Lengths) -> Real:
    """Mean documents of a step: an epoch's last batch is short (``step.batch_indices``)."""
    return lengths.n_texts / ceil(lengths.n_texts / run.train_batch_size)


def outputs_per_text(run: RunConfig, text: Real, *, ratio: Real) -> Real:
    """Supervised positions of a text of ``text`` tokens: all and the end token, of a dLLM the masked share ``ratio``."""
    return (text + 1) * (ratio if run.method == "dllm" else 1)


def work_of(run: RunConfig, *, recompute: bool = False) -> Work:
    """The work of a run.

    Args:
        run: The run; its fingerprint and revision are not looked at.
        recompute: Whether activations are computed again in the backward pass.

    Raises:
        ValueError: If the base's shape is not known, or the data is damaged.
        FileNotFoundError: If a shipped base is missing, or a file in ``MASKFT_DATA``.
    """
    shape, lengths = shape_of(run.base, run.base_revision), lengths_of(run)
    rows = rows_per_step(run, lengths)
    # Of a wide causal model only attention sees padding (``packing``), which is left out here.
    is_packed = run.method != "dllm" and pays(shape.width)
    length = lengths.sequence(run.method, lengths.mean if is_packed else lengths.batch_longest)
    step = training_flops(
        shape,
        rows=rows,
        length=length if is_packed else padded(length),
        outputs=rows * outputs_per_text(run, lengths.mean, ratio=sum(run.mask_ratio) / 2),
        recompute=recompute,
        narrow=not is_packed,
    )
    return Work(
        run=run,
        shape=shape,
        lengths=lengths,
        train_tokens=run.total_steps * rows * lengths.sequence(run.method, lengths.mean),
        step_flops=step,
        answer_flops=tuple(answer_flops(run, shape, lengths.prompt, new) for new in answer_tokens(run)),
    )


def answer_flops(run: RunConfig, shape: Shape, prompt: Real, new: Real) -> Real:
    """Operations of one answer of ``new`` tokens."""
    if run.method != "dllm":
        return cached_answer_flops(shape, prompt=prompt, new=new)
    passes = new * run.sampler_steps / run.max_new_tokens
    return diffusion_answer_flops(shape, prompt=prompt, canvas=run.max_new_tokens, passes=passes, block=run.block_length)
