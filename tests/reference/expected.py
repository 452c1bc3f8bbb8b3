#!/usr/bin/env python3
"""Writes ../expected/NAME.safetensors: what a short training run must produce, computed by PyTorch.

The run starts from ganc's own random numbers and the images in ../data, so that the files hold only results
and stay small. It is made in float64, the expected values, and again in float32, whose distance from them is
the yardstick. How far a float32 run strays is partly luck: one pre-activation that falls on the other side of
a ReLU's kink is seen in every later step. So some models are run in float32 several times, from starts nudged
by a rounding, and the farthest counts. README.md gives the tensors and the draws.

Besides the models there is dcgan-gp: DCGAN's discriminator alone, as a critic under WGAN-GP's loss, between
two kinds of noise. No model has it; it is there for the penalty's second derivatives through convolutions.

usage: expected.py [--steps N] [--batch N] [--seed N] [NAME ...]
"""
import argparse
import functools
import gzip
import json
import math
import os
import struct

import numpy as np
import torch

import ganc_random as draw
from networks import (CLASSES, CONV_SIDE, GP_WEIGHT, MODELS, N_CRITIC, SIDE, Z_DIM, ConvDiscriminator,
                      Training, critic_losses, image_side, optimizer, tensors_of)

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES, GRID, KEPT = 10, 100, 256
LOSSES = 'd_loss', 'g_loss', 'gp'
STEPS = {'dcgan': 2, 'dcgan-gp': 4}  # the others make 20
NUDGED = {'gan': 0, 'cgan': 0}       # float32 runs from nudged starts; the others have 8


def read_idx(name, offset):
    with gzip.open(os.path.join(HERE, '..', 'data', name)) as file:
        return np.frombuffer(file.read(), np.uint8, offset=offset)


def resize(images):
    """(N, 28, 28) to (N, 32, 32) as Pillow's BILINEAR: along the rows, rounded to bytes, then the columns.

    An output mixes the two inputs beside its centre, of which a border has one. All weights are sixteenths.
    """
    centres = (np.arange(CONV_SIDE) + 0.5) * SIDE / CONV_SIDE - 0.5
    weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(SIDE)))
    sixteenths = np.rint(16 * weights / weights.sum(axis=1, keepdims=True)).astype(int)  # (32, 28)
    rows = (images @ sixteenths.T + 8) >> 4
    return ((sixteenths @ rows + 8) >> 4).astype(np.uint8)


def initialise(networks, seed, nudge):
    """Draws each tensor by the stream of its key; dense batch norms stay 1 and 0.

    torch's default distributions, but DCGAN's normals for the weights of convolutions and their batch norms.
    A nudge other than 0 moves the values by about a rounding, each nudge otherwise.
    """
    for prefix, network in networks.items():
        for name, module in network.named_modules():
            convolution = isinstance(module, (torch.nn.Conv2d, torch.nn.ConvTranspose2d))
            for kind, tensor in module.named_parameters(recurse=False):
                key, shape = '%s.%s.%s' % (prefix, name, kind), tuple(tensor.shape)
                if kind == 'weight' and (convolution or isinstance(module, torch.nn.BatchNorm2d)):
                    mean = np.float32(0 if convolution else 1)
                    values = mean + np.float32(0.02) * draw.normal(seed, key, 0, shape)
                elif convolution or isinstance(module, torch.nn.Linear):
                    bound = np.float32(1 / math.sqrt(module.weight[0].numel()))
                    values = bound * (2 * draw.uniform(seed, key, 0, shape) - 1)
                else:
                    continue
                if nudge:
                    noise = draw.normal(seed, 'nudge.' + key, nudge, shape)
                    values = values * (1 + np.float32(2**-24) * noise)
                tensor.data.copy_(torch.from_numpy(values))


def arrays(tensors):
    return {key: tensor.numpy() for key, tensor in tensors.items()}


def run(model, dtype, steps, batch, seed, nudge=0):
    """Losses (steps, 3), the first samples and all tensors of a run, as numpy arrays."""
    images = read_idx('train-images-idx3-ubyte.gz', 16).reshape(-1, SIDE, SIDE)
    if image_side(model) != SIDE:
        images = resize(images)
    images = images.reshape(len(images), -1)
    labels = read_idx('train-labels-idx1-ubyte.gz', 8)
    per_epoch = len(images) // batch
    training = Training(model, dtype)
    initialise(training.networks, seed, nudge)
    losses = []
    for t in range(steps):
        if t % per_epoch == 0:
            order = draw.permutation(seed, 'order', t // per_epoch, len(images))
        rows = order[t % per_epoch * batch:][:batch]
        real = ((torch.from_numpy(images[rows].astype(np.float32)) / 255 - 0.5) / 0.5).to(dtype)
        z = torch.from_numpy(draw.normal(seed, 'z', t, (batch, Z_DIM))).to(dtype)
        more = {'generator_turn': t % per_epoch % N_CRITIC == 0}
        if model == 'cgan':
            more['labels'] = torch.from_numpy(labels[rows].astype(np.int64))
            more['fake_labels'] = torch.from_numpy(draw.below(seed, 'fake_labels', t, (batch,), CLASSES))
        if model == 'wgan-gp':
            more['alpha'] = torch.from_numpy(draw.uniform(seed, 'alpha', t, (batch, 1))).to(dtype)
        losses.append([loss.item() for loss in training.step(real, z, **more)])
    fixed_z = torch.from_numpy(draw.normal(seed, 'fixed_z', 0, (GRID, Z_DIM))[:SAMPLES]).to(dtype)
    classes = [torch.arange(SAMPLES) % CLASSES] if model == 'cgan' else []
    return np.array(losses), training.sample(fixed_z, *classes).numpy(), arrays(training.tensors())


def run_critic(dtype, steps, batch, seed, nudge=0):
    """The same of dcgan-gp, which has no samples."""
    networks = {'discriminator': ConvDiscriminator(sigmoid=False).to(dtype)}
    initialise(networks, seed, nudge)
    critic = networks['discriminator']
    adam = optimizer('wgan-gp', critic)
    losses = []
    for t in range(steps):
        u = {stream: torch.from_numpy(draw.uniform(seed, stream, t, (batch, width))).to(dtype)
             for stream, width in (('real', CONV_SIDE**2), ('fake', CONV_SIDE**2), ('alpha', 1))}
        d_loss, gp = critic_losses(critic, u['real'], 2 * u['fake'] - 1, u['alpha'])
        adam.zero_grad()
        (d_loss + GP_WEIGHT * gp).backward()
        adam.step()
        losses.append([d_loss.item(), math.nan, gp.item()])
    return np.array(losses), None, arrays(tensors_of(networks))


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


def write(name, steps, batch, seed):
    make = run_critic if name == 'dcgan-gp' else functools.partial(run, name)
    steps = steps or STEPS.get(name, 20)
    losses, samples, final = make(torch.float64, steps, batch, seed)
    runs32 = [make(torch.float32, steps, batch, seed, nudge) for nudge in range(1 + NUDGED.get(name, 8))]
    tensors, distances, off = {}, {}, ''
    for column, loss in enumerate(LOSSES):
        has = ~np.isnan(losses[:, column])
        if has.any():
            farthest = max((losses32[:, column] for losses32, _, _ in runs32),
                           key=lambda column32: distance(column32[has], losses[has, column]))
            tensors['expect.' + loss] = np.ascontiguousarray(losses[:, column])
            tensors['torch32.' + loss] = farthest.astype(np.float32)
            off += '%s %.1e ' % (loss, distance(farthest[has], losses[has, column]))
    if samples is not None:
        distances['samples'] = max(distance(samples32, samples) for _, samples32, _ in runs32)
        tensors['expect.samples'] = samples.astype(np.float32)
        off += 'samples %.1e ' % distances['samples']
    for key, tensor in final.items():
        distances['final.' + key] = max(distance(subset(final32[key]), subset(tensor))
                                        for _, _, final32 in runs32)
        tensors['expect.final.' + key] = subset(tensor).astype(np.float32)
    path = os.path.join(HERE, '..', 'expected', name + '.safetensors')
    save(path, tensors, {'model': name, 'steps': str(steps), 'batch': str(batch), 'seed': str(seed),
                         'torch32_distance': json.dumps(distances)})
    print('%s: float32 from float64: %sworst final %.1e; %d bytes' % (
        name, off, max(value for key, value in distances.items() if key != 'samples'), os.path.getsize(path)))


def main():
    names = *MODELS, 'dcgan-gp'
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help='%s (default: all)' % ', '.join(names))
    parser.add_argument('--steps', type=int, help='default: 20; 2 for dcgan, 4 for dcgan-gp')
    parser.add_argument('--batch', type=int, default=16)
    parser.add_argument('--seed', type=int, default=7)
    arguments = parser.parse_args()
    for name in arguments.names:
        if name not in names:
            parser.error('%s is not one of %s' % (name, ', '.join(names)))
    torch.set_num_threads(1)  # the order of float32 sums must not depend on the machine's cores
    os.makedirs(os.path.join(HERE, '..', 'expected'), exist_ok=True)
    for name in arguments.names or names:
        write(name, arguments.steps, arguments.batch, arguments.seed)


if __name__ == '__main__':
    main()
