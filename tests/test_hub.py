"""Models in folders and in the Hub's own cache, without a network."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelHubMixin
from torch import nn

from mscon.architecture import Architecture
from mscon.errors import UserError
from mscon.model import MSConModel, build_model

IMAGES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model() -> MSConModel:
    torch.manual_seed(0)
    return build_model("test_resnet", {"category": 8, "<b>closure": 8}, image_size=32).eval()


def same(one: MSConModel, other: MSConModel) -> None:
    assert one.architecture == other.architecture
    assert not one.training
    torch.testing.assert_close(one.embed(IMAGES), other.embed(IMAGES), rtol=0, atol=0)


def test_a_saved_folder_is_the_same_model(model: MSConModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m")
    assert sorted(each.name for each in (tmp_path / "m").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    same(MSConModel.from_pretrained(tmp_path / "m"), model)
    same(MSConModel.from_pretrained(str(tmp_path / "m"), local_files_only=True), model)
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert (config["backbone"], config["head_dims"]) == ("test_resnet", {"category": 8, "<b>closure": 8})


def test_the_card_of_a_model_without_its_run_runs(
    model: MSConModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    card = Path("README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["library_name"] == "mscon"
    assert r"\<b\>closure" in card
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["embedding"].shape == (1, model.architecture.embedding_dim)
    Path("README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert Path("README.md").read_text() == "mine", "a card that is there is kept"


def test_a_model_around_a_module_of_ones_own(tmp_path: Path) -> None:
    own = MSConModel(nn.Linear(7, 4), Architecture(backbone=None, embedding_dim=4, head_dims={"a": 2})).eval()
    own.save_pretrained(tmp_path)
    batch = torch.randn(2, 7)
    loaded = MSConModel.from_pretrained(tmp_path, encoder=nn.Linear(7, 4))
    torch.testing.assert_close(loaded.embed(batch), own.embed(batch))
    with pytest.raises(UserError, match="pass it as `encoder`"):
        MSConModel.from_pretrained(tmp_path)


def test_the_card_of_a_module_of_ones_own_names_what_its_reader_has_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = MSConModel(nn.Linear(7, 4), Architecture(backbone=None, embedding_dim=4, head_dims={"a": 2})).eval()
    own.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {"YourEncoder": lambda: nn.Linear(7, 4), "your_batch": torch.ones(1, 7)}
    exec(compile(code, "README.md", "exec"), names)
    torch.testing.assert_close(names["embedding"], own.embed(torch.ones(1, 7)))


def test_what_was_downloaded_before_is_found_by_its_revision(model: MSConModel, tmp_path: Path) -> None:
    cache = tmp_path / "models--me--shoes"  # as huggingface_hub lays it out
    model.save_pretrained(cache / "snapshots" / COMMIT)
    (cache / "refs").mkdir()
    (cache / "refs" / "v1").write_text(COMMIT)
    for revision in ("v1", COMMIT):
        found = MSConModel.from_pretrained("me/shoes", revision=revision, cache_dir=tmp_path, local_files_only=True)
        same(found, model)
    with pytest.raises(UserError, match=r"me/shoes: no such folder here.*downloaded before at revision 'v2'"):
        MSConModel.from_pretrained("me/shoes", revision="v2", cache_dir=tmp_path, local_files_only=True)


@pytest.mark.parametrize("name", ["/nowhere/at/all", "me/shoes", "a b"])
def test_what_is_nowhere_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder here.*Name a folder that holds model.safetensors"):
        MSConModel.from_pretrained(name, cache_dir=tmp_path, local_files_only=True)


def test_an_error_without_words_is_told_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any, **__: Any) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(ModelHubMixin, "from_pretrained", silent)
    with pytest.raises(UserError, match=r"on the Hub \(ConnectionResetError\)"):
        MSConModel.from_pretrained("me/shoes", cache_dir=tmp_path)


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model"):
        MSConModel.from_pretrained(tmp_path)


def test_what_is_pushed_is_what_is_saved(model: MSConModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Created:
        repo_id = "me/shoes"

    asked: dict[str, Any] = {}

    def upload(_: HfApi, *, folder_path: Path, **options: Any) -> str:
        shutil.copytree(folder_path, tmp_path / "uploaded")
        asked.update(options)
        return "done"

    monkeypatch.setattr(HfApi, "create_repo", lambda *_, **__: Created)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    assert model.push_to_hub("me/shoes", branch="v1", private=True) == "done"
    assert (asked["repo_id"], asked["revision"]) == ("me/shoes", "v1")
    same(MSConModel.from_pretrained(tmp_path / "uploaded"), model)
