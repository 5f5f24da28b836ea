#!/usr/bin/env python3
"""Draws growth_bench's measurements and prints them as Markdown tables.

Usage: plot_growth.py BENCH.json OUTPUT_FOLDER. Writes one SVG per stage, growth_STAGE.svg, with a panel per axis: time
on the left scale, peak memory on the right one, both logarithmic as the axis is. No packages beyond Python's own.
"""
import collections
import json
import math
import re
import sys
from pathlib import Path
from xml.sax.saxutils import escape

NAME = re.compile(r"growth: ([^,]+), (.+) (\d+), (time|memory)$")
PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 250, 190, 58
COLOURS = {"time": "#1f5fa8", "memory": "#b2501c"}


def read(path):
    """{stage: {axis: {value: {"time": (number, unit), "memory": (number, unit)}}}}, in the order of the file."""
    stages = collections.defaultdict(lambda: collections.defaultdict(lambda: collections.defaultdict(dict)))
    for measurement in json.loads(Path(path).read_text()):
        match = NAME.match(measurement["name"])
        if match:
            stage, axis, value, kind = match.groups()
            stages[stage][axis][int(value)][kind] = (measurement["ours"], measurement["unit"])
    return stages


def scale(values, low, high):
    """A logarithmic map of the values' range to [low, high]."""
    first, last = math.log(min(values)), math.log(max(values))
    span = (last - first) or 1.0
    return lambda v: low + (math.log(v) - first) / span * (high - low)


def short(number):
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def text(x, y, content, anchor="middle", size=11, colour="#333", turn=None):
    rotation = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{rotation}>'
            f"{escape(content)}</text>")


def panel(axis, points, left):
    """One axis: two curves over its values."""
    values = sorted(points)
    x = scale(values, left + MARGIN, left + MARGIN + PANEL_WIDTH)
    top, bottom = 34, 34 + PANEL_HEIGHT
    parts = [f'<rect x="{left + MARGIN}" y="{top}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#bbb"/>',
             text(left + MARGIN + PANEL_WIDTH / 2, bottom + 34, axis, size=12)]
    parts += [text(x(v), bottom + 16, short(v)) for v in values]
    for kind, side in (("time", left + MARGIN), ("memory", left + MARGIN + PANEL_WIDTH)):
        numbers = [max(points[v][kind][0], 1e-3) for v in values]
        y = scale(numbers, bottom - 14, top + 14)
        colour = COLOURS[kind]
        line = " ".join(f"{x(v):.1f},{y(n):.1f}" for v, n in zip(values, numbers))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(v):.1f}" cy="{y(n):.1f}" r="3" fill="{colour}"/>' for v, n in zip(values, numbers)]
        anchor, step = ("end", -6) if kind == "time" else ("start", 6)
        parts += [text(side + step, y(n) + 4, short(n), anchor, colour=colour) for n in {numbers[0], numbers[-1]}]
    return parts


def draw(stage, axes):
    width = len(axes) * (PANEL_WIDTH + 2 * MARGIN)
    unit = next(iter(next(iter(axes.values())).values()))["time"][1]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{PANEL_HEIGHT + 84}" '
             f'font-family="sans-serif" role="img" aria-label="growth of {escape(stage)}">',
             '<rect width="100%" height="100%" fill="white"/>',
             text(MARGIN, 20, f"{stage}: time, {unit}", "start", 13, COLOURS["time"]),
             text(MARGIN + 210, 20, "peak memory, MiB", "start", 13, COLOURS["memory"])]
    for place, (axis, points) in enumerate(axes.items()):
        parts += panel(axis, points, place * (PANEL_WIDTH + 2 * MARGIN))
    return "\n".join(parts + ["</svg>"]) + "\n"


def tables(stages):
    for stage, axes in stages.items():
        print(f"\n**{stage}**\n\n| axis | value | time | peak memory, MiB |\n|---|---|---|---|")
        for axis, points in axes.items():
            for value, kinds in points.items():
                time, unit = kinds["time"]
                print(f"| {axis} | {value:,} | {time:.4g} {unit} | {kinds['memory'][0]:,.0f} |")


def main():
    stages, folder = read(sys.argv[1]), Path(sys.argv[2])
    if not stages:
        sys.exit(f"{sys.argv[1]}: no measurement is named 'growth: ...'")
    folder.mkdir(parents=True, exist_ok=True)
    for stage, axes in stages.items():
        (folder / f"growth_{stage.replace('-', '_')}.svg").write_text(draw(stage, axes))
    tables(stages)


if __name__ == "__main__":
    main()
