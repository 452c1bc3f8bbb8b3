#!/usr/bin/env python3
"""ganc's generators in PyTorch, and PyTorch's in ganc: the same noise must give the same images.

For each model, ganc trains for some steps; its generator.safetensors is loaded into the torch module, and both
sample the same noise. Then the module, with other weights and statistics, is saved by PyTorch and sampled by
ganc. Exits 1 where an image differs by more than 1e-5, 77 without torch, numpy or safetensors.

usage: load_generator.py GANC
"""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file, save_file
except ImportError as error:
    print('skipped: %s; it needs torch, numpy and safetensors' % error)
    sys.exit(77)  # ctest reports it as skipped

import ganc_random as draw
from networks import CLASSES, MODELS, Z_DIM, Training

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'data')
COUNT, TOLERANCE = 100, 1e-5


def ganc(*arguments):
    subprocess.run([sys.argv[1], *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


def largest_difference(name, network, path, seed):
    """Between ganc's samples of a file or run and the network's, for the noise that ganc draws by the seed."""
    ganc('generate', path, '--count', COUNT, '--seed', seed, '--npy', 'samples.npy', '--overwrite')
    ours = np.load('samples.npy')
    z = torch.from_numpy(draw.normal(seed, 'fixed_z', 0, (COUNT, Z_DIM)))
    condition = [torch.arange(COUNT) % CLASSES] if name == 'cgan' else []
    with torch.no_grad():
        theirs = network.eval()(z, *condition).numpy().reshape(ours.shape)
    return np.abs(ours - theirs).max()


def change(network):
    """Other weights and statistics, as another training would have left them."""
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith('running_var'):
                tensor.uniform_(0.5, 2)
            elif tensor.is_floating_point():
                tensor.add_(0.05 * torch.randn_like(tensor))
            else:
                tensor.fill_(1234)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.argv[1] = os.path.abspath(sys.argv[1])
    torch.manual_seed(0)
    worst = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in MODELS:
            ganc('--model', name, '--data', DATA, '--batch', 16, '--steps', 30, '--out', name)
            network = Training(name).networks['generator']
            network.load_state_dict(load_file(os.path.join(name, 'generator.safetensors')))
            loaded = largest_difference(name, network, name, 3)
            change(network)
            save_file(network.state_dict(), 'torch.safetensors')
            saved = largest_difference(name, network, 'torch.safetensors', 4)
            print('%-8s ganc to torch %.1e, torch to ganc %.1e' % (name, loaded, saved))
            worst = max(worst, loaded, saved)
    sys.exit(0 if worst <= TOLERANCE else '%g is more than %g' % (worst, TOLERANCE))


if __name__ == '__main__':
    main()
