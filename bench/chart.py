#!/usr/bin/env python3
"""Draws the comparisons that pytorch.py and jax_steps.py recorded as one SVG chart.

A group of bars a model: ganc, and below it the fastest mode of each other program. A bar is the median of a
step's time in units of ganc's in the same rounds, so that models of 4 ms and of 50 ms can be read side by
side and a run is compared with nothing but itself; the label gives milliseconds (ganc's: of the first file
that has the model). A thin line covers the middle half of the rounds. The chart brings its own background
and follows the reader's light or dark mode.

usage: chart.py STEPS.json ... > CHART.svg
"""
import argparse
import html
import json
import statistics

WIDTH, LEFT, RIGHT, BAR, GAP, TOP, BOTTOM = 760, 92, 268, 16, 14, 62, 34
STYLE = """
    text { font: 13px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .title { font-size: 16px; font-weight: 600 }
    .minor { fill: #59636e; font-size: 12px }
    .paper { fill: #ffffff; stroke: #d1d9e0 }
    .rule { stroke: #d1d9e0 }
    .spread { stroke: #1f2328; stroke-opacity: 0.55; stroke-width: 1.5 }
    .ganc { fill: #0969da } .PyTorch { fill: #bc6c25 } .JAX { fill: #7a7f87 }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .minor { fill: #9198a1 }
        .paper { fill: #0d1117; stroke: #3d444d }
        .rule { stroke: #3d444d }
        .spread { stroke: #e6edf3 }
        .ganc { fill: #4493f8 } .PyTorch { fill: #d98a45 } .JAX { fill: #8b929b }
    }
"""


def text(x, y, words, kind='', anchor='start'):
    return '<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>' % (
        x, y, kind, anchor, html.escape(words))


def line(x1, y1, x2, y2, kind):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (x1, y1, x2, y2, kind)


def groups_of(records):
    """By model its bars: (program, label, ratios to ganc: lower quarter, median, upper quarter)."""
    groups = {}
    for record in records:
        for result in record['models']:
            group = groups.setdefault(result['model'], [])
            if not group:
                group.append(('ganc', '%.1f ms' % statistics.median(result['ganc']), (1, 1, 1)))
            mode, ratios = result['fastest'], quarters(result['ratio'])
            label = '%.1f ms, %.2fx (%s)' % (statistics.median(result['modes'][mode]), ratios[1], mode)
            group.append((record['program'], label, ratios))
    return groups


def quarters(values):
    """The least of a sorted list without its outer quarters, the median, and the greatest."""
    cut = len(values) // 4
    inner = sorted(values)[cut:len(values) - cut]
    return inner[0], statistics.median(values), inner[-1]


def draw(records):
    groups = groups_of(records)
    bars = [bar for group in groups.values() for bar in group]
    longest = max(high for _, _, (_, _, high) in bars)
    scale, bottom = (WIDTH - LEFT - RIGHT) / longest, TOP + len(bars) * BAR + len(groups) * GAP
    parts = [text(16, 28, 'A training step of %d images' % records[0]['batch'], 'title'),
             text(16, 47, "time in units of ganc's; shorter is faster", 'minor')]
    for tick in range(int(longest) + 1):
        x = LEFT + tick * scale
        parts += [line(x, TOP, x, bottom, 'rule'), text(x, bottom + 18, '%d' % tick, 'minor', 'middle')]
    y = TOP + GAP / 2
    for model, group in groups.items():
        parts.append(text(16, y + BAR - 3, model))
        for program, label, (low, median, high) in group:
            middle = y + BAR / 2
            parts.append('<rect x="%d" y="%.1f" width="%.1f" height="%d" class="%s"/>' % (
                LEFT, y + 1, median * scale, BAR - 2, program))
            parts.append(line(LEFT + low * scale, middle, LEFT + high * scale, middle, 'spread'))
            parts.append(text(LEFT + high * scale + 8, y + BAR - 3, '%s %s' % (program, label), 'minor'))
            y += BAR
        y += GAP
    versions = ', '.join('%s %s' % (record['program'], record['version'].split('+')[0]) for record in records)
    source = '%s; %s, %d cores' % (versions, records[0]['cpu'], records[0]['cores'])
    parts.append(text(WIDTH - 16, 28, source, 'minor', 'end'))
    parts.append(text(WIDTH - 16, 47, records[0]['date'], 'minor', 'end'))
    height = bottom + BOTTOM
    return '\n'.join([
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">' % (
            WIDTH, height, WIDTH, height),
        '<style>%s</style>' % STYLE,
        '<rect x="0.5" y="0.5" width="%d" height="%d" rx="6" class="paper"/>' % (WIDTH - 1, height - 1),
        *parts, '</svg>'])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('records', metavar='STEPS.json', nargs='+')
    records = []
    for path in parser.parse_args().records:
        with open(path) as file:
            records.append(json.load(file))
    hosts = {(record['cpu'], record['cores'], record['batch']) for record in records}
    if len(hosts) > 1:
        parser.error('the files are of different machines or batches: %s' % sorted(hosts))
    print(draw(records))


if __name__ == '__main__':
    main()
