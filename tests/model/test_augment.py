from __future__ import annotations

import numpy as np
import pytest

from model.augment import Augmentation, draw_motion, recolour

_STILL = Augmentation(flip=0.0, scale=(1.0, 1.0), shift=0.0, rotation=0.0, colour=0.0)


def _change(
    image: np.ndarray, mask: np.ndarray, how: Augmentation, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    motion = draw_motion(mask.shape, how, rng)
    changed = recolour(motion.picture(image), how, rng)
    return changed, motion.map(mask, 255), motion.map(mask * 100 + 55, 0)


def _frame() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mask = np.zeros((30, 40), np.uint8)
    mask[5:15, 10:30] = 1
    mask[20:, :12] = 2
    image = rng.integers(0, 20, (30, 40, 3)).astype(np.uint8)
    image[mask == 1, 0] = 200
    image[mask == 2, 1] = 200
    return image, mask


def test_no_change_is_no_change() -> None:
    image, mask = _frame()
    changed, labels, weight = _change(image, mask, _STILL)
    assert np.array_equal(changed, image)
    assert np.array_equal(labels, mask)
    assert np.array_equal(weight, mask * 100 + 55)


def test_a_flip_is_an_exact_mirror() -> None:
    image, mask = _frame()
    how = Augmentation(flip=1.0, scale=(1.0, 1.0), shift=0.0, rotation=0.0, colour=0.0)
    changed, labels, _ = _change(image, mask, how)
    assert np.array_equal(changed, image[:, ::-1])
    assert np.array_equal(labels, mask[:, ::-1])


@pytest.mark.parametrize("seed", range(8))
def test_image_and_mask_change_alike(seed: int) -> None:
    image, mask = _frame()
    how = Augmentation(scale=(0.7, 1.5), shift=0.2, rotation=20.0, colour=0.0)
    changed, labels, weight = _change(image, mask, how, seed)
    told = np.where(changed[..., 0] > 110, 1, np.where(changed[..., 1] > 110, 2, 0))
    labelled = labels != 255
    assert (told == labels)[labelled].mean() > 0.95
    assert np.array_equal(weight, np.where(labelled, labels * 100 + 55, 0))


def test_what_comes_from_outside_is_not_labelled() -> None:
    image, mask = _frame()
    how = Augmentation(flip=0.0, scale=(0.5, 0.5), shift=0.0, rotation=0.0, colour=0.0)
    _, labels, weight = _change(image, mask, how)
    assert (labels[:5] == 255).all()
    assert not weight[:5].any()
    assert (labels[12:18, 15:25] != 255).all()


def test_chance_comes_from_the_generator_alone() -> None:
    image, mask = _frame()
    how = Augmentation()
    first, second, other = (_change(image, mask, how, seed) for seed in (3, 3, 4))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])
