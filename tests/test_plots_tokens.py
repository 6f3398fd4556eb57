"""Pictures of one sentence show the numbers they are given."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pytest

from maskft.plots.style import METHOD_COLORS
from maskft.plots.tokens import draw_canvas, draw_masks, draw_token_losses, label_tokens
from maskft.samplers import Commit

NAN = float("nan")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def png(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def labels(axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


def test_tokens_are_labelled_without_spaces_and_line_ends_are_shown():
    assert label_tokens([" Ada", "\n\n", " ", "<|eot_id|>"]) == ["Ada", "⏎⏎", "␣", "<|eot_id|>"]


def test_masks_are_drawn_where_they_are():
    figure = draw_masks([" a", " $b"], [[False, True], [True, True]], [0.2, 0.9])
    (axes,) = figure.axes
    assert axes.collections[0].get_array().reshape(2, 2).tolist() == [[0, 1], [1, 1]]
    assert labels(axes) == ["a", "$b"] and [t.get_text() for t in axes.get_yticklabels()] == ["0.20", "0.90"]
    assert axes.yaxis_inverted()
    with pytest.raises(ValueError, match="a row for each of 1 ratios"):
        draw_masks([" a", " b"], [[False, True], [True, True]], [0.2])


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what an earlier test left unclosed, collected here
def test_losses_stand_at_their_tokens_and_what_is_no_target_has_none():
    losses = {"ar": [1.0, 2.0, 3.0], "dllm": [NAN, 0.5, NAN], "masked_ar": [0.1, 0.2, 0.3]}
    figure = draw_token_losses(["a", "b", "c"], losses, [False, True, False])
    for axes, (method, values) in zip(figure.axes, losses.items(), strict=True):
        bars = axes.containers[0].patches
        expected = {i: value for i, value in enumerate(values) if not np.isnan(value)}
        assert {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in bars} == expected
        assert plt.matplotlib.colors.to_hex(bars[0].get_facecolor()) == METHOD_COLORS[method].lower()
    png(figure)  # a layout that fails warns here
    assert min(axes.get_window_extent().height for axes in figure.axes) > 30
    with pytest.raises(ValueError, match="'ar' has 1 losses"):
        draw_token_losses(["a", "b"], {"ar": [1.0]}, [False, False])
    with pytest.raises(ValueError, match="'sft'"):
        draw_token_losses(["a"], {"sft": [1.0]}, [False])


def test_the_canvas_has_a_row_a_step_and_the_final_tokens_below():
    """Blocks of 2: position 1 first, then 0; then both of block 2 in one step. After each of the three steps 3, 2 and 0
    positions are masked."""
    commits = [Commit(0, 0, 1, 7, 0.25), Commit(0, 1, 0, 8, 0.5), Commit(0, 2, 2, 9, 0.75), Commit(0, 2, 3, 9, 1.0)]
    figure = draw_canvas(commits, [" second", " first", " end", " end"], 2)
    (axes,) = figure.axes
    assert labels(axes) == ["first", "second", "end", "end"]
    masked, confidence = (mesh.get_array().reshape(3, 4) for mesh in axes.collections[:2])
    assert masked.tolist() == [[1, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert confidence.filled(0).tolist() == [[0, 0.25, 0, 0], [0.5, 0, 0, 0], [0, 0, 0.75, 1.0]]
    shown = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert shown == {((1.5, 0.5), "0.25"), ((0.5, 1.5), "0.50"), ((2.5, 2.5), "0.75"), ((3.5, 2.5), "1.00")}
    assert png(figure) == png(draw_canvas(commits, [" second", " first", " end", " end"], 2))
    for wrong, texts in (([], []), (commits, ["a"]), ([commits[0], commits[1]._replace(row=1)], ["a", "b"])):
        with pytest.raises(ValueError, match="expected the commits of one row"):
            draw_canvas(wrong, texts, 2)
