"""Where the original files come from, and how a file is found, downloaded and checked.

Looks in the folder ``MASKFT_DATA`` if it is set, else in a cache, else downloads the pinned commit into that cache.
Knows the shape of each file but not its meaning. Source: the paper's release, github.com/xup5/masked_arLLM.
"""

import hashlib
import http.client
import json
import logging
import os
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

from maskft.cache import cache_folder

logger = logging.getLogger(__name__)

REPOSITORY = "xup5/masked_arLLM"
COMMIT = "bc28c777643b202787d1e4ccb61ad0d1993d93e3"
LICENCE = "MIT (stated in the release's pyproject.toml); the Wiki texts derive from Wikipedia, CC BY-SA 4.0"
BASE_URL = "https://raw.githubusercontent.com"
TIMEOUT_S = 60

TEXT_KEYS = ("text",)
QUESTION_KEYS = ("group", "task", "question", "answer")


@dataclass(frozen=True)
class OriginalFile:
    """A file of the release: its address and what makes it whole.

    Attributes:
        name: File name, the same here and in the release.
        folder: Folder of the data set in a ``MASKFT_DATA`` tree.
        keys: Keys every row has.
        rows: Number of rows, None where it is not known.
        characters: Number of characters of the released file, None for a file that the release does not have.
        sha256: Of the copy we worked with, None where we had none.
    """

    name: str
    folder: str
    keys: tuple[str, ...]
    rows: int | None
    characters: int | None
    sha256: str | None

    @property
    def url(self) -> str:
        """Raw address at the pinned commit; of the whole file for a prefix, which has no address."""
        return f"{BASE_URL}/{REPOSITORY}/{COMMIT}/datasets/{self.name.replace('.first21', '')}"


def _file(name: str, folder: str, rows: int | None, characters: int | None, sha256: str | None) -> OriginalFile:
    keys = QUESTION_KEYS if name.endswith(".jsonl") else TEXT_KEYS
    return OriginalFile(name, f"{folder}/masked_arLLM", keys, rows, characters, sha256)


# fmt: off
FILES: dict[str, OriginalFile] = {f.name: f for f in (
    _file("ND_train_no_paraphrase.json", "namedescription", 60, 9_687,
          "645b85e9e99c5c03ab6c1222077dcb3812b365044fae3fe9666b948ec97f3c9a"),
    _file("ND_train_paraphrase.json", "namedescription", 1_800, 303_239,
          "e844b89bbd541dbd7010fe9baafbf06c6933f02fe7ec2ae8dfa6e2d606777dc3"),
    _file("ND_test.jsonl", "namedescription", 480, 129_572,
          "ff53f11b78b87ffcd3f9478dab58d2dcc9070bb1ff112828a8aff293d36a10d4"),
    _file("biography_train_no_paraphrase.json", "biography", 100, 33_000,
          "38b88fc38b0fb822a45f78bcee62ea496a213091435bc0eaeeb969b1cc090f2f"),
    _file("biography_train_paraphrase_same_order.json", "biography", 500, 165_398,
          "e9d165099d500a46a153151a2c5826eb2aec647d18b0919c9ea6f5e27e2399ee"),
    _file("biography_train_paraphrase_change_order.json", "biography", 500, 165_186,
          "6223987477bc2cd032db5ea6da59ddd150fbf689c58803ca0a3026416da7f25d"),
    _file("biography_test.jsonl", "biography", 900, 145_125,
          "ff95d0e4d9bda2d96c428d41911079241f73e7b15f7b34082cbe817b8a09c3a6"),
    _file("wiki_train_no_paraphrase.json", "wiki", 94, 50_901,
          "0d7713439538392ebcd35f1773447932d55701f32ea4e6b2d65223fec3ef155e"),
    _file("wiki_test.jsonl", "wiki", 374, 59_700,
          "da1ae5cf7306cd1d5f53e36b98817db9efcbe02136c211182bc769e14e052225"),
    # About 940 rows each, 10 an article: nobody here counted them, so the number of characters is the check.
    _file("wiki_train_paraphrase_same_order.json", "wiki", None, 521_244, None),
    _file("wiki_train_paraphrase_change_order.json", "wiki", None, 489_219, None),
    # Prefixes of the two files above, articles 0-20, as some copies have them. They cannot be downloaded.
    _file("wiki_train_paraphrase_same_order.first21.json", "wiki", 210, None,
          "3657cbed8e865ebe2c073b477c5dd5fe214e614a7f606beba80b5da0de51a2b8"),
    _file("wiki_train_paraphrase_change_order.first21.json", "wiki", 210, None,
          "1972e2e5b50f723b1aae6216576675d77571c2c56b15eacf7b0e3917311fa4c4"),
)}
# fmt: on


def read_rows(name: str) -> list[dict[str, str]]:
    """Read an original file, wherever `locate` finds it, and check that it is whole.

    Raises:
        ValueError: If the name is not in `FILES`, or the file is damaged.
        FileNotFoundError: As `locate`.
        ConnectionError: As `locate`.
    """
    path = locate(name)
    return _check(path.read_bytes(), FILES[name], str(path))


def locate(name: str) -> Path:
    """Find an original file: in ``MASKFT_DATA`` if it is set, else in the cache, else download it into the cache.

    The cache is ``data/<commit>`` under ``maskft.cache.cache_folder``. A folder given in
    ``MASKFT_DATA`` is never added to, and nothing is downloaded beside it: a reader who names a folder means that one.

    Raises:
        ValueError: If the name is not in `FILES`, or a download is damaged (nothing is kept then).
        FileNotFoundError: If ``MASKFT_DATA`` lacks the file.
        ConnectionError: If the download fails.
    """
    if name not in FILES:
        raise ValueError(f"{name!r} is not a file of the release; choose one of {', '.join(FILES)}")
    file = FILES[name]
    if root := os.environ.get("MASKFT_DATA"):
        places = [Path(root, file.folder, name), Path(root, "datasets", name), Path(root, name)]
        for place in places:
            if place.is_file():
                return place
        raise FileNotFoundError(
            f"{name} is not in MASKFT_DATA={root}; looked for {', '.join(map(str, places))}. "
            f"Put the file from {file.url} there, or unset MASKFT_DATA to download it."
        )
    cache = cache_folder() / "data" / COMMIT
    if not (cache / name).is_file():
        _download(file, cache)
    return cache / name


def _download(file: OriginalFile, cache: Path) -> None:
    logger.info("downloading %s", file.url)
    try:
        with urllib.request.urlopen(file.url, timeout=TIMEOUT_S) as response:
            data = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"cannot download {file.url}: {error}. Check the network, or set MASKFT_DATA to a folder with {file.name}."
        ) from error
    _check(data, file, file.url)
    cache.mkdir(parents=True, exist_ok=True)
    # Written under another name and renamed: a killed process leaves no half file under the name that is looked up,
    # and of two processes that download at once the last one wins with the same bytes.
    temporary = cache / f".{file.name}.{uuid.uuid4().hex}"  # not mkstemp: a shared cache must be readable by others
    try:
        temporary.write_bytes(data)
        os.replace(temporary, cache / file.name)
    finally:
        temporary.unlink(missing_ok=True)


def _check(data: bytes, file: OriginalFile, where: str) -> list[dict[str, str]]:
    """Parse a file's bytes and check characters, rows and keys; log whether the hash is the known one."""
    fix = "nothing was kept, try again" if where == file.url else f"replace it by a fresh copy of {file.url}"
    try:
        text = data.decode("utf-8")
        lines = [line for line in text.split("\n") if line.strip()]
        rows = [json.loads(line) for line in lines] if file.name.endswith(".jsonl") else json.loads(text)
    except ValueError as error:  # of UTF-8 or of JSON
        raise ValueError(f"{where} is damaged or cut short ({error}), expected JSON; {fix}") from error
    if file.characters is not None and len(text) != file.characters:
        raise ValueError(f"{where} has {len(text):,} characters, expected {file.characters:,}; {fix}")
    if not isinstance(rows, list) or file.rows not in (None, len(rows)):
        got = f"{len(rows):,} rows" if isinstance(rows, list) else f"a {type(rows).__name__}"
        raise ValueError(f"{where} holds {got}, expected a list of {file.rows or 'all'} rows; {fix}")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or any(not isinstance(row.get(key), str) for key in file.keys):
            raise ValueError(f"{where}, row {i} is {str(row)[:80]}, expected texts under {', '.join(file.keys)}; {fix}")
    # The known hashes are of copies rebuilt to the released files' length and sampled text, never compared byte for
    # byte. So another hash is no proof of damage: it is logged, and the corpus fingerprint in each run's identity
    # keeps results from different bytes apart.
    sha256 = hashlib.sha256(data).hexdigest()
    if file.sha256 is not None and sha256 != file.sha256:
        logger.warning("%s has sha256 %s, our copy had %s", where, sha256, file.sha256)
    return rows
