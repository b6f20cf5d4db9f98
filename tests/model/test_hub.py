"""Networks of the transformers library."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.networks import NetworkError, Segmenter, build
from model.networks.hub import HubNetwork
from model.optimizers import make_optimizer
from tests.model.network_contract import NetworkContract

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
