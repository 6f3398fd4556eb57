"""Where downloaded data and converted weights are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``MASKFT_CACHE`` if it is set, else ``maskft`` under ``XDG_CACHE_HOME``, by default ``~/.cache/maskft``."""
    if chosen := os.environ.get("MASKFT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maskft"
