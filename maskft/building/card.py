"""The data card of a built data set: what it holds, how it was made, what was left out, whose texts they are."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from maskft.building.endpoint import Endpoint
from maskft.building.recipe import Recipe
from maskft.building.wikipedia import LICENCE, PAPER
from maskft.data.schema import PARAPHRASES

# The dataset viewer of the Hugging Face hub and `datasets.load_dataset(FOLDER, "documents")` read this.
_HEADER = """\
---
license: cc-by-sa-4.0
configs:
- config_name: documents
  data_files: documents.jsonl
  default: true
- config_name: questions
  data_files: questions.jsonl
---
"""


def data_card(
    recipe: Recipe, api: str, endpoint: Endpoint, fingerprint: str, documents: Sequence[dict[str, Any]],
    questions: Sequence[dict[str, Any]], dropped_pages: Counter[str], dropped_questions: Counter[str],
) -> str:  # fmt: skip
    """The README.md of a built folder. It names the model, and neither the endpoint's address nor its key."""
    directions = Counter(row["direction"] for row in questions)
    with_questions = {row["document_id"] for row in questions}
    retrieved = sorted(row["retrieved"] for row in documents)
    scope = f"the first {recipe.limit} found" if recipe.limit else "all"
    tree = "with all subcategories" if recipe.depth is None else f"with {recipe.depth} levels of subcategories"
    n_paraphrases = {kind: len(documents[0][kind]) for kind in PARAPHRASES[1:]}
    return f"""{_HEADER}
# Wiki, built from "{recipe.category}"

Lead sections of articles with paraphrases and questions, made by `maskft build-wiki` as section 3 and Appendix A.3 of
[the paper]({PAPER}) describe its Wiki data set. With `MASKFT_BUILT` set to this folder,
`load_corpus("wiki", source="built")` reads it.

| what | value |
| --- | --- |
| pages looked at | {len(documents) + dropped_pages.total()} |
| articles | {len(documents)} ({scope}) |
| paraphrases of each, the original included | {", ".join(f"{n} {kind}" for kind, n in n_paraphrases.items())} |
| questions | {len(questions)}: {directions["forward"]} forward, {directions["backward"]} backward |
| articles without a question | {len(documents) - len(with_questions)} |
| wiki | {api} |
| category | {recipe.category}, {tree} |
| created | on {recipe.since} or later (first revision, UTC) |
| lead section | {recipe.min_length} to {recipe.max_length} tokens of `{recipe.tokenizer}`, special tokens not counted |
| read | {retrieved[0]} to {retrieved[-1]} |
| model of paraphrases and questions | `{endpoint.model}` |
| tokens of its answers and prompts | {endpoint.tokens_used:,} |
| fingerprint | `{fingerprint}` |

## Columns

- `documents.jsonl`: `document_id`, `group` (empty), `text`, `same_order`, `permute_order`; where the text is from:
  `page_id`, `revision`, `title`, `url`, `retrieved`, `created`; its length, `n_tokens`.
- `questions.jsonl`: `question_id`, `document_id`, `category` and `direction` (`forward` or `backward`), `question`,
  `answer`, and `cues`, the words of the passage that the model says it used.

## Left out

{_table("pages", dropped_pages)}

{_table("questions", dropped_questions)}

Pages are counted under the first reason that applies: length, then date, then paraphrases. A question is *forward* if
each of its cues first appears before the answer does, *backward* if each first appears after it, and *ambiguous*
otherwise. Cues are the model's; where none of them is in the passage, the longest phrases that the question shares with
it.

## Licence and attribution

The texts are lead sections of the articles below, by their authors, under
[{LICENCE}](https://creativecommons.org/licenses/by-sa/4.0/); paraphrases and questions are adaptations of them under
the same licence. The page history behind each link names the authors.

{chr(10).join(_attribution(row) for row in documents)}
"""


def _table(of_what: str, dropped: Counter[str]) -> str:
    if not dropped:
        return f"No {of_what} were left out."
    rows = "\n".join(f"| {reason} | {n} |" for reason, n in sorted(dropped.items()))
    return f"| {of_what} left out | number |\n| --- | ---: |\n{rows}"


def _attribution(row: dict[str, Any]) -> str:
    title = row["title"].replace("[", "\\[").replace("]", "\\]")
    return f"{row['document_id']}. [{title}](<{row['url']}>), revision {row['revision']}"
