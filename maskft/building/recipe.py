"""Which articles a Wiki data set has: the paper's choice (section 3, Appendix A.3), or another."""

from dataclasses import dataclass
from datetime import date

CATEGORY, SINCE = "2025 by month", date(2025, 1, 1)
LENGTHS = (110, 125)  # tokens, both ends included
# The paper does not name the tokenizer; this is that of its autoregressive model.
TOKENIZER = "meta-llama/Llama-3.1-8B-Instruct"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides which articles a data set has.

    Attributes:
        category: Root of the category tree.
        since: Articles created on this day (UTC) or later.
        tokenizer: Counts the tokens of a lead section, without special tokens: a name of the hub, a folder or a shipped
            base.
        min_length, max_length: Fewest and most tokens of a lead section.
        depth: Levels of subcategories, None for all.
        limit: Most articles, None for all.
    """

    category: str = CATEGORY
    since: date = SINCE
    tokenizer: str = TOKENIZER
    min_length: int = LENGTHS[0]
    max_length: int = LENGTHS[1]
    depth: int | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.min_length <= self.max_length:
            raise ValueError(
                f"lengths from {self.min_length} to {self.max_length} tokens: the least must be at least 1 and not "
                "above the most"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit {self.limit}: at least 1 article is needed")
