"""A masked diffusion model that predicts a token from the position before it, as the autoregressive model did that it came from.

A causal model's output at position i - 1 is about token i. A model that is adapted from one learns faster when it keeps that
(DiffuLLaMA, arXiv 2410.17891). Everything else in this package holds that a dLLM's output at a position is about
the token there, so the shift is made in the model itself: its decoder gives position i the state of position i - 1, and
collator, loss and sampler need not know.
"""

import torch
from transformers import PreTrainedModel

FLAG = "ar_shift"  # in the model's configuration, so that a saved model keeps it


def has_ar_shift(model: PreTrainedModel) -> bool:
    """Whether a model's configuration says that it predicts from the position before."""
    return bool(getattr(model.config, FLAG, False))


def shift_outputs(model: PreTrainedModel) -> None:
    """Make the decoder give each position the state of the one before it; changes ``model`` in place.

    The first position, which has none before it, keeps its own. A forward pass must hold the whole sequence: where a part
    of it comes from a cache, the state before the part would be missing.
    """
    setattr(model.config, FLAG, True)

    def shift(module, arguments, output):
        states = output.last_hidden_state
        output.last_hidden_state = torch.cat([states[:, :1], states[:, :-1]], dim=1)
        return output

    model.get_decoder().register_forward_hook(shift)
