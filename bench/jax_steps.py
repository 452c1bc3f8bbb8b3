#!/usr/bin/env python3
"""Compares a training step of ganc with JAX's on the same machine, in one run: gan and wgan-gp.

JAX at its best: the whole step is one function, compiled once, that draws its own batch and noise and updates
its state in place; gan's generator runs forward once for both updates. The weights start as PyTorch's, and
before anything is timed some steps are made in both on the same numbers: their losses must agree. How it is
measured: steps.py.

usage: jax_steps.py [--ganc PATH] [--device D] [--models gan,wgan-gp] [--rounds N] [--seconds S] [--batch N]
                    [--json OUT]
Needs jax, torch and numpy: see tests/reference/README.md.
"""
import functools
import sys

import jax
import jax.numpy as jnp
import torch
from torch import nn

from steps import ROWS, Contender, arguments, compare
from networks import GP_WEIGHT, N_CRITIC, SIDE, Z_DIM, Training

CHECKED, TOLERANCE, WARM_UP = N_CRITIC + 1, 1e-5, 2 * N_CRITIC
BATCH_NORM_EPS, MOMENTUM, SLOPE, ADAM_EPS = 0.8, 0.1, 0.2, 1e-8


def layers_of(network):
    """A dense PyTorch network's parameters, a dict a layer; weights are (in, out)."""
    layers = []
    for module in network.model:
        arrays = [jnp.array(parameter.detach().numpy().T) for parameter in module.parameters()]
        if isinstance(module, nn.Linear):
            layers.append(dict(zip(('weight', 'bias'), arrays)))
        elif isinstance(module, nn.BatchNorm1d):
            layers[-1].update(zip(('scale', 'shift'), arrays))
    return layers


def running_of(network):
    """The running statistics of its batch norms, a pair a norm."""
    return [tuple(jnp.array(buffer.numpy()) for buffer in (module.running_mean, module.running_var))
            for module in network.model if isinstance(module, nn.BatchNorm1d)]


def optimizer_of(optimizer, layers):
    """Adam's state before the first step, and its constants."""
    group = optimizer.param_groups[0]
    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    return {'m': zeros(layers), 'v': zeros(layers), 't': jnp.zeros(()),
            'lr': group['lr'], 'betas': group['betas']}


def state_of(training):
    """All that a step changes, as JAX's arrays, from PyTorch's two networks in training."""
    state = {name: layers_of(network) for name, network in training.networks.items()}
    state['running'] = running_of(training.networks['generator'])
    state['adam'] = {name: optimizer_of(optimizer, state[name])
                     for name, optimizer in training.optimizers.items()}
    return state


def batch_norm(layer, running, x):
    """Normalises by the biased variance; the running one is unbiased."""
    mean, var, n = x.mean(axis=0), x.var(axis=0), len(x)
    running = [(1 - MOMENTUM) * old + MOMENTUM * new
               for old, new in zip(running, (mean, var * n / (n - 1)))]
    return layer['scale'] * (x - mean) * jax.lax.rsqrt(var + BATCH_NORM_EPS) + layer['shift'], tuple(running)


def generator(layers, running, z):
    """(N, 100) to (N, 784), and the new running statistics."""
    x, after = z, []
    for layer in layers[:-1]:
        x = x @ layer['weight'] + layer['bias']
        if 'scale' in layer:
            x, statistics = batch_norm(layer, running[len(after)], x)
            after.append(statistics)
        x = jax.nn.leaky_relu(x, SLOPE)
    return jnp.tanh(x @ layers[-1]['weight'] + layers[-1]['bias']), after


def discriminator(layers, images):
    """(N, 784) to (N, 1), without a sigmoid."""
    x = images
    for layer in layers[:-1]:
        x = jax.nn.leaky_relu(x @ layer['weight'] + layer['bias'], SLOPE)
    return x @ layers[-1]['weight'] + layers[-1]['bias']


def bce(logits, target):
    """The mean of -log p where the target is 1, else of -log(1 - p), with p the logits' sigmoid."""
    return jax.nn.softplus(-logits if target else logits).mean()


def update(state, name, gradients):
    """Adam, Kingma and Ba 2015: the state with the network's new parameters."""
    adam = state['adam'][name]
    t, (beta1, beta2) = adam['t'] + 1, adam['betas']
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, adam['m'], gradients)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, adam['v'], gradients)
    size, root = adam['lr'] / (1 - beta1**t), jnp.sqrt(1 - beta2**t)
    layers = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + ADAM_EPS), state[name], m, v)
    return {**state, name: layers, 'adam': {**state['adam'], name: {**adam, 'm': m, 'v': v, 't': t}}}


def gan_step(state, real, z, alpha, generator_turn):
    fake, pull_back, running = jax.vjp(lambda layers: generator(layers, state['running'], z),
                                       state['generator'], has_aux=True)
    d_loss, gradients = jax.value_and_grad(
        lambda d: bce(discriminator(d, real), 1) + bce(discriminator(d, fake), 0))(state['discriminator'])
    state = update({**state, 'running': running}, 'discriminator', gradients)
    g_loss, gradient = jax.value_and_grad(
        lambda fake: bce(discriminator(state['discriminator'], fake), 1))(fake)
    return update(state, 'generator', *pull_back(gradient)), (d_loss, g_loss)


def wgan_gp_step(state, real, z, alpha, generator_turn):
    def critic_loss(critic):
        d_loss = discriminator(critic, fake).mean() - discriminator(critic, real).mean()
        x_hat = alpha * real + (1 - alpha) * fake
        slope = jax.grad(lambda images: discriminator(critic, images).sum())(x_hat)
        gp = ((jnp.linalg.norm(slope, axis=1) - 1)**2).mean()
        return d_loss + GP_WEIGHT * gp, (d_loss, gp)

    def generator_loss(layers):
        fake, running = generator(layers, state['running'], z)
        return -discriminator(state['discriminator'], fake).mean(), running

    fake, running = generator(state['generator'], state['running'], z)
    (_, losses), gradients = jax.value_and_grad(critic_loss, has_aux=True)(state['discriminator'])
    state = update({**state, 'running': running}, 'discriminator', gradients)
    if generator_turn:
        (g_loss, running), gradients = jax.value_and_grad(generator_loss, has_aux=True)(state['generator'])
        state = update({**state, 'running': running}, 'generator', gradients)
        losses += g_loss,
    return state, losses


STEPS = {'gan': gan_step, 'wgan-gp': wgan_gp_step}


class Jax(Contender):
    def __init__(self, model, batch):
        torch.manual_seed(0)
        self.steps = 0
        self.state = {**state_of(Training(model)), 'key': jax.random.key(0)}
        self.images = jax.random.uniform(jax.random.key(1), (ROWS, SIDE * SIDE), minval=-1)

        @functools.partial(jax.jit, donate_argnums=0, static_argnames='generator_turn')
        def compiled(state, images, generator_turn):
            key, for_rows, for_z, for_alpha = jax.random.split(state['key'], 4)
            rows = jax.random.randint(for_rows, (batch,), 0, ROWS)
            z = jax.random.normal(for_z, (batch, Z_DIM))
            alpha = jax.random.uniform(for_alpha, (batch, 1))
            return STEPS[model]({**state, 'key': key}, images[rows], z, alpha, generator_turn)

        self.compiled = compiled
        self.measure(WARM_UP)

    def step(self):
        self.state, _ = self.compiled(self.state, self.images, generator_turn=self.steps % N_CRITIC == 0)
        self.steps += 1

    def wait(self):
        jax.block_until_ready(self.state)


def check(model, batch):
    """Ends the program where some steps of JAX and PyTorch on the same numbers give other losses."""
    torch.manual_seed(0)
    training, distances = Training(model), []
    state, step = state_of(training), jax.jit(STEPS[model], static_argnames='generator_turn')
    for i in range(CHECKED):
        real, z = torch.rand(batch, SIDE * SIDE) * 2 - 1, torch.randn(batch, Z_DIM)
        alpha = torch.rand(batch, 1)
        turn = i % N_CRITIC == 0
        d_loss, g_loss, gp = training.step(real, z, alpha=alpha, generator_turn=turn)
        expected = (d_loss, g_loss) if model == 'gan' else (d_loss, gp, g_loss)
        state, losses = step(state, real.numpy(), z.numpy(), alpha.numpy(), generator_turn=turn)
        distances += [float(abs(one - other.item())) / max(1, abs(other.item()))
                      for one, other in zip(losses, expected)]
    if not all(distance <= TOLERANCE for distance in distances):  # nor where one is not a number
        sys.exit('%s: the losses of JAX and PyTorch differ by %s; they do not compute the same' % (
            model, ', '.join('%.1e' % distance for distance in distances)))
    print('%-8s losses of %d steps as PyTorch gives them, within %.1e' % (
        model, CHECKED, max(distances)))


def main():
    given = arguments(__doc__, list(STEPS))
    jax.config.update('jax_platforms', 'cpu')
    for model in given.models:
        check(model, given.batch)
    compare(given, 'JAX', jax.__version__, lambda model: [('jit', lambda: Jax(model, given.batch))])


if __name__ == '__main__':
    main()
