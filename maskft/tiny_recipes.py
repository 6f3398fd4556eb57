"""How each of the three tiny bases is made: its stream, its steps, and how it sees its samples."""

from collections.abc import Sequence
from dataclasses import dataclass

from .data.synthetic.pretraining import PretrainingMix


@dataclass(frozen=True)
class Recipe:
    """How one base is made.

    Attributes:
        name: Its folder in the assets.
        bidirectional: Whether it attends to both sides and fills masks.
        starts_from: The base whose weights it takes; None for random ones.
        n_steps: Optimizer steps.
        mix: What the stream is made of.
        answer_length: Tokens that an answer may take; the sampler's canvas for a dLLM.
        mask_ratio: Range of the share of a document's tokens that is masked. Higher than in fine-tuning: what is copied
            teaches a base nothing.
        learning_rate: After the warmup, and until nobody comes or goes; from there it falls to a tenth.
        batch_size: Samples a step.
        from_first_block: For a base that fills masks, the share of answers whose active block is the first; else it is any.
        stretch: Share of the tokens before which the position jumps (``tiny_rows.stretched_positions``). A base that always sees
            a text's words at their distances comes to know a fact by where it stands, and where a question's answer has it,
            it stands elsewhere (`notebooks/forgetting`).
        spare_masks: Fewer than so many masks follow every second document of a base that fills masks: how many there are
            does not tell which document it is.
    """

    name: str
    bidirectional: bool
    starts_from: str | None
    n_steps: int
    mix: PretrainingMix
    mask_ratio: tuple[float, float]
    answer_length: int = 96
    learning_rate: float = 3e-3
    batch_size: int = 32
    from_first_block: float = 0.0
    stretch: float = 0.0
    spare_masks: int = 0


RECIPES = (
    Recipe("tiny-ar", False, None, 4000, PretrainingMix(), (0.3, 1.0)),
    Recipe("tiny-ar-no-demask", False, None, 4000, PretrainingMix(demask=0.0), (0.3, 1.0)),
    Recipe(
        "tiny-dllm", True, "tiny-ar-no-demask", 10_000,
        PretrainingMix(question=0.55, demask=0.0, strangers=0.7, strangers_first=0.1, longest_answer=22, led=False, reread=("document",), retold=True),
        (0.2, 1.0), answer_length=32, from_first_block=0.4, stretch=0.05, spare_masks=40,
    ),
)  # fmt: skip


def choose_recipes(names: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes of the named bases, in the order in which they build on each other; all of them for no name.

    Raises:
        ValueError: If a name is not one of a base.
    """
    known = [recipe.name for recipe in RECIPES]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"base {', '.join(unknown)} is not one of {', '.join(known)}")
    return tuple(recipe for recipe in RECIPES if not names or recipe.name in names)
