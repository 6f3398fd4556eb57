"""What a model reads and what its loss counts, token by token (Figure 3)."""


import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from maskft.paper import METHOD_LABELS
from maskft.plots.style import METHOD_COLORS, STYLE

SAMPLE_COLUMNS = ("method", "position", "token", "role", "is_masked", "in_loss", "target")
MASK = "[MASK]"  # as the paper writes it
IN_LOSS, MASKED = "#FFEE80", "#D4D4D4"
SAMPLE_TITLES = {
    "masked_ar": "the masked document in the prompt, the document as the answer",
    "ar": "the document, each token predicted from those before it",
    "dllm": "the document, each masked token (written beneath) predicted from both sides",
}
WIDTH, MARGIN = 5.5, 0.06  # inches, as all of the layout
FONT_SIZE, LETTER = 6.5, 6.5 * 0.602 / 72  # points; width of a monospaced letter
LINE, TITLE = 0.2, 0.24


def passage(sample: pd.DataFrame) -> str:
    """The document of one method's sample as the model reads it, masked tokens written as the paper does."""
    tokens = sample[sample.role == "document"]
    return "".join(tokens.token.where(~tokens.is_masked, " " + MASK)).strip()


def figure3(samples: pd.DataFrame) -> Figure:
    """The samples as boxes, a token each: masked ones grey, those that the loss counts on yellow (Figure 3).

    Args:
        samples: `training_samples`.

    Returns:
        The figure, 5.5 inches wide.

    Raises:
        ValueError: there are no samples, or columns are missing.
    """
    if missing := [column for column in SAMPLE_COLUMNS if column not in samples]:
        raise ValueError(f"the samples lack {missing}; make them with samples.training_samples")
    if samples.empty:
        raise ValueError("no samples to draw; make them with samples.training_samples")
    placed, y = [], 0.0
    for method, sample in samples.groupby("method", sort=False):
        boxes, y_next = _place(sample, y + TITLE, under=method == "dllm")
        placed.append((method, y, boxes))
        y = y_next + 0.08
    height = y + 0.2
    with plt.style.context(STYLE):
        figure, axes = page(WIDTH, height)
        for method, top, boxes in placed:
            title = axes.text(MARGIN, top + TITLE / 2, METHOD_LABELS[method], color=METHOD_COLORS[method], weight="bold", va="center")
            axes.annotate(
                SAMPLE_TITLES[method], (1, 0.5), (6, 0), xycoords=title, textcoords="offset points", va="center", fontsize=7.5
            )
            for token, x, y in boxes:
                _draw_token(axes, token, x, y)
        looks = {"in the loss": IN_LOSS, "masked, not in the loss": MASKED, "read only": "white"}
        handles = [Patch(facecolor=color, edgecolor="0.6", linewidth=0.5, label=name) for name, color in looks.items()]
        handles.append(Patch(facecolor="none", edgecolor="none", label="grey letters: chat template"))
        legend = figure.legend(handles=handles, loc="lower left", ncols=len(handles), handlelength=1.2, columnspacing=1.4)
        legend.get_texts()[-1].set_color("0.45")
    return figure


def page(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure whose one axes cover it, in inches from the upper left corner."""
    figure = plt.figure(figsize=(width, height))
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure, axes


def _shown(token: pd.Series) -> str:
    """How a token stands in its box: a lone space visible, the mask as the paper writes it."""
    return MASK if token.is_masked else token.token.strip(" ") or "␣"


def _place(sample: pd.DataFrame, top: float, *, under: bool) -> tuple[list[tuple[pd.Series, float, float]], float]:
    """Each token with the left end and the top of its box, and where the boxes end; a line ends with a line of text or a turn."""
    boxes, x, y = [], MARGIN, top
    step = LINE + (0.12 if under else 0.0)
    for _, token in sample.iterrows():
        width = _width(token)
        if x > MARGIN and x + width > WIDTH - MARGIN:
            x, y = MARGIN, y + step
        boxes.append((token, x, y))
        x += width + 0.03
        if "\\n" in token.token or token.role == "end":
            x, y = MARGIN, y + step
    return boxes, y if x == MARGIN else y + step


def _width(token: pd.Series) -> float:
    letters = max(len(_shown(token)), len(token.target.strip()) if token.is_masked else 0)
    return letters * LETTER + 0.05


def _draw_token(axes: Axes, token: pd.Series, x: float, y: float) -> None:
    width, height = _width(token), LINE - 0.035
    face = IN_LOSS if token.in_loss else MASKED if token.is_masked else "white"
    axes.add_patch(Rectangle((x, y), width, height, facecolor=face, edgecolor="0.6", linewidth=0.5))
    text = {"ha": "center", "va": "center_baseline", "family": "monospace", "fontsize": FONT_SIZE, "parse_math": False}
    color = "0.45" if token.role in ("template", "end") and not token.in_loss else "black"
    axes.text(x + width / 2, y + height / 2, _shown(token), color=color, **text)
    if token.is_masked and token.in_loss:
        axes.text(x + width / 2, y + height + 0.055, token.target.strip(), color="black", **text)
