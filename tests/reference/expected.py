#!/usr/bin/env python3
"""Writes ../expected/MODEL.safetensors: what a short training run must produce, computed by PyTorch.

The run starts from ganc's own random numbers and the images in ../data, so that the files hold only results
and stay small. It is made in float64, the expected values, and once more in float32, whose distance from them
is the yardstick. README.md gives the tensors and the draws.

usage: expected.py [--steps N] [--batch N] [--seed N] [MODEL ...]
"""
import argparse
import gzip
import json
import math
import os
import struct

import numpy as np
import torch

import ganc_random as draw
from networks import CLASSES, MODELS, PIXELS, Z_DIM, Training

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES, GRID, KEPT = 10, 100, 256


def read_idx(name, offset):
    with gzip.open(os.path.join(HERE, '..', 'data', name)) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def initialise(training, seed):
    """Dense layers: torch's default distribution, by the stream of its key. Batch norm stays 1 and 0."""
    for prefix, network in training.networks.items():
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Linear):
                bound = np.float32(1 / math.sqrt(module.in_features))
                for kind, tensor in module.named_parameters():
                    u = draw.uniform(seed, '%s.%s.%s' % (prefix, name, kind), 0, tuple(tensor.shape))
                    tensor.data.copy_(torch.from_numpy(bound * (2 * u - 1)))


def run(model, dtype, steps, batch, seed):
    """Losses (steps, 2), the first samples and all tensors of a run, as numpy arrays."""
    images = read_idx('train-images-idx3-ubyte.gz', 16).reshape(-1, PIXELS)
    labels = read_idx('train-labels-idx1-ubyte.gz', 8)
    per_epoch = len(images) // batch
    training = Training(model, dtype)
    initialise(training, seed)
    losses = []
    for t in range(steps):
        if t % per_epoch == 0:
            order = draw.permutation(seed, 'order', t // per_epoch, len(images))
        rows = order[t % per_epoch * batch:][:batch]
        real = ((torch.from_numpy(images[rows].astype(np.float32)) / 255 - 0.5) / 0.5).to(dtype)
        z = torch.from_numpy(draw.normal(seed, 'z', t, (batch, Z_DIM))).to(dtype)
        condition = []
        if model == 'cgan':
            condition = [torch.from_numpy(labels[rows].astype(np.int64)),
                         torch.from_numpy(draw.below(seed, 'fake_labels', t, (batch,), CLASSES))]
        losses.append([loss.item() for loss in training.step(real, z, *condition)])
    fixed_z = torch.from_numpy(draw.normal(seed, 'fixed_z', 0, (GRID, Z_DIM))[:SAMPLES]).to(dtype)
    classes = [torch.arange(SAMPLES) % CLASSES] if model == 'cgan' else []
    return (np.array(losses), training.sample(fixed_z, *classes).numpy(),
            {key: tensor.numpy() for key, tensor in training.tensors().items()})


def subset(tensor):
    """At most 256 elements, evenly spread."""
    flat = tensor.reshape(-1)
    return flat[::max(1, flat.size // KEPT)][:KEPT]


def distance(a, b):
    """Of a from b, relative, by 2-norm."""
    return float(np.linalg.norm(a.astype(np.float64) - b) / max(np.linalg.norm(b), 1e-30))


def save(path, tensors, metadata):
    """Writes a safetensors file: the header's length, the header, the data.

    By hand, because the library orders metadata differently each time.
    """
    header, data = {'__metadata__': metadata}, b''
    for name, tensor in tensors.items():
        kind = {'float32': 'F32', 'float64': 'F64'}[tensor.dtype.name]
        start, data = len(data), data + tensor.tobytes()
        header[name] = {'dtype': kind, 'shape': list(tensor.shape), 'data_offsets': [start, len(data)]}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as file:
        file.write(struct.pack('<Q', len(text)) + text + data)


def write(model, steps, batch, seed):
    losses, samples, final = run(model, torch.float64, steps, batch, seed)
    losses32, samples32, final32 = run(model, torch.float32, steps, batch, seed)
    tensors, distances = {}, {'samples': distance(samples32, samples)}
    for column, name in enumerate(('d_loss', 'g_loss')):
        tensors['expect.' + name] = np.ascontiguousarray(losses[:, column])
        tensors['torch32.' + name] = losses32[:, column].astype(np.float32)
    tensors['expect.samples'] = samples.astype(np.float32)
    for key, tensor in final.items():
        distances['final.' + key] = distance(subset(final32[key]), subset(tensor))
        tensors['expect.final.' + key] = subset(tensor).astype(np.float32)
    path = os.path.join(HERE, '..', 'expected', model + '.safetensors')
    save(path, tensors, {'model': model, 'steps': str(steps), 'batch': str(batch), 'seed': str(seed),
                         'torch32_distance': json.dumps(distances)})
    off = np.abs(losses32 / losses - 1).max(axis=0)
    print('%s: float32 from float64: d_loss %.1e g_loss %.1e samples %.1e, worst final %.1e; %d bytes' % (
        model, off[0], off[1], distances['samples'],
        max(value for key, value in distances.items() if key != 'samples'), os.path.getsize(path)))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('models', nargs='*', metavar='MODEL', help='gan, cgan (default: both)')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--seed', type=int, default=7)
    arguments = parser.parse_args()
    for model in arguments.models:
        if model not in MODELS:
            parser.error('%s is not one of %s' % (model, ', '.join(MODELS)))
    torch.set_num_threads(1)  # the order of float32 sums must not depend on the machine's cores
    os.makedirs(os.path.join(HERE, '..', 'expected'), exist_ok=True)
    for model in arguments.models or MODELS:
        write(model, arguments.steps, arguments.batch, arguments.seed)


if __name__ == '__main__':
    main()
