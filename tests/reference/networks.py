"""The models as PyTorch programs: their networks, and one training step of each.

The state_dict keys are those of the files that ganc reads and writes. Images are rows of pixels in [-1, 1]:
784 of them, 1024 for dcgan.
"""
import math

import torch
from torch import nn
from torch.nn import functional as F

SIDE, CONV_SIDE, CLASSES, Z_DIM = 28, 32, 10, 100
MODELS = 'gan', 'cgan', 'dcgan', 'wgan', 'wgan-gp'
N_CRITIC, CLIP, GP_WEIGHT = 5, 0.01, 10


class Generator(nn.Module):
    """Goodfellow et al. 2014, dense; conditional as Mirza and Osindero 2014: z joined to a one-hot label."""

    def __init__(self, conditional):
        super().__init__()
        layers, inputs = [], Z_DIM + (CLASSES if conditional else 0)
        for outputs in (128, 256, 512):
            layers.append(nn.Linear(inputs, outputs))
            if outputs > 128:
                layers.append(nn.BatchNorm1d(outputs, eps=0.8))
            layers.append(nn.LeakyReLU(0.2))
            inputs = outputs
        self.model = nn.Sequential(*layers, nn.Linear(inputs, SIDE * SIDE), nn.Tanh())

    def forward(self, z, labels=None):
        return self.model(with_labels(z, labels))


class Discriminator(nn.Module):
    """Scores images, and their labels where there are any: (N, 784) to (N, 1).

    With a sigmoid the score is the probability that an image is real; a Wasserstein critic's is any number.
    """

    def __init__(self, conditional, sigmoid):
        super().__init__()
        layers = [nn.Linear(SIDE * SIDE + (CLASSES if conditional else 0), 512), nn.LeakyReLU(0.2),
                  nn.Linear(512, 256), nn.LeakyReLU(0.2),
                  nn.Linear(256, 1)]
        self.model = nn.Sequential(*layers, *[nn.Sigmoid()] * sigmoid)

    def forward(self, images, labels=None):
        return self.model(with_labels(images, labels))


class ConvGenerator(nn.Module):
    """Radford et al. 2015, for images of 32x32."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(Z_DIM, 256 * 4 * 4)
        self.model = nn.Sequential(
            nn.ConvTranspose2d(256, 128, 3, stride=2), nn.BatchNorm2d(128), nn.ReLU(),
            nn.ConvTranspose2d(128, 64, 3, stride=2, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 1, 4, stride=2, padding=2), nn.Tanh())

    def forward(self, z, labels=None):
        return self.model(self.linear(z).view(-1, 256, 4, 4)).flatten(1)


class ConvDiscriminator(nn.Module):
    """The other half of it: (N, 1024) to (N, 1)."""

    def __init__(self, sigmoid):
        super().__init__()
        layers, inputs = [], 1
        for outputs, kernel, stride, padding in (16, 3, 2, 1), (32, 3, 2, 1), (64, 3, 2, 1), (128, 4, 1, 0):
            layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding))
            if inputs > 1:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.LeakyReLU(0.2))
            inputs = outputs
        self.conv = nn.Sequential(*layers)
        self.linear = nn.Sequential(nn.Linear(128, 1), *[nn.Sigmoid()] * sigmoid)

    def forward(self, images, labels=None):
        return self.linear(self.conv(images.view(-1, 1, CONV_SIDE, CONV_SIDE)).flatten(1))


def with_labels(rows, labels):
    """Joins the labels, one-hot, to the rows; None leaves the rows alone."""
    return rows if labels is None else torch.cat([rows, F.one_hot(labels, CLASSES).to(rows.dtype)], dim=1)


def image_side(model):
    return CONV_SIDE if model == 'dcgan' else SIDE


def optimizer(model, network):
    if model == 'wgan':
        return torch.optim.RMSprop(network.parameters(), lr=5e-5)
    lr, betas = (1e-4, (0.5, 0.9)) if model == 'wgan-gp' else (2e-4, (0.5, 0.999))
    return torch.optim.Adam(network.parameters(), lr=lr, betas=betas)


class Training:
    """Two networks and their optimisers."""

    def __init__(self, model, dtype=torch.float32):
        if model not in MODELS:
            raise ValueError('%r is not one of %s' % (model, ', '.join(MODELS)))
        if model == 'dcgan':
            networks = {'generator': ConvGenerator(), 'discriminator': ConvDiscriminator(sigmoid=True)}
        else:
            networks = {'generator': Generator(model == 'cgan'),
                        'discriminator': Discriminator(model == 'cgan', sigmoid=model in ('gan', 'cgan'))}
        self.networks = {name: network.to(dtype) for name, network in networks.items()}
        self.optimizers = {name: optimizer(model, network) for name, network in self.networks.items()}
        self.step = {'wgan': self.wgan_step, 'wgan-gp': self.wgan_gp_step}.get(model, self.gan_step)

    # One step each, the discriminator's update and then the generator's. Each takes what its model needs of
    # real, z, labels, fake_labels, alpha and generator_turn, and returns d_loss, g_loss and gp: scalars, not
    # a number where the step has none.

    def gan_step(self, real, z, labels=None, fake_labels=None, **_):
        generator, discriminator = self.networks['generator'], self.networks['discriminator']
        fake = generator(z, fake_labels)
        d_loss = bce(discriminator(real, labels), 1) + bce(discriminator(fake.detach(), fake_labels), 0)
        self.update('discriminator', d_loss)
        g_loss = bce(discriminator(fake, fake_labels), 1)
        self.update('generator', g_loss)
        return d_loss.detach(), g_loss.detach(), NONE

    def wgan_step(self, real, z, generator_turn, **_):
        """Arjovsky et al. 2017: the critic's weights are clipped after each update."""
        critic = self.networks['discriminator']
        fake = self.networks['generator'](z)
        d_loss = critic(fake.detach()).mean() - critic(real).mean()
        self.update('discriminator', d_loss)
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.clamp_(-CLIP, CLIP)
        g_loss = NONE
        if generator_turn:
            g_loss = -critic(fake).mean()
            self.update('generator', g_loss)
        return d_loss.detach(), g_loss.detach(), NONE

    def wgan_gp_step(self, real, z, alpha, generator_turn, **_):
        """Gulrajani et al. 2017. The generator's update runs the generator again, as the script does."""
        generator, critic = self.networks['generator'], self.networks['discriminator']
        d_loss, gp = critic_losses(critic, real, generator(z).detach(), alpha)
        self.update('discriminator', d_loss + GP_WEIGHT * gp)
        g_loss = NONE
        if generator_turn:
            g_loss = -critic(generator(z)).mean()
            self.update('generator', g_loss)
        return d_loss.detach(), g_loss.detach(), gp.detach()

    def update(self, name, loss):
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    def sample(self, z, labels=None):
        """The generator's images in evaluation mode."""
        self.networks['generator'].eval()
        with torch.no_grad():
            images = self.networks['generator'](z, labels)
        self.networks['generator'].train()
        return images

    def tensors(self):
        """Everything that a run changes in the networks, parameters and running statistics, by full key."""
        return tensors_of(self.networks)


NONE = torch.tensor(math.nan)


def bce(probability, target):
    return F.binary_cross_entropy(probability, torch.full_like(probability, target))


def critic_losses(critic, real, fake, alpha):
    """WGAN-GP's two terms: the difference of the scores' means, and the penalty on the slope between."""
    d_loss = critic(fake).mean() - critic(real).mean()
    x_hat = (alpha * real + (1 - alpha) * fake).requires_grad_()
    slope, = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
    return d_loss, ((slope.norm(dim=1) - 1) ** 2).mean()


def tensors_of(networks):
    return {'%s.%s' % (name, key): tensor for name, network in networks.items()
            for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
