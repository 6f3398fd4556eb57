"""What a data set is: documents, their paraphrases, and forward and backward questions (paper section 3).

Knows nothing of files, tokenizers or models. The loaders and the synthetic world both end here, so that everything
above sees one schema. The columns are described in this folder's README.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from datasets import Dataset, Features, List, Value

PARAPHRASES = ("none", "same_order", "permute_order")
DATASETS = ("name_description", "biography", "wiki")
SOURCES = ("original", "synthetic", "built")

# In name_description a category is <type of the trained statement>_<direction>. The direction is forward when the
# question asks for what the statement says last: n2d_forward asks for the description, d2n_forward for the name.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "name_description": ("n2d_forward", "n2d_backward", "d2n_forward", "d2n_backward"),
    "biography": ("forward", "backward"),
    "wiki": ("forward", "backward"),
}
GROUPS: dict[str, tuple[str, ...]] = {"name_description": ("n2d", "d2n"), "biography": ("",), "wiki": ("",)}

DOCUMENT_FEATURES = Features(
    {
        "document_id": Value("int64"),
        "group": Value("string"),
        "text": Value("string"),
        "same_order": List(Value("string")),
        "permute_order": List(Value("string")),
    }
)
QUESTION_FEATURES = Features(
    {
        "question_id": Value("int64"),
        "document_id": Value("int64"),
        "category": Value("string"),
        "direction": Value("string"),
        "question": Value("string"),
        "answer": Value("string"),
    }
)


def direction_of(category: str) -> str:
    """Say whether a category is asked ``"forward"`` or ``"backward"``.

    Raises:
        ValueError: If no data set has this category.
    """
    known = sorted({c for categories in CATEGORIES.values() for c in categories})
    if category not in known:
        raise ValueError(f"category={category!r} is in no data set; choose one of {', '.join(known)}")
    return category.rpartition("_")[2]


@dataclass(frozen=True, eq=False)
class Corpus:
    """One data set, validated when it is made. Two corpora are the same data if their `fingerprint` is the same.

    Attributes:
        name: One of `DATASETS`.
        source: One of `SOURCES`.
        documents: Columns of `DOCUMENT_FEATURES`. A paraphrase list takes the document's place in training (so it
            holds the document, where the release does) and is empty where there are no paraphrases of that kind.
        questions: Columns of `QUESTION_FEATURES`. A document may have no question.

    Raises:
        ValueError: If the content is not a data set of that name; see `validate`.
    """

    name: str
    source: str
    documents: Dataset
    questions: Dataset

    def __post_init__(self) -> None:
        validate(self)

    @classmethod
    def from_rows(cls, name: str, source: str, documents: Iterable[dict], questions: Iterable[dict]) -> "Corpus":
        """Make a corpus from plain rows.

        Args:
            name: One of `DATASETS`.
            source: One of `SOURCES`.
            documents: Rows of `DOCUMENT_FEATURES`; ``group`` and the paraphrase lists may be left out (empty).
            questions: Rows of `QUESTION_FEATURES`; ``question_id`` (the position) and ``direction`` may be left out.

        Raises:
            ValueError: As `validate`.
        """
        document_rows = [{"group": "", "same_order": [], "permute_order": [], **row} for row in documents]
        question_rows = [
            {"question_id": i, "direction": direction_of(row["category"]), **row} for i, row in enumerate(questions)
        ]
        return cls(name, source, _table(document_rows, DOCUMENT_FEATURES), _table(question_rows, QUESTION_FEATURES))

    @property
    def paraphrase_kinds(self) -> tuple[str, ...]:
        """The values of ``paraphrases`` this corpus can be trained with, ``"none"`` first."""
        return ("none", *(kind for kind in PARAPHRASES[1:] if self.documents[0][kind]))

    def asked_questions(self, stride: int) -> list[dict]:
        """The first of every ``stride`` questions, as rows.

        Raises:
            ValueError: If a category has none of them, so that a score would be lacking.
        """
        categories = self.questions["category"][:]
        if missed := sorted(set(categories) - set(categories[::stride])):
            works = next(n for n in range(min(stride, len(categories)), 0, -1) if set(categories[::n]) == set(categories))
            raise ValueError(
                f"question_stride={stride} asks none of the {', '.join(missed)} questions among the {len(categories)} of "
                f"{self.name}; the largest below it that asks every category is {works}"
            )
        return self.questions.select(range(0, len(categories), stride)).to_list()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits that change with any change of the content: sha256 over canonical JSON."""
        content = [self.name, self.source, self.documents.to_list(), self.questions.to_list()]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def training_texts(self, paraphrases: str) -> Dataset:
        """List the texts of one epoch: each document, or in its place all its paraphrases.

        Args:
            paraphrases: One of `paraphrase_kinds`.

        Returns:
            Columns ``document_id`` and ``text``; document by document, within a document in the order of the list.

        Raises:
            ValueError: If this corpus has no such paraphrases.
        """
        if paraphrases not in self.paraphrase_kinds:
            raise ValueError(
                f"paraphrases={paraphrases!r} does not exist for the {self.source} {self.name}; "
                f"choose one of {', '.join(self.paraphrase_kinds)}"
            )
        rows = []
        for document in self.documents:
            texts = [document["text"]] if paraphrases == "none" else document[paraphrases]
            rows += [{"document_id": document["document_id"], "text": text} for text in texts]
        return _table(rows, Features({key: DOCUMENT_FEATURES[key] for key in ("document_id", "text")}))

    def select_documents(self, document_ids: Iterable[int]) -> "Corpus":
        """Keep some documents and their questions, in the order they have here.

        Raises:
            ValueError: If an id is not in the corpus, or no id is given.
        """
        wanted = set(document_ids)
        ids = self.documents["document_id"][:]
        if unknown := sorted(wanted.difference(ids)):
            raise ValueError(
                f"document_ids {unknown} are not in {self.name}; its ids run from {min(ids)} to {max(ids)}"
            )
        asked = self.questions["document_id"][:]
        return Corpus(
            self.name,
            self.source,
            self.documents.select([i for i, document_id in enumerate(ids) if document_id in wanted]),
            self.questions.select([i for i, document_id in enumerate(asked) if document_id in wanted]),
        )


def _table(rows: list[dict], features: Features) -> Dataset:
    for i, row in enumerate(rows):
        if set(row) != set(features):
            raise ValueError(f"row {i} has columns {sorted(row)}, expected {sorted(features)}: {str(row)[:80]}")
    # Dataset.from_list orders columns by the first row, and gives no columns at all for no rows.
    return Dataset.from_dict({key: [row[key] for row in rows] for key in features}, features=features)


def validate(corpus: Corpus) -> None:
    """Check the rules that every data set keeps; `Corpus` runs it when it is made.

    Raises:
        ValueError: If the name, source or columns are not the schema's, there is no document, an id occurs twice, a
            text is empty, documents differ in the kinds of paraphrases they have, or a question refers to no document,
            has a category of another data set or statement type, or a direction that is not its category's.
            The message names the row.
    """
    if corpus.name not in DATASETS:
        raise ValueError(f"name={corpus.name!r} is not a data set; choose one of {', '.join(DATASETS)}")
    if corpus.source not in SOURCES:
        raise ValueError(f"source={corpus.source!r} is not a source; choose one of {', '.join(SOURCES)}")
    _check_columns(corpus)
    groups: dict[int, str] = {}
    for i, row in enumerate(corpus.documents):
        where = f"{corpus.name} documents, row {i} (document_id {row['document_id']})"
        if row["document_id"] in groups:
            raise ValueError(f"{where}: this document_id occurs twice; ids must be unique")
        if row["group"] not in GROUPS[corpus.name]:
            raise ValueError(f"{where}: group={row['group']!r} is not one of {GROUPS[corpus.name]}")
        for text in (row["text"], *row["same_order"], *row["permute_order"]):
            if not (text or "").strip():
                raise ValueError(f"{where}: a text is empty; every text needs content")
        for kind in PARAPHRASES[1:]:
            if bool(row[kind]) != (kind in corpus.paraphrase_kinds):
                raise ValueError(
                    f"{where}: {kind} holds {len(row[kind])} texts, but row 0 has {len(corpus.documents[0][kind])}; "
                    "all documents must have the same kinds of paraphrases"
                )
        groups[row["document_id"]] = row["group"]
    _check_questions(corpus, groups)


def _check_columns(corpus: Corpus) -> None:
    for part, features in (("documents", DOCUMENT_FEATURES), ("questions", QUESTION_FEATURES)):
        got = getattr(corpus, part).features
        if got != features:
            raise ValueError(f"{corpus.name} {part} have columns {got}, expected {features}; use Corpus.from_rows")
    if not len(corpus.documents):
        raise ValueError(f"{corpus.name} has no documents; a corpus needs at least one")


def _check_questions(corpus: Corpus, groups: dict[int, str]) -> None:
    question_ids = set()
    for i, row in enumerate(corpus.questions):
        where = f"{corpus.name} questions, row {i} (question_id {row['question_id']})"
        if row["question_id"] in question_ids:
            raise ValueError(f"{where}: this question_id occurs twice; ids must be unique")
        if row["document_id"] not in groups:
            raise ValueError(f"{where}: document_id={row['document_id']} is not among the documents")
        group = groups[row["document_id"]]
        allowed = [category for category in CATEGORIES[corpus.name] if category.startswith(group)]
        if row["category"] not in allowed:
            about = f"a {group} document of {corpus.name}" if group else corpus.name
            raise ValueError(f"{where}: category={row['category']!r} is not one of {allowed}, those of {about}")
        if row["direction"] != direction_of(row["category"]):
            raise ValueError(f"{where}: direction={row['direction']!r} does not fit category {row['category']!r}")
        for column in ("question", "answer"):
            if not (row[column] or "").strip():
                raise ValueError(f"{where}: {column} is empty; every question needs both texts")
        question_ids.add(row["question_id"])
