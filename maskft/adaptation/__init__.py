"""``maskft adapt MODEL --to dllm``: a masked diffusion model out of an autoregressive one's weights.

Two phases: text with masks, so that the model learns to use both sides; then questions on the sampler's canvas, so that it
answers. Attention goes both ways from the first step on. Whether a token is still predicted from the position before it, as
the autoregressive model did, is an option (``ar_shift``). Adaptation follows DiffuLLaMA (arXiv 2410.17891) without its
gradual unmasking of attention.

Everything that a step sees is a function of seed and step, and what a step leaves is kept: a run that is stopped goes on
from its last saved step, on other hardware too.
"""

from maskft.adaptation.rows import Adaptation
from maskft.adaptation.run import adapt

__all__ = ["Adaptation", "adapt"]
