"""Conversation format and special ids of any instruct model, read from its tokenizer.

The families that the study names are written out in ``models.FAMILIES``. For every other one the tokenizer renders its own
chat template, and what stands around the messages is the format: no block of instructions that a template puts before
them (Section 3's prompt has none; Llama-3.1's would hold today's date). A tokenizer that does not fit is refused with the reason.
"""

from itertools import pairwise

from .prompts import ChatFormat, TokenIds

# Two questions and an answer that no template alters: words, without spaces at the ends.
FIRST, ANSWER, SECOND = "first question", "plain answer", "second question"
# Words in the names of tokens that exist to be given a meaning later, in the order in which they are taken.
SPARE = ("mask", "reserved", "unused")


def chat_format_of(tokenizer) -> ChatFormat:
    """The conversation format that a tokenizer's own chat template writes.

    Raises:
        ValueError: If there is no template, if a turn does not end with a special token, if turns of user and assistant
            end differently, or if the pieces around a message are not the same tokens alone as in the whole.
    """
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        raise ValueError(f"{name!r}: the tokenizer has no chat template, so the model was not taught to answer; give an instruct model")

    def render(*contents: str, ask: bool) -> str:
        turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]
        # Models that can think aloud are asked not to; a template that knows no such option ignores it.
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask, enable_thinking=False)

    between = render(FIRST, ANSWER, SECOND, ask=False).partition(ANSWER)[2].partition(SECOND)[0]
    end = max((token for token in special_tokens(tokenizer) if between.startswith(token)), key=len, default=None)
    if end is None:
        raise ValueError(f"{name!r}: an answer is followed by {between!r}, not at once by a special token that could end it")
    asked = render(FIRST, ask=True)
    after = asked.partition(FIRST)[2]
    chat = ChatFormat(between[len(end) :].lstrip(), after.removeprefix(end), end)
    if not after.startswith(end) or not asked.endswith(chat.user_header + FIRST + after):
        raise ValueError(f"{name!r}: a question ends in {after!r} and an answer in {end!r}; both must end with one special token")
    whole, pieces = (
        tokenizer.encode(chat.user_header + FIRST + after, add_special_tokens=False),
        [i for text in (chat.user_header, FIRST, end, chat.assistant_header) for i in tokenizer.encode(text, add_special_tokens=False)],
    )
    if whole != pieces:
        raise ValueError(
            f"{name!r}: the tokenizer writes a question's pieces otherwise than the whole ({pieces} for {whole}), so a masked "
            "document could not have the ids of the document; tokenizers that put a space before every piece cannot be used"
        )
    return chat


def special_tokens(tokenizer) -> dict[str, int]:
    """Text and id of every token that is never made from ordinary text, however it was added."""
    added = {str(token): i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}


def token_ids_of(tokenizer, chat: ChatFormat, n_rows: int | None = None) -> TokenIds:
    """The special ids of a tokenizer, by its own attributes and chat template.

    Documents open with BOS where the template's conversations do, and close with EOS. An answer ends at the end of its turn
    or at EOS.

    Args:
        tokenizer: Of an instruct model.
        chat: Its format.
        n_rows: Rows of the model's embedding, which may be more than the tokenizer has tokens.

    Raises:
        ValueError: If no token can serve as mask.
    """
    (end_of_turn,) = tokenizer.encode(chat.end_of_turn, add_special_tokens=False)
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": FIRST}], tokenize=False, add_generation_prompt=True)
    bos = tokenizer.bos_token
    opens = bool(bos) and rendered.startswith(bos) and not chat.user_header.startswith(bos)
    end = end_of_turn if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    pad = end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    taken = {end_of_turn, end, pad, tokenizer.unk_token_id, tokenizer.bos_token_id}
    taken.update(tokenizer.encode(rendered, add_special_tokens=False))
    first, stop = ordinary_ids(tokenizer)
    return TokenIds(
        begin=(tokenizer.bos_token_id,) if opens else (),
        end=end,
        mask=choose_mask(tokenizer, taken, n_rows),
        pad=pad,
        stop=tuple(dict.fromkeys([end_of_turn, end])),
        n_ordinary=stop,
        first_ordinary=first,
    )


def choose_mask(tokenizer, taken: set[int | None], n_rows: int | None = None) -> int:
    """The id that stands for a masked token: one that no ordinary text gives and no conversation uses.

    In this order: the tokenizer's own mask token; the first special token with *mask* in its name, then with *reserved*, then
    with *unused*; a row of the embedding for which the tokenizer has no token.

    Args:
        tokenizer: Whose ids they are.
        taken: Ids with another use.
        n_rows: Rows of the model's embedding.

    Raises:
        ValueError: If there is none.
    """
    special = {token: i for token, i in sorted(special_tokens(tokenizer).items(), key=lambda pair: pair[1]) if i not in taken}
    if tokenizer.mask_token in special:
        return tokenizer.mask_token_id
    for word in SPARE:
        for token, i in special.items():
            if word in token.lower():
                return i
    known = set(tokenizer.get_vocab().values())
    free = next((i for i in range(n_rows or 0) if i not in known), None)
    if free is None:
        raise ValueError(
            f"{tokenizer.name_or_path!r} has no id for the mask: none of its {len(special)} unused special tokens is named "
            f"{', '.join(SPARE)}, and its embedding has no row beyond the tokenizer's {len(known)} tokens; "
            "add a mask token and a row for it, and save both"
        )
    return free


def ordinary_ids(tokenizer) -> tuple[int, int]:
    """First and last + 1 of the longest stretch of ids without a special token, from which random tokens are drawn."""
    ids = tokenizer.get_vocab().values()
    edges = sorted({-1, max(ids) + 1, *special_tokens(tokenizer).values()})
    before, after = max(pairwise(edges), key=lambda pair: pair[1] - pair[0])
    return before + 1, after
