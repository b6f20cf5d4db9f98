"""A small clip for the tests of expected quality and of spots."""

import cv2
import numpy as np

HEIGHT, WIDTH, FRAMES = 96, 128, 13


class Drifting:
    """Two textured squares (classes 1 and 2) that drift apart over a still background."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        noise = generator.integers(0, 256, (HEIGHT, 3 * WIDTH, 3), dtype=np.uint8)
        self._noise = cv2.GaussianBlur(noise, (0, 0), 1.5)

    def __len__(self) -> int:
        return FRAMES

    def _places(self, index: int):
        yield 1, slice(10, 44), slice(20 + 2 * index, 54 + 2 * index), (90, 0, 0)
        yield 2, slice(54, 88), slice(70 - 2 * index, 104 - 2 * index), (0, 0, 90)

    def read(self, index: int) -> np.ndarray:
        image = self._noise[:, :WIDTH] // 2
        for label, rows, columns, colour in self._places(index):
            texture = self._noise[:34, label * WIDTH : label * WIDTH + 34] // 2
            image[rows, columns] = texture + np.uint8(colour)
        return image

    def mask(self, index: int) -> np.ndarray:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, rows, columns, _ in self._places(index):
            mask[rows, columns] = label
        return mask

    def keys(self, *indices: int) -> dict[int, np.ndarray]:
        return {index: self.mask(index) for index in indices}
