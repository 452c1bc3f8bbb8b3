#!/usr/bin/env python3
"""Compares a training step of ganc with PyTorch's on the same machine, in one run.

PyTorch runs as users run it: eager, its default Adam or RMSprop, all threads; the batch is taken from
normalised images in memory and the noise is drawn in the step, as ganc does both; only dcgan's images have
their size beforehand, where ganc resizes them in the step. wgan and wgan-gp update their generator in every
fifth step, so that theirs is a mean over both kinds of step. The two alternate for several rounds, because a
machine's speed drifts; the table gives medians and the spread.

usage: pytorch.py [--ganc PATH] [--device D] [--models gan,dcgan] [--rounds N] [--steps N] [--batch N]
Without --ganc only PyTorch is measured. Needs torch and numpy: see tests/reference/README.md.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'tests', 'reference'))

import torch
from networks import CLASSES, MODELS, N_CRITIC, Z_DIM, Training, image_side

ROWS, WARM_UP = 10000, 20


class PyTorch:
    """One model in training, kept from round to round."""

    def __init__(self, model, batch):
        torch.manual_seed(0)
        self.model, self.batch, self.steps = model, batch, 0
        self.training = Training(model)
        self.images = torch.rand(ROWS, image_side(model)**2) * 2 - 1
        self.labels = torch.randint(0, CLASSES, (ROWS,))
        self.measure(WARM_UP)

    def step(self):
        rows = torch.randint(0, ROWS, (self.batch,))
        z = torch.randn(self.batch, Z_DIM)
        more = {'generator_turn': self.steps % N_CRITIC == 0}
        if self.model == 'cgan':
            more['labels'] = self.labels[rows]
            more['fake_labels'] = torch.randint(0, CLASSES, (self.batch,))
        if self.model == 'wgan-gp':
            more['alpha'] = torch.rand(self.batch, 1)
        self.training.step(self.images[rows], z, **more)
        self.steps += 1

    def measure(self, steps):
        """Milliseconds a step."""
        start = time.perf_counter()
        for _ in range(steps):
            self.step()
        return (time.perf_counter() - start) / steps * 1000


def measure_ganc(path, device, model, steps, batch):
    """Milliseconds a step of a run of its own, of which the first step, which compiles, is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        command = [path, '--model', model, '--data', 'synthetic', '--steps', str(steps),
                   '--batch', str(batch), '--json', '--out', os.path.join(folder, 'run'), '--overwrite']
        command += ['--device', device] if device else []
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit('%s failed: %s' % (' '.join(command), done.stderr.strip().split('\n')[-1]))
    result = json.loads(done.stdout)
    return result['seconds'] / (result['steps'] - 1) * 1000


def describe(times):
    return '%8.2f ms (%.2f .. %.2f)' % (statistics.median(times), min(times), max(times))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ganc', metavar='PATH', help='the program, such as build/ganc')
    parser.add_argument('--device', help="ganc's --device")
    parser.add_argument('--models', default=','.join(MODELS),
                        help='separated by commas (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--steps', type=int, default=200, help='in each round (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=64)
    arguments = parser.parse_args()
    models = arguments.models.split(',')
    for model in models:
        if model not in MODELS:
            parser.error('--models: %r is not one of %s' % (model, ', '.join(MODELS)))
    if arguments.rounds < 1 or arguments.steps < 2 or arguments.batch < 2:
        parser.error('needs at least one round, two steps and a batch of two')
    if arguments.ganc and not os.access(arguments.ganc, os.X_OK):
        parser.error('--ganc: %s is no program; build ganc first' % arguments.ganc)

    print('PyTorch %s, %d threads; %d rounds of %d steps of %d images; median (fastest .. slowest round)' % (
        torch.__version__, torch.get_num_threads(), arguments.rounds, arguments.steps, arguments.batch))
    for model in models:
        pytorch, torch_ms, ganc_ms = PyTorch(model, arguments.batch), [], []
        for _ in range(arguments.rounds):
            torch_ms.append(pytorch.measure(arguments.steps))
            if arguments.ganc:
                ganc_ms.append(measure_ganc(arguments.ganc, arguments.device, model, arguments.steps,
                                            arguments.batch))
        line = '%-8s PyTorch %s' % (model, describe(torch_ms))
        if ganc_ms:
            line += '   ganc %s   ganc takes %.2f of the time' % (
                describe(ganc_ms), statistics.median(ganc_ms) / statistics.median(torch_ms))
        print(line, flush=True)


if __name__ == '__main__':
    main()
