"""Biography: 100 invented people, six sentences each; the full name stands in the first only (paper section 3).

Forward questions ask an attribute of a name, backward questions the name of three attributes.
Source: the paper's release; lists and templates are those of Zheng et al. 2025.
"""

from maskft.data import origin
from maskft.data.schema import Corpus

PARAPHRASES_PER_DOCUMENT = 5
QUESTIONS_PER_DOCUMENT = 9

# The release borrows NameDescription's words: N2D is name to attribute, so forward.
_CATEGORY = {"N2D": "forward", "D2N": "backward"}


def load() -> Corpus:
    """Load Biography, with both kinds of paraphrases. The paper uses ``same_order`` only; the release has both.

    Returns:
        100 documents with 5 paraphrases of each kind, 900 questions (600 forward, 300 backward). ``permute_order``
        holds the sentences of ``same_order``, each text in an order drawn at random; so, unlike ``same_order``, it
        does not start with the document itself.

    Raises:
        ValueError: If a file is damaged, or the files do not fit each other.
        FileNotFoundError: If ``MASKFT_DATA`` is set and lacks a file.
        ConnectionError: If a file has to be downloaded and cannot be.
    """
    texts = [row["text"] for row in origin.read_rows("biography_train_no_paraphrase.json")]
    same = [row["text"] for row in origin.read_rows("biography_train_paraphrase_same_order.json")]
    permuted = [row["text"] for row in origin.read_rows("biography_train_paraphrase_change_order.json")]
    asked = origin.read_rows("biography_test.jsonl")
    n = PARAPHRASES_PER_DOCUMENT
    expected = (n * len(texts), n * len(texts), QUESTIONS_PER_DOCUMENT * len(texts))
    if (len(same), len(permuted), len(asked)) != expected:
        raise ValueError(
            f"Biography has {len(texts)} documents, {len(same)} same_order texts, {len(permuted)} permute_order texts "
            f"and {len(asked)} questions; expected {n}, {n} and {QUESTIONS_PER_DOCUMENT} per document. "
            f"Take all four files from commit {origin.COMMIT}."
        )

    documents, questions = [], []
    for i, text in enumerate(texts):
        rows = asked[QUESTIONS_PER_DOCUMENT * i :][:QUESTIONS_PER_DOCUMENT]
        document = {
            "document_id": i,
            "text": text,
            "same_order": same[n * i : n * (i + 1)],
            "permute_order": permuted[n * i : n * (i + 1)],
        }
        _check_person(document, rows)
        documents.append(document)
        questions += [
            {
                "document_id": i,
                "category": _CATEGORY[row["task"]],
                "question": row["question"],
                "answer": row["answer"],
            }
            for row in rows
        ]
    return Corpus.from_rows("biography", "original", documents, questions)


def _check_person(document: dict, rows: list[dict[str, str]]) -> None:
    """The files have no ids: position joins them, so each join is checked by the person's full name."""
    fix = f"the files have another order than the release; take all four from commit {origin.COMMIT}"
    where = f"Biography document {document['document_id']} ({document['text'][:60]!r})"
    if document["same_order"][0] != document["text"]:
        raise ValueError(f"{where}: same_order starts with {document['same_order'][0][:60]!r}, not with it; {fix}")
    if [row["task"] for row in rows] != ["N2D"] * 6 + ["D2N"] * 3:
        raise ValueError(f"{where}: tasks are {[row['task'] for row in rows]}, expected 6 N2D and 3 D2N; {fix}")
    name = rows[-1]["answer"]
    texts = (document["text"], *document["same_order"], *document["permute_order"])
    if (
        any(row["answer"] != name for row in rows[6:])
        or any(name not in row["question"] for row in rows[:6])
        or any(name not in text for text in texts)
    ):
        raise ValueError(f"{where}: texts and questions of this position are not all about {name!r}; {fix}")
