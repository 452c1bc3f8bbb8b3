#!/usr/bin/env python3
"""Makes Markdown tables of recorded benchmarks: the devices' peaks, the models' steps, what takes their time.

usage: table.py [FILE.json ...]       without files: all of `ganc bench` in bench/results

To record a device, on a machine that does nothing else:
    build/ganc bench --json --device D >bench/results/NAME.json
Run it twice and let `ganc bench --compare` look at both: what differs on a quiet machine is noise.
"""
import glob
import json
import os
import sys

KERNELS = 5  # of each model's step


def table(heads, rows):
    """Lines of a Markdown table; the first column is text, the others are numbers."""
    print('| %s |' % ' | '.join(heads))
    print('|---|%s' % ('---:|' * (len(heads) - 1)))
    for row in rows:
        print('| %s |' % ' | '.join(row))
    print()


def peaks(records):
    print('## Devices\n')
    rows = []
    for record in records:
        d = record['device']
        rows.append(['%s, driver %s, class %s' % (d['name'], d['driver'], d['class']), d['gemm'],
                     '%.0f' % d['peak_gflops'], '%.0f' % d['peak_gbs'], '%.0f' % d['bandwidth'][-1]['gbs'],
                     '%.1f' % d['launch_us']])
    table(['device', 'products', 'GFLOP/s', 'GB/s at most', 'GB/s of memory', 'us a launch'], rows)


def steps(record):
    print('## %s\n' % record['device']['name'])
    rows = []
    for m in record['models']:
        rows.append(['`%s`' % m['model'], '%d' % m['batch'], '%.3g' % m['ms_per_step'],
                     '%.3g .. %.3g' % (m['ms_low'], m['ms_high']), '%.0f' % m['images_per_second'],
                     '%.0f' % m['mflop_per_step'], '%.0f%%' % (100 * m['share']),
                     '%.3g' % m['launches_per_step'], '%.1f' % (m['arena_bytes'] / 2**20)])
    table(['model', 'batch', 'ms a step', 'quartiles', 'images/s', 'MFLOP needed', 'of peak', 'kernels',
           'arena, MiB'], rows)


def kernels(record):
    rows = []
    for m in record['models']:
        own = [k for k in record['kernels'] if k['model'] == m['model']]
        for k in sorted(own, key=lambda k: -k['step_ms'])[:KERNELS]:
            rows.append(['`%s`: `%s` %s' % (m['model'], k['name'], k['shape']), '%.3g' % k['count'],
                         '%.3g' % k['ms'], '%.0f%%' % (100 * k['step_ms'] / m['ms_per_step']),
                         '%.0f%% of %s' % (100 * k['share'], k['limit'])])
    table(['the %d longest of each step' % KERNELS, 'a step', 'ms each', 'of the step', 'reached'], rows)


def load(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        sys.exit('table.py: %s: %s' % (path, error))


def is_benchmark(record):
    return isinstance(record, dict) and {'device', 'models', 'kernels'} <= record.keys()


def main():
    if any(argument.startswith('-') for argument in sys.argv[1:]):
        sys.exit(__doc__)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'results')
    paths = sys.argv[1:] or sorted(glob.glob(os.path.join(folder, '*.json')))
    records = []
    for path in paths:
        record = load(path)
        if is_benchmark(record):
            records.append(record)
        elif path in sys.argv[1:]:
            sys.exit('table.py: %s is not what `ganc bench --json` writes' % path)
    if not records:
        sys.exit('table.py: there is nothing in bench/results; its head says how to record a device')
    peaks(records)
    for record in records:
        steps(record)
        kernels(record)


if __name__ == '__main__':
    main()
