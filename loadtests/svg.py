"""SVG: one chart as markup that needs no script and no other file; pure."""

import math
from html import escape

from loadtests.series import Chart

WIDTH, HEIGHT = 860, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 160, 14, 34
COLOURS = ("#1f5fa8", "#c8551b", "#2b8a4b", "#8a3fa0", "#7a6a1c", "#b0264f", "#3d8d99", "#555555")
TICKS = 4


def draw(chart: Chart) -> str:
    """Return the chart; without points, a sentence."""
    points = [point for line in chart.lines.values() for point in line]
    if not points:
        return '<p class="none">Not measured in this run.</p>'
    latest = max(at for at, _ in points)
    last = max(latest, 1.0)
    highest = max(value for _, value in points)
    top = nice(max(highest, chart.limit or 0.0))
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *_axes(last, top, chart.unit),
    ]
    for number, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        placed = " ".join(f"{_x(at, last):.1f},{_y(value, top):.1f}" for at, value in line)
        parts.append(f'<polyline points="{placed}" fill="none" stroke="{colour}"/>')
        y = TOP + 12 + number * 17
        x = WIDTH - RIGHT + 10
        parts.append(f'<rect x="{x}" y="{y - 8}" width="10" height="3" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{y}">{escape(name)}</text>')
    if chart.limit is not None:
        parts += _limit(chart.limit, top)
    return "\n".join([*parts, "</svg>"])


def nice(value: float) -> float:
    """Return the next round number from a value up: 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= value * 0.999999)


def _x(at: float, last: float) -> float:
    return LEFT + at / last * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM)


def _axes(last: float, top: float, unit: str) -> list[str]:
    parts: list[str] = []
    for tick in range(TICKS + 1):
        y = _y(top * tick / TICKS, top)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        label = f"{top * tick / TICKS:g}"
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4}">{label}</text>')
        x = _x(last * tick / TICKS, last)
        seconds = f"{last * tick / TICKS:.0f} s"
        parts.append(f'<text class="mid" x="{x}" y="{HEIGHT - BOTTOM + 16}">{seconds}</text>')
    parts.append(f'<text x="4" y="{HEIGHT - 6}">{escape(unit)}</text>')
    return parts


def _limit(limit: float, top: float) -> list[str]:
    y = _y(limit, top)
    return [
        f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>',
        f'<text class="limit" x="{LEFT + 4}" y="{y - 4}">limit {limit:g}</text>',
    ]
