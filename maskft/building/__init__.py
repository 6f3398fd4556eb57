"""How a data set is made from documents: pages of a wiki, their paraphrases and questions (paper section 3, A.3).

`build_wiki` does what the paper did for Wiki. Its parts can be used alone: `Wikipedia` finds pages, an `Endpoint` asks
a language model, `write_paraphrases` and `write_questions` put the paper's prompts to it, and `direction_in` tells a
forward question from a backward one. Needs ``pip install 'maskft[building]'``.
"""

from maskft.building.directions import direction_in
from maskft.building.endpoint import Endpoint
from maskft.building.journal import Journal
from maskft.building.wiki import build_wiki
from maskft.building.wikipedia import Wikipedia
from maskft.building.writing import Question, write_paraphrases, write_questions

__all__ = [
    "Endpoint",
    "Journal",
    "Question",
    "Wikipedia",
    "build_wiki",
    "direction_in",
    "write_paraphrases",
    "write_questions",
]
