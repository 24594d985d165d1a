"""Puts the table that benches/waiting.rs prints into the documentation: python3 scripts/plot_waiting.py TABLE.

Replaces the table of docs/waiting-measured.md, and draws a picture for each measure, with a panel for each kind of limit and a
line for each way to wait."""

import html
import math
import pathlib
import sys

# Column of the table: name of the file, title, whether the axis is logarithmic.
MEASURES = {
    "goodput": ("goodput", "Goodput / capacity", False),
    "attempts per grant": ("attempts", "Attempts per grant", True),
    "p99 s": ("p99", "99 of 100 callers are granted within, seconds", True),
    "Jain": ("jain", "Jain's index of fairness", False),
}
COLOURS = ["#b45309", "#a21caf", "#2563eb", "#15803d", "#475569"]
DOCS = pathlib.Path(__file__).parent.parent / "docs"
TABLE_BEGINS = "<!-- The table of scripts/simulate -->\n"
PANEL_WIDTH, PANEL_HEIGHT, MARGIN, LEGEND_HEIGHT = 250, 180, 45, 50
LEAST_OF_LOGARITHM = 0.01


def read_table(text):
    """The rows of the first table, as dictionaries."""
    lines = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    columns = [cell.strip() for cell in lines[0]]
    return [dict(zip(columns, (cell.strip() for cell in line))) for line in lines[2:]]


class Axis:
    """Maps values to places between two ends."""

    def __init__(self, values, start, end, logarithmic):
        self.scale = (lambda value: math.log10(max(value, LEAST_OF_LOGARITHM))) if logarithmic else float
        self.ticks = self.ticks_of(values, logarithmic)
        self.low, self.high = self.scale(self.ticks[0]), self.scale(self.ticks[-1])
        self.start, self.end = start, end

    @staticmethod
    def ticks_of(values, logarithmic):
        if not logarithmic:
            return [0, 0.25, 0.5, 0.75, 1.0] if max(values) <= 1 else [0, 0.5, 1.0, 1.5]
        low = math.floor(math.log10(max(min(values), LEAST_OF_LOGARITHM)))
        high = max(math.ceil(math.log10(max(max(values), LEAST_OF_LOGARITHM))), low + 1)
        return [10.0**power for power in range(low, high + 1)]

    def place(self, value):
        share = (self.scale(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def text(x, y, content, anchor="middle", size=11, fill="#111827"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}">{html.escape(content)}</text>'


def line(x1, y1, x2, y2, stroke="#d1d5db"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"/>'


def panel(rows, policies, column, left, top, y_axis_values, logarithmic):
    """One kind: its axes, and a line for each way to wait."""
    right, bottom = left + PANEL_WIDTH, top + PANEL_HEIGHT
    loads = sorted({float(row["load"]) for row in rows})
    x_axis = Axis(loads, left, right, True)
    x_axis.low, x_axis.high = math.log10(loads[0]), math.log10(loads[-1])
    y_axis = Axis(y_axis_values, bottom, top, logarithmic)
    parts = [text((left + right) / 2, top - 8, rows[0]["limit"].replace("_", " "), size=13)]
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        parts += [line(left, y, right, y), text(left - 5, y + 4, f"{tick:g}", "end", 10)]
    for load in loads:
        x = x_axis.place(load)
        parts += [line(x, bottom, x, bottom + 4, "#111827"), text(x, bottom + 16, f"{load:g}", size=10)]
    for policy, colour in policies.items():
        mine = sorted((float(row["load"]), float(row[column])) for row in rows if row["policy"] == policy)
        points = " ".join(f"{x_axis.place(load):.1f},{y_axis.place(value):.1f}" for load, value in mine)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts


def picture(rows, column, title, logarithmic):
    kinds = list(dict.fromkeys(row["limit"] for row in rows))
    policies = dict(zip(dict.fromkeys(row["policy"] for row in rows), COLOURS))
    values = [float(row[column]) for row in rows]
    width = len(kinds) * (PANEL_WIDTH + MARGIN) + MARGIN
    height = PANEL_HEIGHT + 3 * MARGIN + LEGEND_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">',
        f"<title>{html.escape(title)}, by offered load</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(width / 2, 22, title, size=15),
    ]
    for number, kind in enumerate(kinds):
        left = MARGIN + number * (PANEL_WIDTH + MARGIN)
        mine = [row for row in rows if row["limit"] == kind]
        parts += panel(mine, policies, column, left, 1.5 * MARGIN, values, logarithmic)
    below = PANEL_HEIGHT + 1.5 * MARGIN
    parts.append(text(width / 2, below + 36, "offered load / capacity"))
    for number, (policy, colour) in enumerate(policies.items()):
        x = MARGIN + number * (width - 2 * MARGIN) / len(policies)
        y = below + 66
        parts += [f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="18" height="9" fill="{colour}"/>', text(x + 24, y, policy, "start")]
    return "\n".join([*parts, "</svg>", ""])


def main():
    table = pathlib.Path(sys.argv[1]).read_text()
    page = DOCS / "waiting-measured.md"
    before, found, _ = page.read_text().partition(TABLE_BEGINS)
    assert found, f"{page} has no line {TABLE_BEGINS}"
    page.write_text(before + TABLE_BEGINS + "\n" + table)
    rows = read_table(table)
    for column, (name, title, logarithmic) in MEASURES.items():
        (DOCS / "pictures" / f"waiting-{name}.svg").write_text(picture(rows, column, title, logarithmic))


main()
