#!/usr/bin/env python3
"""Compares ganc's matrix products with PyTorch's, shape by shape: how fast a library's are beside ours.

The shapes are those of a model's training step and of its sample grid. ganc's figure is the chosen way's of
`ganc tune`, which has no epilogue, as PyTorch's has none. PyTorch's is measured in the same manner (see
host/cl/gemm_tune.c, whose limits these are): several sets of matrices in turn, written just before, so that
operands come from where a step finds them. The programs take turns; the table has the medians.

usage: products.py [--ganc PATH] [--model M] [--batch N] [--turns N] [--threads N]
Needs torch.
"""
import argparse
import math
import statistics
import time

import torch

from steps import Ganc, check_program

SETS_BYTES, MAX_SETS, OPERATIONS, MAX_REPEATS, ROUNDS = 24 << 20, 64, 1e8, 16, 20


def sizes(shape):
    """m, n and k of `NN 64x512x784`, which is A (64, 784) times B (784, 512)."""
    return map(int, shape.split()[1].split('x'))


def operand(transposed, rows, columns):
    """Random values, by columns in memory where it is transposed."""
    values = torch.rand(columns, rows) if transposed else torch.rand(rows, columns)
    return values.t() if transposed else values


def pytorch_gflops(shape):
    m, n, k = sizes(shape)
    count = min(max(1, SETS_BYTES // (4 * (m * k + k * n + m * n))), MAX_SETS)
    sets = [(operand(shape[0] == 'T', m, k), operand(shape[1] == 'T', k, n), torch.empty(m, n))
            for _ in range(count)]
    originals = [x.clone() for x in sets[0][:2]]
    repeats = min(math.ceil(OPERATIONS / (2 * m * n * k * count)), MAX_REPEATS)
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
    check_program(parser, options.ganc)
    if options.turns < 1:
        parser.error('--turns: needs at least one')
    torch.set_num_threads(options.threads)

    ours, theirs = {}, {}  # GFLOP/s by shape, one of each turn
    for _ in range(options.turns):
        tuned = Ganc.tune(options.ganc, 'cpu', options.model, options.batch)
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
        m, n, k = sizes(shape)
        ms = [2e-6 * m * n * k / rate for rate in rates]
        total = [sum(pair) for pair in zip(total, ms)]
        print('%-18s %8.0f %8.0f %6.2f %8.4f %8.4f' % (shape, *rates, rates[0] / rates[1], *ms))
    print('%-18s %8s %8s %6.2f %8.3f %8.3f' % ('one of each', '', '', total[1] / total[0], *total))


if __name__ == '__main__':
    main()
