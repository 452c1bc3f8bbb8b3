"""The models as PyTorch programs: their networks, and one training step of each.

The state_dict keys are those of the files that ganc reads and writes. Images are rows of 784 pixels
in [-1, 1].
"""
import torch
from torch import nn
from torch.nn import functional as F

PIXELS, CLASSES, Z_DIM = 28 * 28, 10, 100
MODELS = 'gan', 'cgan'


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
        self.model = nn.Sequential(*layers, nn.Linear(inputs, PIXELS), nn.Tanh())

    def forward(self, z, labels=None):
        return self.model(with_labels(z, labels))


class Discriminator(nn.Module):
    """The probability that an image, and its label where there is one, is real: (N, 784) to (N, 1)."""

    def __init__(self, conditional):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(PIXELS + (CLASSES if conditional else 0), 512), nn.LeakyReLU(0.2),
            nn.Linear(512, 256), nn.LeakyReLU(0.2),
            nn.Linear(256, 1), nn.Sigmoid())

    def forward(self, images, labels=None):
        return self.model(with_labels(images, labels))


def with_labels(rows, labels):
    """Joins the labels, one-hot, to the rows; None leaves the rows alone."""
    return rows if labels is None else torch.cat([rows, F.one_hot(labels, CLASSES).to(rows.dtype)], dim=1)


class Training:
    """Two networks and their optimisers."""

    def __init__(self, model, dtype=torch.float32):
        if model not in MODELS:
            raise ValueError('%r is not one of %s' % (model, ', '.join(MODELS)))
        self.networks = {'generator': Generator(model == 'cgan').to(dtype),
                         'discriminator': Discriminator(model == 'cgan').to(dtype)}
        self.optimizers = {name: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999))
                           for name, network in self.networks.items()}

    def step(self, real, z, labels=None, fake_labels=None):
        """Updates the discriminator, then the generator; returns their losses, two scalar tensors."""
        generator, discriminator = self.networks['generator'], self.networks['discriminator']
        fake = generator(z, fake_labels)
        d_loss = bce(discriminator(real, labels), 1) + bce(discriminator(fake.detach(), fake_labels), 0)
        self.update('discriminator', d_loss)
        g_loss = bce(discriminator(fake, fake_labels), 1)
        self.update('generator', g_loss)
        return d_loss.detach(), g_loss.detach()

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
        return {'%s.%s' % (name, key): tensor for name, network in self.networks.items()
                for key, tensor in network.state_dict().items() if tensor.is_floating_point()}


def bce(probability, target):
    return F.binary_cross_entropy(probability, torch.full_like(probability, target))
