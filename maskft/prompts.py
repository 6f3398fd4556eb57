"""The exact strings of the method, rendered to token ids (Figure 3, Section 3 and Appendix A.4).

Three prompts: a document in the pre-training format, a question, and a masked document to be written back. Pieces are
tokenized one by one and joined as ids, so that a document has the same ids in every prompt and a mask never passes
through text. Knows nothing about batches, labels or models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Figure 3. The release ends the lead-in with two line ends; the paper's figure prints one.
DEMASK_REQUEST = "\nReturn the recovered masked passage."
DEMASK_LEAD_IN = "Here is the recovered text:\n\n"


@dataclass(frozen=True)
class ChatFormat:
    """How a model family writes a conversation of one turn.

    Built by hand and not by the tokenizer's chat template: Llama-3.1's adds a system block with today's date, which
    neither the paper's Figure 3 nor the release has.
    """

    user_header: str
    assistant_header: str
    end_of_turn: str


LLAMA3 = ChatFormat(
    user_header="<|start_header_id|>user<|end_header_id|>\n\n",
    assistant_header="<|start_header_id|>assistant<|end_header_id|>\n\n",
    end_of_turn="<|eot_id|>",
)
# Its turns are divided by a line end, which is no part of the end of a turn: an answer ends before it.
CHATML = ChatFormat("<|im_start|>user\n", "\n<|im_start|>assistant\n", "<|im_end|>")


@dataclass(frozen=True)
class TokenIds:
    """The special ids that the method needs, for one tokenizer.

    Attributes:
        begin: Ids that open every sequence (one BOS, or none where the family has none).
        end: The id that closes a document.
        mask: The id that stands for a masked token.
        pad: Fills batches. May equal ``end``, so padding is told by length, never by id.
        stop: An answer ends at the first of these.
        n_ordinary: Ids below this are ordinary tokens, from which the random-token control draws (Figure 9).
        first_ordinary: Ids below this are not: where special tokens come first.
    """

    begin: tuple[int, ...]
    end: int
    mask: int
    pad: int
    stop: tuple[int, ...]
    n_ordinary: int
    first_ordinary: int = 0


class Prompts:
    """Renders text to token ids for one tokenizer.

    Args:
        tokenizer: Any Hugging Face tokenizer.
        chat: The family's conversation format.
        ids: The special ids.
        n_rows: Rows of the model's embedding where they are more than the tokenizer's tokens: a row without a token can be the
            mask.

    Raises:
        ValueError: If the mask is also a padding or stop id, or lies outside the vocabulary.
    """

    def __init__(self, tokenizer, chat: ChatFormat, ids: TokenIds, *, n_rows: int | None = None):
        if ids.mask in (ids.pad, ids.end, *ids.stop, *ids.begin):
            raise ValueError(f"mask id {ids.mask} is also a special id ({ids}); choose an unused reserved token")
        if not 0 <= ids.mask < max(len(tokenizer), n_rows or 0):
            raise ValueError(f"mask id {ids.mask} is not in the vocabulary of {len(tokenizer)} tokens")
        self.tokenizer, self.ids = tokenizer, ids
        self._user = self.encode(chat.user_header)
        self._assistant = self.encode(chat.assistant_header)
        self._end_of_turn = self.encode(chat.end_of_turn)
        self._request = self.encode(DEMASK_REQUEST)
        self._lead_in = self.encode(DEMASK_LEAD_IN)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` alone, nothing added.

        Raises:
            ValueError: If the text spells the mask token: it would pass for a masked word.
        """
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        if self.ids.mask in ids:
            raise ValueError(f"the text {text[:60]!r} holds the mask token {self.tokenizer.convert_ids_to_tokens(self.ids.mask)!r}; remove it")
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of an answer: special tokens dropped, surrounding white space stripped."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def document(self, text_ids: Sequence[int]) -> list[int]:
        """``BOS + text + EOS``, the pre-training format (Section 4)."""
        return [*self.ids.begin, *text_ids, self.ids.end]

    def question(self, question: str) -> list[int]:
        """The QA prompt, up to and with the assistant header."""
        return [*self.ids.begin, *self._user, *self.encode(question), *self._end_of_turn, *self._assistant]

    def answer(self, answer: str) -> list[int]:
        """An answer and its end of turn."""
        return [*self.encode(answer), *self._end_of_turn]

    def demask(self, masked_ids: Sequence[int], text_ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Figure 3: the context with the masked document, and the target.

        Returns:
            ``(context, target)``. The lead-in closes the context, so it is given and not learned (release); the target
            is the document and the end of its turn.
        """
        context = [*self.ids.begin, *self._user, *masked_ids, *self._request, *self._end_of_turn, *self._assistant, *self._lead_in]
        return context, [*text_ids, *self._end_of_turn]
