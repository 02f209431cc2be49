"""Digits written on notebook 12's pad with the mouse; the networks read them as they are meant."""

import pytest
from server import ROOT

# Strokes of points (x, y) in the unit square; (0, 0) is the upper left corner.
DIGITS = {
    "3": [
        [
            *((0.3, 0.2), (0.5, 0.12), (0.68, 0.22), (0.64, 0.4), (0.45, 0.48)),
            *((0.66, 0.56), (0.7, 0.74), (0.52, 0.88), (0.28, 0.8)),
        ]
    ],
    # Small, and high in a corner: a pad that does not centre as MNIST does reads something else.
    "7": [[(0.1, 0.1), (0.3, 0.09), (0.22, 0.25), (0.17, 0.42)]],
    # Slanted, and of two strokes.
    "4": [[(0.5, 0.15), (0.3, 0.55), (0.72, 0.5)], [(0.66, 0.3), (0.5, 0.9)]],
}


class Pad:
    """The pad on the page, and what a hand does on it."""

    def __init__(self, lab):
        self.lab = lab
        self.root = lab.page.locator(".jp-OutputArea-output .mnist-pad").first
        self.canvas = self.root.get_by_role("img", name="Writing pad")
        self.canvas.scroll_into_view_if_needed()

    def write(self, strokes: list) -> None:
        box, mouse = self.canvas.bounding_box(), self.lab.page.mouse
        for first, *others in strokes:
            mouse.move(*self.place(box, first))
            mouse.down()
            for point in others:
                mouse.move(*self.place(box, point), steps=8)
            mouse.up()

    def place(self, box: dict, point: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    def status(self) -> str:
        return self.root.get_by_role("status").inner_text()

    def answers(self) -> list[str]:
        """The digit that stands out in each network's list."""
        first = "ol[aria-label$='answer'] li.first > span:first-child"
        return self.root.locator(first).all_inner_texts()

    def expect(self, digit: str) -> None:
        """Both networks come to read this digit, and the pad says so."""

        def said() -> bool:
            return self.answers() == [digit] * 2 and self.status().count(digit) == 2

        try:
            self.lab.wait(said, "no answer", seconds=30)
        except TimeoutError:
            pytest.fail(
                f"a written {digit} is read as {self.answers()}: {self.status()!r}", pytrace=False
            )


@pytest.fixture(scope="module")
def pad(open_notebook) -> Pad:
    (notebook,) = (ROOT / "notebooks").glob("*_draw_a_digit.ipynb")
    lab = open_notebook(f"notebooks/{notebook.name}")
    lab.run_all()
    return Pad(lab)


@pytest.mark.parametrize("digit", DIGITS)
def test_a_written_digit_is_read(pad, digit):
    pad.root.get_by_role("button", name="Clear").click()
    pad.lab.wait(lambda: pad.answers() == [], "the pad is not empty", seconds=30)
    pad.write(DIGITS[digit])
    pad.expect(digit)


def test_the_keyboard_takes_strokes_back_and_leaves_the_notebook_alone(pad):
    cells = len(pad.lab.read())
    pad.root.get_by_role("button", name="Clear").click()
    pad.write([DIGITS["7"][0]])
    pad.expect("7")
    pad.write([[(0.1, 0.9), (0.9, 0.9)]])  # a line far below: no seven any more
    pad.lab.wait(lambda: pad.answers() != ["7"] * 2, "the line is not seen", seconds=30)
    pad.canvas.press("Control+z")
    pad.expect("7")
    pad.canvas.press("Delete")
    pad.lab.wait(lambda: pad.answers() == [], "the pad is not empty", seconds=30)
    assert len(pad.lab.read()) == cells
