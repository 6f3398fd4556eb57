"""What the tests of the method share: the tiny tokenizer, and random models of its vocabulary."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from maskft.data.synthetic.tokenizer import build_tokenizer
from maskft.models import prompts_for


@pytest.fixture(scope="session")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="session")
def prompts(tokenizer):
    return prompts_for(tokenizer)


@pytest.fixture(scope="session")
def random_llama(tokenizer):
    """Makes a float32 Llama of width 32 with random weights.

    Weights are drawn wide (0.3, not 0.02), so that outputs differ between positions by far more than rounding.
    """

    def make(*, is_causal: bool, seed: int = 0) -> LlamaForCausalLM:
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=256, initializer_range=0.3, bos_token_id=None, eos_token_id=None,
        )
        config.is_causal = is_causal
        config.use_cache = is_causal
        return LlamaForCausalLM(config).eval()

    return make
