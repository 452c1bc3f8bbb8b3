#!/usr/bin/env python3
"""Compares ganc's matrix products with PyTorch's, shape by shape: how fast a library's are beside ours.

The shapes are those of a model's training step. Both programs find their operands where a step does: each
computes several sets in turn, 24 MB in all, which were written just before (host/cl/gemm_tune.c). ganc's
figure is the chosen way's of `ganc tune`, which has no epilogue, as PyTorch's has none. The programs take
turns; the table has the medians.

usage: products.py [--ganc PATH] [--model M] [--batch N] [--turns N] [--threads N]
Needs torch.
"""
import argparse
import os
import statistics
import time

import torch

from steps import Ganc

SETS_BYTES, ROUNDS, OPERATIONS = 24 << 20, 20, 1e8


def operand(transposed, rows, columns):
    values = torch.rand(columns, rows) if transposed else torch.rand(rows, columns)
    return values.t() if transposed else values


def pytorch_gflops(shape):
    """Of `NN 64x512x784`, which is A (64, 784) times B (784, 512); a T says that a matrix lies transposed."""
    letters, sizes = shape.split()
    m, n, k = map(int, sizes.split('x'))
    count = max(1, SETS_BYTES // (4 * (m * k + k * n + m * n)))
    sets = [(operand(letters[0] == 'T', m, k), operand(letters[1] == 'T', k, n), torch.empty(m, n))
            for _ in range(count)]
    originals = [x.clone() for x in sets[0][:2]]
    repeats = max(1, round(OPERATIONS / (2 * m * n * k * count)))
    times = []
    for _ in range(ROUNDS + 1):
        for a, b, _ in sets:
            a.copy_(originals[0])
            b.copy_(originals[1])
        start = time.perf_counter()
        for _ in range(repeats):
            for a, b, c in sets:
                torch.mm(a, b, out=c)
        times.append((time.perf_counter() - start) / (repeats * count))
    return 2e-9 * m * n * k / statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser(description='Compares matrix products of ganc and PyTorch.')
    parser.add_argument('--ganc', default='build/ganc', help='the program (default: %(default)s)')
    parser.add_argument('--model', default='gan', help='whose products (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=64, help='images in a step (default: %(default)s)')
    parser.add_argument('--turns', type=int, default=3, help='of each program (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(),
                        help="PyTorch's (default: %(default)s)")
    options = parser.parse_args()
    if not os.access(options.ganc, os.X_OK):
        parser.error('--ganc: %s is no program; build ganc first' % options.ganc)
    torch.set_num_threads(options.threads)

    ours, theirs = {}, {}  # GFLOP/s by shape, one of each turn
    for _ in range(options.turns):
        tuned = Ganc.run([options.ganc, 'tune', '--model', options.model, '--batch', str(options.batch), '--json'])
        for product in tuned['products']:
            ours.setdefault(product['shape'], []).append(product['gflops'])
        for shape in ours:
            theirs.setdefault(shape, []).append(pytorch_gflops(shape))

    device = tuned['device']
    print('PyTorch %s against ganc on %s, %d threads; GFLOP/s, at most %.0f; ms'
          % (torch.__version__, device['name'], options.threads, device['peak_gflops']))
    print('%-18s %8s %8s %6s %8s %8s' % ('product', 'ganc', 'PyTorch', 'ratio', 'ganc ms', 'PyTorch'))
    total = [0, 0]
    for shape in ours:
        rates = statistics.median(ours[shape]), statistics.median(theirs[shape])
        m, n, k = map(int, shape.split()[1].split('x'))
        ms = [2e-6 * m * n * k / rate for rate in rates]
        total = [sum(pair) for pair in zip(total, ms)]
        print('%-18s %8.0f %8.0f %6.2f %8.4f %8.4f' % (shape, *rates, rates[0] / rates[1], *ms))
    print('%-18s %8s %8s %6.2f %8.3f %8.3f' % ('one of each', '', '', total[1] / total[0], *total))


if __name__ == '__main__':
    main()
