"""What one optimizer step is made of: which texts, which rows and outputs, which loss, which rate.

Pure functions of a batch but for the model that is called. ``training`` makes the study's runs of them, ``injection`` one
on a reader's documents.
"""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from .ar_shift import has_ar_shift
from .chunked_loss import loss_of
from .collators import ARCollator, DiffusionCollator, MaskedARCollator
from .losses import IGNORED, autoregressive_loss, diffusion_weights, masked_diffusion_loss, weighted_loss
from .masking import generator_for
from .packing import ATTENTION, packed_states, pays
from .prompts import Prompts
from .recording import Recorded, can_record
from .runs import RunConfig

LENGTH_MULTIPLE = 8  # as the collators pad: a product whose shape changes every step is slow on a CPU


class SupervisedLogits(nn.Module):
    """A causal LM whose forward projects chosen positions only, so that no other logits ever exist.

    Args:
        model: A Llama.
        packed: Compute without padding (``packing``); for a causal model and rows padded on the right.
    """

    def __init__(self, model, *, packed: bool = False):
        super().__init__()
        self.model, self.packed = model, packed
        if packed:
            model.set_attn_implementation(ATTENTION)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, rows: Tensor, columns: Tensor,
        loss: Callable[..., Tensor] | None = None, *targets: Tensor,
    ) -> Tensor:  # fmt: skip
        """Logits at ``(rows, columns)``, or ``loss(logits, *targets)``: of many logits not all exist then (``chunked_loss``)."""
        if self.packed:
            states, places = packed_states(self.model, input_ids, attention_mask)
            states = states[places[rows, columns]]
        elif narrows(self.model):
            states = states_at(self.model, input_ids, attention_mask, rows, columns)
        else:
            states = self.model.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
            states = states[rows, columns]
        return self.model.lm_head(states) if loss is None else loss_of(self.model.lm_head, states, loss, *targets)


def narrows(model) -> bool:
    """Whether the last layer of a model that trains can bring chosen positions alone (``states_at``).

    It must be a Llama's, neither compiled nor computed again in the backward pass, and predict no other position than its own
    (``ar_shift`` moves the outputs of all). On a CPU in float32 alone: bfloat16 products are built anew there for each number of rows.
    """
    layer, on_cpu = model.model.layers[-1], model.device.type == "cpu"
    is_plain = "forward" not in vars(layer) and not layer.gradient_checkpointing and not has_ar_shift(model)
    is_float32 = model.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return model.config.model_type == "llama" and is_plain and (is_float32 or not on_cpu)


def states_at(
    model, input_ids: Int[Tensor, "batch width"], attention_mask: Tensor, rows: Int[Tensor, " n"], columns: Int[Tensor, " n"]
) -> Float[Tensor, "n d"]:
    """Last hidden states at ``(rows, columns)``: the last layer's feed-forward network computes those alone, as nobody reads its others.

    Exact, up to rounding. Of three layers, where a third of the positions is supervised, it saves a seventh of the products.
    """
    layer = model.model.layers[-1]

    def forward(hidden_states: Tensor, **options) -> Tensor:
        attended, _ = layer.self_attn(hidden_states=layer.input_layernorm(hidden_states), **options)
        states = (hidden_states + attended)[rows, columns]
        return states + layer.mlp(layer.post_attention_layernorm(states))

    layer.forward = forward
    try:
        return model.model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    finally:
        del layer.forward


def make_collator(config: RunConfig, prompts: Prompts):
    """The collator of the run's method, with its options."""
    options = {
        "seed": config.seed, "mask_ratio": config.mask_ratio, "mask_ratio_scope": config.mask_ratio_scope,
        "mask_count": config.mask_count,
    }  # fmt: skip
    if config.method == "ar":
        return ARCollator(prompts)
    if config.method == "dllm":
        return DiffusionCollator(prompts, **options)
    return MaskedARCollator(prompts, corruption=config.corruption, **options)


def batch_indices(n_texts: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Which texts each step sees: every epoch a new order, its last batch short.

    Sixty documents at batch 64 are one short step an epoch (release); dropping it would leave none.
    """
    epoch = 0
    while True:
        order = torch.randperm(n_texts, generator=generator_for("order", seed, epoch)).tolist()
        for start in range(0, n_texts, batch_size):
            yield order[start : start + batch_size]
        epoch += 1


def supervised_positions(batch: dict[str, Tensor], method: str) -> tuple[Tensor, Tensor, Tensor]:
    """``(rows, columns, labels)`` of the outputs that are learned.

    A causal model's output at a position predicts the next token, a dLLM's the token at the position itself.
    """
    labels = batch["labels"] if method == "dllm" else batch["labels"][:, 1:]
    rows, columns = (labels != IGNORED).nonzero(as_tuple=True)
    return rows, columns, labels[rows, columns]


def batch_loss(model: nn.Module, batch: dict[str, Tensor], config: RunConfig, counts: dict[str, int]) -> Tensor:
    """This share's part of the batch's loss (``losses``)."""
    rows, columns, labels = supervised_positions(batch, config.method)
    inputs = batch["input_ids"], batch["attention_mask"], rows, columns
    if config.method != "dllm":
        return model(*inputs, partial(autoregressive_loss, n_targets=max(1, counts["n_targets"])), labels)
    # Ratios go in by the loss: FSDP2 would round them as inputs of the model.
    loss = partial(
        masked_diffusion_loss, mask_ratio=batch["mask_ratio"], n_maskable=batch["n_maskable"],
        n_samples=counts["n_samples"], n_tokens=counts["n_tokens"], normaliser=config.loss_normaliser,
    )  # fmt: skip
    return model(*inputs, loss, labels, rows)


def loss_weights(batch: dict[str, Tensor], rows: Tensor, config: RunConfig, counts: dict[str, int]) -> Tensor:
    """What the cross-entropy of each supervised position, of these rows, is multiplied by in ``batch_loss``."""
    if config.method != "dllm":
        return torch.full(rows.shape, 1 / max(1, counts["n_targets"]))
    normaliser = {"n_samples": counts["n_samples"], "n_tokens": counts["n_tokens"], "normaliser": config.loss_normaliser}
    return diffusion_weights(batch["mask_ratio"], batch["n_maskable"], **normaliser)[rows]


# So that few shapes of a batch differ, and few are recorded: outputs are filled up to this, or to an eighth of all places.
WIDTH_MULTIPLE, OUTPUT_MULTIPLE = 32, 256


def can_record_steps(model) -> bool:
    """Whether a model's training steps are launched slower than a GPU computes them, and can be recorded."""
    return can_record(model) and not pays(model.config.hidden_size)


class RecordedGradients:
    """The loss of a batch and the gradients of it, added to those of the weights, as one launch (``recording``).

    Shapes are filled up: rows to the same number always, width and outputs to multiples. What fills them is attended by itself
    alone and weighs nothing.

    Args:
        wrapped: Its gradients lie in the same place from here on: ``optimizer.zero_grad(set_to_none=False)``.
        device: A GPU; on a CPU the same is computed without a recording.
        is_causal: Whether positions attend to earlier ones only.
        autocast: Compute in bfloat16.
    """

    def __init__(self, wrapped: SupervisedLogits, device: torch.device, *, is_causal: bool, autocast: bool):
        self.wrapped, self.is_causal, self.device = wrapped, is_causal, device
        # Its cache of rounded weights would lie in one recording's memory.
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=autocast, cache_enabled=False)
        self.add = Recorded(self._add, device)
        for weight in wrapped.parameters():
            if weight.requires_grad:
                weight.grad = torch.zeros_like(weight)

    def __call__(
        self, batch: dict[str, Tensor], n_rows: int, rows: Tensor, columns: Tensor, labels: Tensor, weights: Tensor
    ) -> Tensor:
        """The sum over supervised positions of cross-entropy times weight.

        Args:
            batch: ``input_ids`` and ``attention_mask``, on the CPU like all others.
            n_rows: The most rows that a batch has.
            rows, columns, labels: As ``supervised_positions``.
            weights: Of each.
        """
        more_rows, width = n_rows - len(batch["input_ids"]), batch["input_ids"].shape[1]
        fill = (0, -width % WIDTH_MULTIPLE, 0, more_rows)
        ids, attention_mask = pad(batch["input_ids"], fill), pad(batch["attention_mask"], fill)
        multiple = max(OUTPUT_MULTIPLE, ids.numel() // 8)
        more = (0, -len(rows) % multiple if len(rows) else multiple)
        return self.add(ids, attention_mask, pad(rows, more), pad(columns, more), pad(labels, more, value=IGNORED), pad(weights, more))

    def _add(self, ids: Tensor, attention_mask: Tensor, rows: Tensor, columns: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        width = ids.shape[1]
        square = torch.ones(width, width, dtype=torch.bool, device=ids.device)
        is_visible = attention_mask.bool()[:, None, None, :] & (square.tril() if self.is_causal else square)
        is_visible = is_visible | torch.eye(width, dtype=torch.bool, device=ids.device)
        with self.autocast:
            loss = self.wrapped(ids, is_visible, rows, columns, weighted_loss, labels, weights)
        loss.backward()
        return loss.detach()


def recorded_loss(
    recorded: RecordedGradients, batch: dict[str, Tensor], n_rows: int, config: RunConfig, counts: dict[str, int]
) -> Tensor:
    """``batch_loss`` by a recording of at most ``n_rows`` rows, its gradients added."""
    rows, columns, labels = supervised_positions(batch, config.method)
    return recorded(batch, n_rows, rows, columns, labels, loss_weights(batch, rows, config, counts))


def count_batch(batch: dict[str, Tensor], config: RunConfig) -> dict[str, int]:
    """Targets, samples and tokens of a whole batch."""
    targets = batch["labels"] if config.method == "dllm" else batch["labels"][:, 1:]
    return {
        "n_targets": int((targets != IGNORED).sum()),
        "n_samples": len(batch["input_ids"]),
        "n_tokens": int(batch["attention_mask"].sum()),
    }


def my_rows(batch: dict[str, Tensor], rank: int, world: int) -> dict[str, Tensor]:
    """Every ``world``-th row from ``rank``. A process without a row gets one that supervises nothing."""
    share = {name: value[rank::world] for name, value in batch.items()}
    if len(share["input_ids"]):
        return share
    return {name: value[:1] for name, value in batch.items()} | {"labels": torch.full_like(batch["labels"][:1], IGNORED)}


def parts_of(batch: dict[str, Tensor], n_parts: int) -> Iterator[dict[str, Tensor]]:
    """The batch in at most ``n_parts`` parts of rows alike in length, each as wide as its longest row needs: less padding.

    One part is the batch as it is. Which rows come together is a function of the batch, so all processes make the same parts.
    """
    if n_parts == 1:
        yield batch
        return
    lengths = batch["attention_mask"].sum(dim=1)
    for rows in lengths.argsort(stable=True).chunk(n_parts):
        width = min(-(-int(lengths[rows].max()) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, batch["input_ids"].shape[1])
        yield {name: value[rows][:, :width] if value.ndim == 2 else value[rows] for name, value in batch.items()}


def check_finite(what: str, value: float, step: int, learning_rate: float) -> None:
    """Refuse a loss or a gradient's norm that would make every weight not a number, in a checkpoint too.

    Raises:
        FloatingPointError: If ``value`` is not finite.
    """
    if not math.isfinite(value):
        raise FloatingPointError(f"{what} is {value} at step {step}; use a smaller learning rate than {learning_rate}")


def recompute_activations(model) -> None:
    """Keep each layer's input alone and compute the rest again in the backward pass; changes ``model`` in place."""
    # Some releases of transformers 5 have only the older name, of which newer ones warn.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


def compile_layers(model, *, answers: bool = False) -> None:
    """Fuse the small kernels of each layer by ``torch.compile`` where it trains; changes ``model`` in place.

    Layers share what is compiled: once for the first length and once for all others, each in some ten seconds.

    Args:
        model: A Llama.
        answers: Compile what a dLLM answers with as well, but for its last layer, of which a sampler needs one block alone.
            Without, answers are computed as ever.
    """
    layers = model.model.layers
    for layer in layers:
        always = answers and layer is not layers[-1]
        layer.forward = partial(_forward, layer, always, layer.forward, torch.compile(layer.forward))


def _forward(layer, always: bool, plain: Callable, compiled: Callable, *arguments, **options):
    return (compiled if always or layer.training else plain)(*arguments, **options)


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """AdamW's groups of the trained parameters: no weight decay on biases and norms."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, config: RunConfig) -> torch.optim.AdamW:
    """AdamW; no weight decay on biases and norms."""
    groups = decay_groups(model, config.weight_decay)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate_factor(step: int, config: RunConfig) -> float:
    """Linear warmup over ``warmup_ratio`` of all updates, then constant (release)."""
    warmup = math.ceil(config.warmup_ratio * config.total_steps)
    return min(1.0, (step + 1) / warmup) if warmup else 1.0
