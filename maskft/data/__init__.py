"""The three data sets of the paper, original, synthetic or built anew, behind one function: `load_corpus`."""

from maskft.data import biography, built, name_description, wiki
from maskft.data.schema import CATEGORIES, DATASETS, PARAPHRASES, SOURCES, Corpus, direction_of

__all__ = ["CATEGORIES", "DATASETS", "PARAPHRASES", "SOURCES", "Corpus", "direction_of", "load_corpus"]

_LOADERS = {
    "name_description": name_description.load,
    "biography": biography.load,
    "wiki": wiki.load,
}


def load_corpus(name: str, *, source: str = "original", world_seed: int = 0) -> Corpus:
    """Load a data set's documents, their paraphrases and its questions (paper section 3).

    Args:
        name: One of `DATASETS`.
        source: ``"original"`` for the authors' release, ``"synthetic"`` for its twin in the tiny world, ``"built"`` for
            the folder that the environment variable ``MASKFT_BUILT`` names.
        world_seed: Seed of the synthetic world. The originals do not depend on it.

    Returns:
        A validated `Corpus`.

    Raises:
        ValueError: If ``name`` or ``source`` is unknown, or a file is damaged.
        FileNotFoundError: If ``MASKFT_DATA`` or ``MASKFT_BUILT`` is set and lacks a file.
        ConnectionError: If a file has to be downloaded and cannot be.
    """
    if name not in DATASETS:
        raise ValueError(f"name={name!r} is not a data set; choose one of {', '.join(DATASETS)}")
    if source not in SOURCES:
        raise ValueError(f"source={source!r} is not a source; choose one of {', '.join(SOURCES)}")
    if source == "original":
        return _LOADERS[name]()
    if source == "built":
        return built.load(name)
    from maskft.data import synthetic  # only here: the originals must load without the tiny world

    return synthetic.build(name, world_seed)
