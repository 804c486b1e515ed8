"""The arrows that are drawn in docs/design.md lead where its tables, which are compared with the code, say."""

from __future__ import annotations

import re
from dataclasses import dataclass

from documents import code_blocks, section, text_of

DESIGN = text_of("docs/design.md")
HEADS = {"▼": (-1, 0), "▲": (1, 0), "◀": (0, 1), "▶": (0, -1)}  # the way back, as rows and columns
CORNERS = {  # the way that comes in, and the way on
    "╔": {(-1, 0): (0, 1), (0, -1): (1, 0)},
    "╗": {(-1, 0): (0, -1), (0, 1): (1, 0)},
    "╚": {(1, 0): (0, 1), (0, -1): (-1, 0)},
    "╝": {(1, 0): (0, -1), (0, 1): (-1, 0)},
}


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a folder, or from outside (""), to one; ``topic`` is empty for an import."""

    start: str
    end: str
    topic: str


class Picture:
    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        width = max(map(len, lines))
        self.rows = [line.ljust(width) for line in lines]
        self.cells: dict[tuple[int, int], str] = {}
        for row, line in enumerate(self.rows):
            for box in re.finditer(r"│ +([a-z]+) +│", line):
                for column in range(box.start(), box.end()):
                    self.cells.update({(row + step, column): box[1] for step in (-1, 0, 1)})

    def at(self, place: tuple[int, int]) -> str:
        row, column = place
        return self.rows[row][column] if 0 <= row < len(self.rows) and 0 <= column < len(self.rows[row]) else " "

    def arrows(self) -> list[Arrow]:
        heads = ((row, column) for row, line in enumerate(self.rows) for column, c in enumerate(line) if c in HEADS)
        return [self.traced(head) for head in heads]

    def traced(self, head: tuple[int, int]) -> Arrow:
        """The arrow with this head, followed back to the box it comes from."""
        back = HEADS[self.at(head)]
        end = self.cells.get((head[0] - back[0], head[1] - back[1]), "")
        place, text, double = head, "", False
        while True:
            place = (place[0] + back[0], place[1] + back[1])
            here = self.at(place)
            if place in self.cells or (back[0] and here not in "│║╪╔╗╚╝") or place[1] <= 0:
                break
            double = double or here in "║═"
            back = CORNERS.get(here, {}).get(back, back)
            if back[0]:
                beside = re.match(r"║ ([a-z.<>]+)", self.rows[place[0]][place[1] :])
                text = beside[1] if beside else text
            elif re.match(r"[a-z.<>]", here):
                text = text + here if back == (0, 1) else here + text
            elif here == "▶" and text:  # another arrow begins before this one
                row = self.rows[place[0]]
                return Arrow(self.cells[place[0], row.index("═") - 1], end, text)
        return Arrow(self.cells.get(place, ""), end, text if double else "")


ARROWS = Picture(code_blocks(DESIGN, "")[0]).arrows()


def names(cell: str) -> set[str]:
    return set(re.findall(r"`([a-z]+)`", cell))


def test_every_arrow_is_followed() -> None:
    assert len(ARROWS) == sum(code_blocks(DESIGN, "")[0].count(head) for head in HEADS)
    assert Arrow("producers", "consumers", "events") in ARROWS
    assert Arrow("backfill", "consumers", "snapshot.<run>") in ARROWS
    assert Arrow("migration", "reads", "control") in ARROWS
    assert Arrow("consumers", "", "dlq") in ARROWS
    assert Arrow("cli", "migration", "") in ARROWS
    assert {arrow.topic for arrow in ARROWS} == {"", "events", "snapshot.<run>", "control", "progress", "dlq"}


def test_every_single_line_between_boxes_is_an_import() -> None:
    table = re.findall(r"^\| `([a-z]+)` \| (.+) \|$", section(DESIGN, "Who imports whom"), re.MULTILINE)
    uses = {folder: names(used) for folder, used in table}
    single = [arrow for arrow in ARROWS if not arrow.topic and arrow.start]
    assert len(single) >= 7
    assert [arrow for arrow in single if arrow.end not in uses[arrow.start]] == []


def test_every_double_line_is_a_topic_between_its_writer_and_its_reader() -> None:
    table = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \|", section(DESIGN, "The arrows"), re.MULTILINE)
    sides = {topic.split(".", 1)[1].removeprefix("<collection>."): (names(w), names(r)) for topic, w, r in table}
    double = [arrow for arrow in ARROWS if arrow.topic]
    assert len(double) >= 5
    for arrow in double:
        writers, readers = sides[arrow.topic]
        assert arrow.start in writers, arrow
        assert arrow.end in readers or not arrow.end, arrow
