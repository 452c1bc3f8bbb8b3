#!/usr/bin/env python3
"""Writes ../expected/grid.safetensors: images, and the pixels that torchvision makes of them.

For each case NAME it holds images.NAME, F32 (count, height, width); columns.NAME, I32 (1): N; pixels.NAME,
U8 (grid height, grid width, 3): what save_image(images, nrow=N, normalize=True) puts into a PNG file.

usage: grid.py            needs torch, torchvision, Pillow and safetensors
"""
import io
import os

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from torchvision.utils import save_image


def pixels(images, columns):
    file = io.BytesIO()
    save_image(images[:, None], file, format="png", nrow=columns, normalize=True)
    return np.array(Image.open(file))


def ties(low, high):
    """Images in [low, high] whose pixels lie on the edge of two bytes, where another rounding shows."""
    edges = np.float32(low + (high - low) * (np.arange(255) + 0.5) / 255)
    steps = np.arange(-8, 8).astype(np.int32)
    near = (edges.view(np.int32)[:, None] + steps).view(np.float32).ravel()
    return torch.from_numpy(np.concatenate([near, np.float32([low, high] * 8)]).reshape(4, 32, 32))


def main():
    torch.manual_seed(1)
    cases = {
        "partial_row": (torch.tanh(torch.randn(13, 5, 4)), 10),
        "narrow": (torch.tanh(torch.randn(4, 5, 4)), 10),
        "single": (torch.tanh(torch.randn(1, 5, 4)), 10),
        "full_rows": (torch.randn(20, 3, 7) * 1e4 - 77, 10),
        "one_column": (torch.rand(3, 6, 5), 1),
        "constant": (torch.full((13, 5, 4), 0.7), 10),
        "nearly_constant": (0.25 + torch.rand(13, 5, 4) * 5e-6, 10),
        "ties": (ties(-0.9712, 0.9368), 3),
        "wide": (torch.tanh(torch.randn(12, 28, 28) * 2), 10),
    }
    tensors = {}
    for name, (images, columns) in cases.items():
        tensors["images." + name] = images.numpy()
        tensors["pixels." + name] = pixels(images, columns)
        tensors["columns." + name] = np.array([columns], np.int32)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "expected")
    path = os.path.join(folder, "grid.safetensors")
    save_file(tensors, path)
    os.chmod(path, 0o644)


if __name__ == "__main__":
    main()
