"""NameDescription: 60 invented people, one statement each, trained in one order and asked in both (paper section 3).

Documents 0-29 are N2D statements ("NAME ... is DESCRIPTION"), 30-59 are D2N ("DESCRIPTION ... is NAME").
Source: the paper's release; the people and statements are those of Berglund et al. 2023 and Lin et al. 2024.
"""

from maskft.data import origin
from maskft.data.schema import Corpus

PARAPHRASES_PER_DOCUMENT = 30
QUESTIONS_PER_DOCUMENT = 8

# The release's ``group`` is the type of the trained statement; its ``task`` is what the *question* goes to:
# N2D asks for the description, D2N for the name.
_CATEGORY = {
    ("NameIsDescription", "N2D"): "n2d_forward",
    ("NameIsDescription", "D2N"): "n2d_backward",
    ("DescriptionIsName", "D2N"): "d2n_forward",
    ("DescriptionIsName", "N2D"): "d2n_backward",
}


def load() -> Corpus:
    """Load NameDescription. It has ``same_order`` paraphrases only: all 30 of a person keep the statement's order.

    Returns:
        60 documents with 30 paraphrases each, 480 questions (4 categories x 120).

    Raises:
        ValueError: If a file is damaged, or the files do not fit each other.
        FileNotFoundError: If ``MASKFT_DATA`` is set and lacks a file.
        ConnectionError: If a file has to be downloaded and cannot be.
    """
    texts = [row["text"] for row in origin.read_rows("ND_train_no_paraphrase.json")]
    paraphrases = [row["text"] for row in origin.read_rows("ND_train_paraphrase.json")]
    asked = origin.read_rows("ND_test.jsonl")
    if len(paraphrases) != PARAPHRASES_PER_DOCUMENT * len(texts) or len(asked) != QUESTIONS_PER_DOCUMENT * len(texts):
        raise ValueError(
            f"NameDescription has {len(texts)} documents, {len(paraphrases)} paraphrases and {len(asked)} questions; "
            f"expected {PARAPHRASES_PER_DOCUMENT} and {QUESTIONS_PER_DOCUMENT} per document. "
            f"Take all three files from commit {origin.COMMIT}."
        )

    documents, questions = [], []
    for i, text in enumerate(texts):
        block = paraphrases[PARAPHRASES_PER_DOCUMENT * i :][:PARAPHRASES_PER_DOCUMENT]
        rows = asked[QUESTIONS_PER_DOCUMENT * i :][:QUESTIONS_PER_DOCUMENT]
        categories = [_CATEGORY.get((row["group"], row["task"]), "") for row in rows]
        group = "n2d" if i < len(texts) // 2 else "d2n"
        _check_person(i, text, block, rows, categories, group)
        documents.append({"document_id": i, "group": group, "text": text, "same_order": block})
        questions += [
            {"document_id": i, "category": category, "question": row["question"], "answer": row["answer"]}
            for category, row in zip(categories, rows, strict=True)
        ]
    return Corpus.from_rows("name_description", "original", documents, questions)


def _check_person(
    i: int, text: str, block: list[str], rows: list[dict[str, str]], categories: list[str], group: str
) -> None:
    """The files have no ids: position joins them, so each join is checked by the person's name."""
    fix = f"the files have another order than the release; take all three from commit {origin.COMMIT}"
    where = f"NameDescription document {i} ({text[:60]!r})"
    if block[0] != text:
        raise ValueError(
            f"{where}: its block of paraphrases starts with {block[0][:60]!r}, expected the document; {fix}"
        )
    if any(not category.startswith(group) for category in categories):
        found = sorted({(row["group"], row["task"]) for row in rows})
        raise ValueError(f"{where} is a {group} statement, but its questions are {found}; {fix}")
    names = {row["answer"] for row in rows if row["task"] == "D2N"}
    about = [row["question"] for row in rows if row["task"] == "N2D"]
    if len(names) != 1 or not all(name in line for name in names for line in (text, *about)):
        raise ValueError(f"{where}: its 8 questions are about {sorted(names)}, expected one name found in it; {fix}")
