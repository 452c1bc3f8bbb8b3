#!/usr/bin/env python3
"""Compares a training step of ganc with PyTorch's fastest on the same machine, in one run.

PyTorch's modes, each with one thread and with as many as it takes by itself: eager, which is what a script
gets that says nothing; fused, the optimiser in one pass over each tensor; compile, both networks by
torch.compile and, where there is a fused form, the optimiser fused. The step is that of
tests/reference/networks.py; the batch is taken from normalised images in memory and the noise is drawn in the
step, as ganc does both; only dcgan's images have their size beforehand, where ganc resizes them in the step.
wgan and wgan-gp update their generator in every fifth step, so that theirs is a mean over both kinds of step.
torch.compile does not differentiate twice, which wgan-gp's critic needs, and RMSprop, wgan's, has no fused
form. How it is measured: steps.py.

On a GPU both run with --device nvidia --torch-device cuda; the number of threads then matters to neither.

usage: pytorch.py [--ganc PATH] [--device D] [--torch-device D] [--models gan,dcgan] [--modes eager,fused]
                  [--rounds N] [--seconds S] [--batch N] [--json OUT]
Needs torch, numpy and, for torch.compile, a C++ compiler: see tests/reference/README.md.
"""
import sys

import torch

from steps import ROWS, Contender, arguments, compare
from networks import CLASSES, MODELS, N_CRITIC, Z_DIM, Training, image_side

MODES = 'eager', 'fused', 'compile'
WARM_UP = 2 * N_CRITIC


class PyTorch(Contender):
    def __init__(self, model, mode, threads, batch, device):
        torch.manual_seed(0)
        self.model, self.threads, self.batch, self.device, self.steps = model, threads, batch, device, 0
        self.training = Training(model)
        for network in self.training.networks.values():
            network.to(device)
        if mode != 'eager':
            self.fuse_optimizers(optional=mode == 'compile')
        if mode == 'compile':
            networks = self.training.networks
            self.training.networks = {name: torch.compile(network) for name, network in networks.items()}
        self.images = torch.rand(ROWS, image_side(model)**2, device=device) * 2 - 1
        self.labels = torch.randint(0, CLASSES, (ROWS,), device=device)
        self.measure(WARM_UP)

    def fuse_optimizers(self, optional):
        for optimizer in self.training.optimizers.values():
            for group in optimizer.param_groups:
                if 'fused' in group:
                    group['fused'] = True
                elif not optional:
                    raise ValueError('%s has no fused form' % type(optimizer).__name__)

    def step(self):
        rows = torch.randint(0, ROWS, (self.batch,), device=self.device)
        z = torch.randn(self.batch, Z_DIM, device=self.device)
        more = {'generator_turn': self.steps % N_CRITIC == 0}
        if self.model == 'cgan':
            more['labels'] = self.labels[rows]
            more['fake_labels'] = torch.randint(0, CLASSES, (self.batch,), device=self.device)
        if self.model == 'wgan-gp':
            more['alpha'] = torch.rand(self.batch, 1, device=self.device)
        self.training.step(self.images[rows], z, **more)
        self.steps += 1

    def wait(self):
        if self.device != 'cpu':
            torch.accelerator.synchronize()

    def measure(self, steps):
        torch.set_num_threads(self.threads)
        return super().measure(steps)


def add_options(parser):
    parser.add_argument('--torch-device', default='cpu', help="PyTorch's (default: %(default)s)")
    parser.add_argument('--modes', default=','.join(MODES), help='separated by commas (default: %(default)s)')


def main():
    given = arguments(__doc__, MODELS, add_options)
    modes = given.modes.split(',')
    if not set(modes) <= set(MODES):
        sys.exit('--modes: %s are not all of %s' % (given.modes, ', '.join(MODES)))
    counts = sorted({1, torch.get_num_threads()}) if given.torch_device == 'cpu' else [1]

    def modes_of(model):
        torch.compiler.reset()  # else what one model compiled counts against the limit of the next
        for mode in modes:
            for threads in counts:
                yield ('%s, %d thread%s' % (mode, threads, 's' * (threads > 1)),
                       lambda mode=mode, threads=threads: PyTorch(model, mode, threads, given.batch,
                                                                  given.torch_device))

    compare(given, 'PyTorch', torch.__version__, modes_of)


if __name__ == '__main__':
    main()
