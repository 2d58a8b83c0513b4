"""Draws recorded terminals as one animated SVG: dark frames in which each text appears at the time at which it came.

A pane is {"title", "columns", "rows", "events": [[seconds, text], ...]}; all panes of a picture
share one clock and lie one below the other. Every piece of text gets the moment at which it appeared
and the one at which it was overwritten, as a CSS animation that repeats forever. A viewer that shows
no animations, or asks for less motion, shows the last moment. record_picture.py makes the panes.
"""
import re
from xml.sax.saxutils import escape, quoteattr

CELL_WIDTH, LINE_HEIGHT, FONT_SIZE = 8.4, 19, 14
MARGIN, TITLE_HEIGHT = 14, 26
MOMENT = 1 / 40  # changes within this time appear at once
CONTROL = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b[()=>].?|[\r\n\b\t\x07]")
WORDS = re.compile(r"[^ ]+(?: [^ ]+)*")
COLOURS = {31: "r", 32: "g", 33: "y", 34: "b", 36: "c", 90: "d"}
STYLE = """text{font:%dpx ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',\
'Liberation Mono',monospace;fill:#d8dee9;white-space:pre}
.r{fill:#f07178}.g{fill:#a3d977}.y{fill:#ffcb6b}.b{fill:#82aaff}.c{fill:#89ddff}.d{fill:#7a8599}
.w{font-weight:bold}.a{animation:%.2fs step-end infinite}.o{opacity:0}
@media (prefers-reduced-motion:reduce){.a{animation:none!important}}
"""


class Screen:
    """The state of a terminal: text, line ends, the cursor's moves, erasing and colours; nothing more."""

    def __init__(self, columns, rows):
        self.columns, self.rows = columns, rows
        self.cells = [[None] * columns for _ in range(rows)]  # (character, style) or None
        self.row = self.column = 0
        self.style = ""

    def feed(self, text):
        at = 0
        for found in CONTROL.finditer(text):
            self._write(text[at:found.start()])
            self._control(found)
            at = found.end()
        self._write(text[at:])

    def _write(self, text):
        for character in text:
            if self.column == self.columns:
                self.column = 0
                self._next_line()
            self.cells[self.row][self.column] = (character, self.style)
            self.column += 1

    def _next_line(self):
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.cells = self.cells[1:] + [[None] * self.columns]

    def _control(self, found):
        one = found[0]
        if one == "\r":
            self.column = 0
        elif one == "\n":
            self._next_line()
        elif one == "\b":
            self.column = max(0, self.column - 1)
        elif one == "\t":
            self.column = min(self.columns - 1, self.column // 8 * 8 + 8)
        elif found[2] and "?" not in found[1]:
            self._sequence(found[2], [int(n or 0) for n in found[1].split(";")])

    def _sequence(self, name, numbers):
        first = numbers[0]
        if name == "m":
            for number in numbers:
                if number == 0:
                    self.style = ""
                elif number == 1:
                    self.style = (self.style + " w").strip()
                elif number in COLOURS:
                    self.style = COLOURS[number]
        elif name == "H":
            self.row = min(max(first, 1), self.rows) - 1
            self.column = min(max((numbers + [1])[1], 1), self.columns) - 1
        elif name in "ABCD":
            down, right = {"A": (-1, 0), "B": (1, 0), "C": (0, 1), "D": (0, -1)}[name]
            self.row = min(max(self.row + down * max(first, 1), 0), self.rows - 1)
            self.column = min(max(self.column + right * max(first, 1), 0), self.columns - 1)
        elif name == "K":
            self._erase(self.row, 0 if first else self.column,
                        self.column if first == 1 else self.columns)
        elif name == "J":
            if first == 0:
                self._erase(self.row, self.column, self.columns)
            for row in range(self.row + 1 if first == 0 else 0, self.rows):
                self._erase(row, 0, self.columns)

    def _erase(self, row, begin, end):
        self.cells[row][begin:end] = [None] * (end - begin)


def pieces(pane):
    """Returns (row, column, text, style, from, to) for everything that was ever shown; `to` is None if it stayed to the end."""
    screen = Screen(pane["columns"], pane["rows"])
    since = [[0.0] * screen.columns for _ in range(screen.rows)]
    shown = [[None] * screen.columns for _ in range(screen.rows)]
    ended = []  # (row, from, to, column, cell)

    def compare(now):
        for row in range(screen.rows):
            if shown[row] == screen.cells[row]:
                continue
            for column, cell in enumerate(screen.cells[row]):
                if shown[row][column] != cell:
                    if shown[row][column]:
                        ended.append((row, since[row][column], now, column, shown[row][column]))
                    shown[row][column], since[row][column] = cell, now

    now = 0.0
    for seconds, text in pane["events"]:
        moment = round(seconds / MOMENT) * MOMENT
        if moment > now:
            compare(now)
            now = moment
        screen.feed(text)
    compare(now)
    for row in range(screen.rows):
        ended += [(row, since[row][column], None, column, cell)
                  for column, cell in enumerate(shown[row]) if cell]
    return _joined(ended)


def _joined(ended):
    """Joins neighbours that came and went together into one piece; two or more blanks divide it, because not
    every viewer draws several."""
    runs = []
    for row, begin, end, column, (character, style) in sorted(
            ended, key=lambda one: (one[0], one[1], one[2] or 0, one[3])):
        last = runs[-1] if runs else None
        if last and (last[0], last[3:]) == (row, [style, begin, end]) and (
                last[1] + len(last[2]) == column):
            last[2] += character
        else:
            runs.append([row, column, character, style, begin, end])
    for row, column, text, style, begin, end in runs:
        for word in WORDS.finditer(text):
            yield row, column + word.start(), word[0], style, begin, end


def picture(panes, label, pause=5.0):
    """Returns the SVG as text. `label` describes it to people who cannot see it; its last moment stays
    for `pause` seconds."""
    duration = max(event[0] for pane in panes for event in pane["events"]) + pause
    width = 2 * MARGIN + max(pane["columns"] for pane in panes) * CELL_WIDTH
    spans, body, top = {}, [], 0
    for pane in panes:
        height = TITLE_HEIGHT + pane["rows"] * LINE_HEIGHT + MARGIN
        body.append(f'<rect y="{top}" width="{width:.0f}" height="{height}" rx="8" fill="#1b1f2a"/>'
                    f'<text class="d" x="{MARGIN}" y="{top + 18}">{escape(pane["title"])}</text>')
        for row, column, text, style, begin, end in pieces(pane):
            y = top + TITLE_HEIGHT + (row + 1) * LINE_HEIGHT - 4
            classes, animated = style, ""
            if begin > 0 or end is not None:
                name = spans.setdefault((begin, end), f"k{len(spans)}")
                classes = f"{style} a" + (" o" if end is not None else "")
                animated = f' style="animation-name:{name}"'
            named = f' class="{classes.strip()}"' if classes else ""
            body.append(f'<text{named}{animated} x="{MARGIN + column * CELL_WIDTH:.1f}" y="{y}" '
                        f'textLength="{len(text) * CELL_WIDTH:.1f}">{escape(text)}</text>')
        top += height + 6
    frames = []
    for (begin, end), name in spans.items():
        steps = "0%{opacity:0}" if begin > 0 else ""
        steps += f"{100 * begin / duration:.2f}%{{opacity:1}}"
        if end is not None:
            steps += f"{100 * end / duration:.2f}%{{opacity:0}}"
        frames.append(f"@keyframes {name}{{{steps}}}")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top - 6}" '
        f'width="{width:.0f}" height="{top - 6}" role="img" aria-label={quoteattr(label)}>',
        f"<title>{escape(label)}</title>",
        "<style>" + STYLE % (FONT_SIZE, duration) + "\n".join(frames) + "</style>",
        *body, "</svg>", ""])
