from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from model.networks import (
    NETWORKS,
    NetworkError,
    Segmenter,
    build,
    class_rows,
    register_network,
    registry,
)
from model.networks.hub import HubNetwork
from model.optimizers import make_optimizer


class NetworkContract:
    """What every network must do; a test class inherits it and names its network."""

    name: str
    max_parameters: int | None = None
    left_to_learn: float = 0.3
    """Share of the loss that 30 steps on one image may leave."""

    @pytest.fixture
    def network(self) -> Segmenter:
        torch.manual_seed(0)
        return self.make(3)

    def make(self, num_classes: int) -> Segmenter:
        return build(self.name, num_classes)

    def test_tells_its_name_and_classes(self, network: Segmenter) -> None:
        assert network.name == self.name
        assert network.num_classes == 3

    @pytest.mark.parametrize("size", [(64, 96), (45, 61), (33, 32)])
    def test_logits_have_the_size_of_the_image(
        self, network: Segmenter, size: tuple[int, int]
    ) -> None:
        logits = network.eval().logits(torch.rand(2, 3, *size))
        assert logits.shape == (2, 3, *size)
        assert logits.dtype == torch.float32
        assert torch.isfinite(logits).all()

    def test_logits_and_features_are_those_of_each_alone(self, network: Segmenter) -> None:
        images = torch.rand(1, 3, 45, 61)
        with torch.no_grad():
            logits, features = network.eval().logits_and_features(images)
            torch.testing.assert_close(logits, network.logits(images))
            torch.testing.assert_close(features, network.features(images))

    def test_features_do_not_depend_on_the_classes(self, network: Segmenter) -> None:
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            before = network.eval().features(images)
            network.change_classes([0, None, 2, None])
            after = network.features(images)
        assert before.ndim == 4
        assert before.shape[0] == 2
        assert torch.equal(before, after)

    def test_an_image_is_scored_alike_alone_and_in_a_batch(self, network: Segmenter) -> None:
        images = torch.rand(3, 3, 48, 48)
        with torch.no_grad():
            together = network.eval().logits(images)
            alone = torch.cat([network.logits(image[None]) for image in images])
        assert torch.allclose(together, alone, atol=1e-4)

    def test_every_weight_learns(self, network: Segmenter) -> None:
        network.train()
        network.logits(torch.rand(2, 3, 64, 64)).square().mean().backward()
        without = [name for name, p in network.named_parameters() if p.grad is None]
        assert not without
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    def test_learns_one_image_by_heart(self, network: Segmenter) -> None:
        torch.manual_seed(1)
        image = torch.rand(1, 3, 32, 32) * 0.2
        image[:, 0, :, 16:] += 0.7
        labels = torch.zeros(1, 32, 32, dtype=torch.int64)
        labels[:, :, 16:] = 1
        network.train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
        losses = []
        for _ in range(30):
            loss = nn.functional.cross_entropy(network.logits(image), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < self.left_to_learn * losses[0]

    def test_classes_of_the_same_name_keep_what_they_learnt(self, network: Segmenter) -> None:
        images = torch.rand(1, 3, 48, 48)
        with torch.no_grad():
            before = network.eval().logits(images)
            network.change_classes(class_rows(["a", "b", "c"], ["c", "new", "a"]))
            after = network.logits(images)
        assert network.num_classes == 3
        assert torch.allclose(after[:, 0], before[:, 2], atol=1e-5)
        assert torch.allclose(after[:, 2], before[:, 0], atol=1e-5)
        assert not torch.allclose(after[:, 1], before[:, 1], atol=1e-5)

    @torch.no_grad()
    def test_scores_are_lowered_class_by_class_and_raised_again(self, network: Segmenter) -> None:
        images = torch.rand(1, 3, 48, 48)
        before = network.eval().logits(images)
        network.lower((0.5, 0.0, 0.25))
        network.lower((2.0, 0.0, -1.0))
        off = torch.tensor([2.0, 0.0, -1.0])[:, None, None]
        assert torch.allclose(network.logits(images), before - off, atol=1e-4)
        network.change_classes([2, None, 0])
        assert network.lowered == (-1.0, 0.0, 2.0)
        network.lower(())
        assert network.lowered == ()
        assert torch.allclose(network.logits(images)[:, [2, 0]], before[:, [0, 2]], atol=1e-4)

    def test_every_class_is_lowered_or_none(self, network: Segmenter) -> None:
        with pytest.raises(ValueError, match="2 values cannot lower 3 classes"):
            network.lower((1.0, 2.0))

    @pytest.mark.parametrize("rows", [[], [3], [-1, 0]])
    def test_refuses_classes_it_does_not_have(
        self, network: Segmenter, rows: list[int | None]
    ) -> None:
        with pytest.raises(ValueError, match="class"):
            network.change_classes(rows)

    def test_can_be_built_again_from_its_options(self, network: Segmenter) -> None:
        other = build(network.name, network.num_classes, **dict(network.options()))
        other.load_state_dict(network.state_dict())
        images = torch.rand(1, 3, 40, 56)
        with torch.no_grad():
            assert torch.equal(network.eval().logits(images), other.eval().logits(images))

    def test_is_the_same_for_the_same_seed(self, network: Segmenter) -> None:
        torch.manual_seed(0)
        again = self.make(3)
        for first, second in zip(network.parameters(), again.parameters(), strict=True):
            assert torch.equal(first, second)

    def test_is_small_enough(self, network: Segmenter) -> None:
        if self.max_parameters is not None:
            assert sum(p.numel() for p in network.parameters()) <= self.max_parameters

    def test_has_no_batch_statistics(self, network: Segmenter) -> None:
        """Batches of one or two frames are too small for them."""
        if self.name == "compact":
            assert not any(
                isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules()
            )


class TestCompact(NetworkContract):
    name = "compact"
    max_parameters = 3_000_000

    def test_one_pixel_is_an_image(self, network: Segmenter) -> None:
        assert network.eval().logits(torch.rand(1, 3, 1, 1)).shape == (1, 3, 1, 1)

    @pytest.mark.parametrize("widths", [(8, 16, 24), (8, 16, 24, 30), (0, 8, 8, 8)])
    def test_refuses_widths_that_do_not_fit(self, widths: Sequence[int]) -> None:
        with pytest.raises(ValueError, match="widths must be four multiples of 8"):
            build("compact", 2, widths=widths)


_MODELS = {
    "segformer": (
        "Segformer",
        {
            "depths": [1, 1, 1, 1],
            "hidden_sizes": [8, 16, 24, 32],
            "num_attention_heads": [1, 1, 2, 2],
            "decoder_hidden_size": 16,
        },
    ),
    "mobilevit": (
        "MobileViT",
        {
            "hidden_sizes": [16, 24, 32],
            "neck_hidden_sizes": [8, 8, 12, 16, 16, 24, 32],
            "aspp_out_channels": 16,
        },
    ),
    "upernet": ("UperNet", {"hidden_size": 16, "auxiliary_in_channels": 16}),
}
_LABELS = ("wall", "Tree", "traffic_light", "sky", "road")


def _save_model(kind: str, folder: Path) -> None:
    """Save a small checkpoint as the hub has them, with random weights and five labels."""
    transformers = pytest.importorskip("transformers")
    name, shape = _MODELS[kind]
    if kind == "upernet":
        shape = {
            **shape,
            "backbone_config": transformers.ConvNextConfig(
                depths=[1, 1, 1, 1],
                hidden_sizes=[8, 8, 16, 16],
                out_features=["stage1", "stage2", "stage3", "stage4"],
            ),
        }
    config = getattr(transformers, f"{name}Config")(
        **shape, id2label=dict(enumerate(_LABELS)), label2id={n: i for i, n in enumerate(_LABELS)}
    )
    torch.manual_seed(0)
    getattr(transformers, f"{name}ForSemanticSegmentation")(config).save_pretrained(folder)


class HubContract(NetworkContract):
    """A transformers checkpoint from a folder is a network like any other."""

    kind: str
    # Random weights behind normalisation that never saw them learn slowly.
    left_to_learn = 0.97

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        _save_model(self.kind, tmp_path)
        self.name = f"hub:{tmp_path}"

    def test_labels_of_the_same_name_keep_their_rows(self) -> None:
        names = ["sky", "car", "tree", "Traffic Light"]
        before = build(self.name, 5, class_names=_LABELS).eval()
        after = build(self.name, 4, class_names=names).eval()
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            old, new = before.logits(images), after.logits(images)
        for place, row in ((0, 3), (2, 1), (3, 2)):
            assert torch.allclose(new[:, place], old[:, row], atol=1e-5)

    def test_can_be_built_again_without_the_folder(self, network: Segmenter) -> None:
        other = build("hub:gone", 3, **dict(network.options()))
        other.load_state_dict(network.state_dict())
        images = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(network.eval().logits(images), other.eval().logits(images))

    def test_statistics_stay_as_they_were_learnt(self, network: Segmenter) -> None:
        before = {name: value.clone() for name, value in network.named_buffers()}
        network.train().logits(torch.rand(2, 3, 64, 64))
        for name, value in network.named_buffers():
            assert torch.equal(value, before[name])

    def test_muon_steps_aside(self, network: Segmenter) -> None:
        optimizer = make_optimizer("muon", network, 0.03, 0.0)
        assert isinstance(optimizer, torch.optim.AdamW)
        assert [group["share"] for group in optimizer.param_groups] == [0.01, 0.1]


class TestSegformer(HubContract):
    kind = "segformer"


class TestMobileViT(HubContract):
    kind = "mobilevit"


class TestUperNet(HubContract):
    kind = "upernet"


def _prepared(folder: Path, said: dict[str, Any] | None, images: torch.Tensor) -> torch.Tensor:
    """What a checkpoint's model is given."""
    if said is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(said))
    network = build(f"hub:{folder}", 3)
    assert isinstance(network, HubNetwork)
    again = build("hub:gone", 3, **json.loads(json.dumps(dict(network.options()))))
    assert isinstance(again, HubNetwork)
    assert torch.equal(again._prepare(images), network._prepare(images))
    return network._prepare(images)


class TestPixels:
    """A checkpoint sees pixels as it saw them when it was trained."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        _save_model("segformer", tmp_path)
        return tmp_path

    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def test_as_for_imagenet_where_it_does_not_say(self, folder: Path) -> None:
        red = (self.images[:, 0] - 0.485) / 0.229
        assert torch.allclose(_prepared(folder, None, self.images)[:, 0], red)

    def test_its_own_mean_and_deviation(self, folder: Path) -> None:
        said = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.2, 0.1]}
        blue = (self.images[:, 2] - 0.3) / 0.1
        assert torch.allclose(_prepared(folder, said, self.images)[:, 2], blue, atol=1e-5)

    def test_blue_first_and_not_normalised_as_mobilevit_does(self, folder: Path) -> None:
        said = {"do_normalize": False, "do_flip_channel_order": True, "do_rescale": True}
        assert torch.allclose(_prepared(folder, said, self.images), self.images.flip(1))

    def test_values_up_to_255_where_it_does_not_rescale(self, folder: Path) -> None:
        said = {"do_rescale": False, "image_mean": [104.0] * 3, "image_std": [2.0] * 3}
        expected = (self.images * 255 - 104) / 2
        assert torch.allclose(_prepared(folder, said, self.images), expected, atol=1e-3)

    def test_other_factors(self, folder: Path) -> None:
        said = {"rescale_factor": 1 / 127.5, "image_mean": 1.0, "image_std": 1.0}
        expected = self.images * 2 - 1
        assert torch.allclose(_prepared(folder, said, self.images), expected, atol=1e-5)

    @pytest.mark.parametrize("mean", ["grey", [0.5, 0.5], None])
    def test_what_is_no_mean_is_refused_with_the_file_s_name(self, folder: Path, mean: Any) -> None:
        (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": mean}))
        with pytest.raises(NetworkError, match=r"preprocessor_config\.json"):
            build(f"hub:{folder}", 3)


class TestHub:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def test_a_missing_library_is_named_with_what_installs_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(NetworkError, match=r"pip install 'maskloop\[hub\]'"):
            build("hub:some/model", 2)

    def test_an_empty_name_is_refused(self) -> None:
        pytest.importorskip("transformers")
        with pytest.raises(NetworkError, match="hub: needs a name or a folder"):
            build("hub:", 2)

    def test_what_cannot_be_had_is_said_in_one_line(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        with pytest.raises(NetworkError, match=r"could not be loaded .*; check the name") as error:
            build(f"hub:{tmp_path / 'nothing'}", 2)
        assert "\n" not in str(error.value)

    def test_a_model_that_does_not_segment_is_refused(self, tmp_path: Path) -> None:
        pytest.importorskip("transformers")
        (tmp_path / "config.json").write_text('{"model_type": "bert"}')
        with pytest.raises(NetworkError, match="could not be loaded"):
            build(f"hub:{tmp_path}", 2)


class _Flat(Segmenter):
    """Scores each pixel by its colour alone."""

    name = "flat"

    def __init__(self, num_classes: int, variant: str = "", **options: Any) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.variant = variant
        self.head = nn.Conv2d(3, num_classes, 1)

    def logits(self, images: Tensor) -> Tensor:
        out: Tensor = self.head(images)
        return out

    def features(self, images: Tensor) -> Tensor:
        return images

    def classifiers(self) -> Sequence[tuple[nn.Module, str]]:
        return [(self, "head")]


class TestRegistry:
    @pytest.fixture(autouse=True)
    def own_networks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(registry, "NETWORKS", NETWORKS.copy())

    def test_a_registered_network_is_built_by_its_name(self) -> None:
        register_network("flat", _Flat)
        assert isinstance(build("flat", 2), _Flat)

    def test_what_follows_a_colon_is_the_variant(self) -> None:
        register_network("flat", _Flat)
        network = build("flat:a:b", 2)
        assert isinstance(network, _Flat)
        assert network.variant == "a:b"
        assert network.name == "flat:a:b"

    def test_an_installed_package_can_offer_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Point:
            name = "theirs"

            def load(self) -> type[_Flat]:
                return _Flat

        def entry_points(group: str) -> list[Point]:
            return [Point()] if group == "maskloop.networks" else []

        monkeypatch.setattr(registry, "entry_points", entry_points)
        assert isinstance(build("theirs", 4), _Flat)

    def test_an_unknown_name_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(NetworkError, match=r"'resnet'; the networks are .*compact"):
            build("resnet", 2)

    @pytest.mark.parametrize("name", ["compact", "a:b", ""])
    def test_a_name_that_is_taken_or_no_name_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="name"):
            register_network(name, _Flat)

    @pytest.mark.parametrize("num_classes", [0, -1])
    def test_no_class_is_refused(self, num_classes: int) -> None:
        with pytest.raises(NetworkError, match="at least one class"):
            build("compact", num_classes)

    def test_an_option_that_it_does_not_know_is_refused(self) -> None:
        with pytest.raises(NetworkError, match="depth"):
            build("compact", 2, depth=3)


def test_class_rows_match_by_name() -> None:
    assert class_rows(["a", "b"], ["b", "c", "a"]) == [1, None, 0]
