"""Answers from prompts: greedy autoregressive decoding, and block-wise diffusion with low-confidence remasking.

Section 3 and Appendix A.4: at most 128 new tokens at temperature 0; diffusion with block length 4 and remasking strategy
``low_confidence``; follows the sampler of LLaDA (arXiv 2502.09992). An answer is what precedes the first stop id. All
take prompts as token ids and return answers as token ids; they know nothing about text.

``diffusion`` is exact: it makes the tokens that the published loop makes. ``approximate`` is not, and says so in its name.
"""

from maskft.samplers.approximate import generate_diffusion_approximate
from maskft.samplers.autoregressive import cut_at_stop, generate_ar, pad_left
from maskft.samplers.block_pass import choose_commits
from maskft.samplers.diffusion import Commit, commits_per_step, generate_diffusion
from maskft.samplers.drafting import generate_diffusion_drafted

__all__ = [
    "Commit",
    "choose_commits",
    "commits_per_step",
    "cut_at_stop",
    "generate_ar",
    "generate_diffusion",
    "generate_diffusion_approximate",
    "generate_diffusion_drafted",
    "pad_left",
]
