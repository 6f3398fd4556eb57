"""What a model reads and what its loss counts, token by token, from its collator (Figure 3).

Apart from the drawing, so that who draws from records waits for no library of models.
"""

from collections.abc import Mapping

import pandas as pd
from transformers import PreTrainedConfig

from maskft.collators import ARCollator, DiffusionCollator, MaskedARCollator
from maskft.losses import IGNORED
from maskft.models import base_folder, load_tokenizer, prompts_for
from maskft.plots.prompt import SAMPLE_COLUMNS
from maskft.prompts import DEMASK_LEAD_IN, DEMASK_REQUEST, Prompts

COLLATORS = {"masked_ar": MaskedARCollator, "ar": ARCollator, "dllm": DiffusionCollator}  # as Figure 3 goes on


def load_prompts(bases: Mapping[str, str], revisions: Mapping[str, str]) -> dict[str, Prompts]:
    """The prompts of each method, from the tokenizer and the configuration of its base; no weights are read.

    Args:
        bases: base model by method, as a scale has them.
        revisions: commit by base, for bases of the hub.

    Raises:
        FileNotFoundError: a shipped base is missing.
        ValueError: format or ids of a tokenizer are unsuitable.
    """

    def load(base: str) -> Prompts:
        commit, source = revisions.get(base, "main"), base_folder(base)
        n_rows = PreTrainedConfig.get_config_dict(source, revision=commit)[0].get("vocab_size")
        return prompts_for(load_tokenizer(source, revision=commit), n_rows)

    return {method: load(base) for method, base in bases.items()}


def training_samples(prompts: Mapping[str, Prompts], text: str, *, mask_ratio: float = 0.5, seed: int = 0) -> pd.DataFrame:
    r"""The sample that each method makes of one document, token by token, from its collator (Figure 3).

    Args:
        prompts: the prompts of each method's tokenizer.
        text: the document.
        mask_ratio: t of the masks, the same for both methods that mask; training draws one for each batch.
        seed: of the masks.

    Returns:
        A frame with `SAMPLE_COLUMNS`, method by method: the token as the model reads it (line ends as \n), its role
        (template, document, request, lead_in, target or end), whether it is masked, whether the loss counts it, and
        which token the loss asks for there ("" where none). For `ar` and `masked_ar` the loss counts a token that is
        predicted from those before it, for `dllm` a masked one in its place.

    Raises:
        ValueError: a method is unknown, or the mask ratio is not between 0 and 1.
    """
    if unknown := sorted(set(prompts) - set(COLLATORS)):
        raise ValueError(f"methods {unknown} are unknown; expected some of {', '.join(COLLATORS)}")
    samples = [_sample(method, prompts[method], text, mask_ratio, seed) for method in COLLATORS if method in prompts]
    return pd.concat(samples, ignore_index=True)


def _sample(method: str, prompts: Prompts, text: str, mask_ratio: float, seed: int) -> pd.DataFrame:
    text_ids = prompts.encode(text)
    collate = COLLATORS[method](prompts, seed=seed, mask_ratio=(mask_ratio, mask_ratio), pad_to_multiple_of=1)
    batch = collate([{"text_ids": text_ids, "step": 0, "sample": 0}])
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    if method != "dllm":
        labels[0] = IGNORED  # a causal model predicts the next token, so nothing predicts the first, labelled or not

    def written(token_id: int) -> str:
        return prompts.tokenizer.decode([token_id]).replace("\n", "\\n")

    sample = pd.DataFrame({"method": method, "position": range(len(ids)), "token": [written(i) for i in ids]})
    sample["role"] = _roles(method, prompts, text_ids)
    sample["is_masked"] = [i == prompts.ids.mask for i in ids]
    sample["in_loss"] = [label != IGNORED for label in labels]
    sample["target"] = ["" if label == IGNORED else written(label) for label in labels]
    return sample[list(SAMPLE_COLUMNS)]


def _roles(method: str, prompts: Prompts, text_ids: list[int]) -> list[str]:
    n = len(text_ids)
    if method != "masked_ar":
        return ["template"] * len(prompts.ids.begin) + ["document"] * n + ["end"]
    no_id = -1  # marks the place of the masked copy
    context, target = prompts.demask([no_id] * n, text_ids)
    n_request, n_lead_in = (len(prompts.encode(piece)) for piece in (DEMASK_REQUEST, DEMASK_LEAD_IN))
    n_before = context.index(no_id)
    n_end = len(target) - n
    n_header = len(context) - n_before - n - n_request - n_end - n_lead_in
    question = ["template"] * n_before + ["document"] * n + ["request"] * n_request + ["end"] * n_end
    answer = ["template"] * n_header + ["lead_in"] * n_lead_in + ["target"] * n + ["end"] * n_end
    return question + answer
