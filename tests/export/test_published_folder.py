"""A published run: its card tells what is so, its code runs, and nothing of the user's machine is in it."""

import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from mscon.errors import UserError
from mscon.evaluate.evaluation import evaluate_run
from mscon.export import export_onnx, publish, sample_of
from mscon.export.card import model_card, public_source
from mscon.hub import escaped
from mscon.model import MSConModel
from mscon.run import Run
from shop import CLASSES, COLUMN


@pytest.fixture(scope="module")
def evaluated(shop_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("evaluated") / "shop"
    shutil.copytree(shop_run.folder, folder)
    run = Run.open(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSCON_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        evaluate_run(run)
    return run


@pytest.fixture(scope="module")
def published(evaluated: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out") / "deep" / "shoes"
    files = publish(evaluated, folder)
    assert [each.name for each in files] == sorted(path.name for path in folder.iterdir())
    return folder


@pytest.fixture(scope="module")
def card(published: Path) -> str:
    return (published / "README.md").read_text(encoding="utf-8")


def test_the_cards_code_runs_and_embeds_a_photo(
    card: str, published: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(published, tmp_path / "here")
    shutil.copy(shop.parent / "3.png", tmp_path / "here" / "photo.jpg")
    monkeypatch.chdir(tmp_path / "here")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    names: dict[str, torch.Tensor] = {}
    exec(compile(code, "README.md", "exec"), names)
    model = MSConModel.load(published / "model.safetensors")
    torch.testing.assert_close(names["embedding"], model.embed(names["images"]))
    assert set(names["projections"]) == {"colour", COLUMN, "price"}


def test_the_front_matter_holds_the_scores_of_the_evaluation(card: str, evaluated: Run) -> None:
    data = yaml.safe_load(card.split("---\n")[1])
    assert data["library_name"] == "mscon"
    assert data["pipeline_tag"] == "image-feature-extraction"
    assert "arxiv:2307.02712" in data["tags"]
    (entry,) = data["model-index"]
    (result,) = entry["results"]
    assert (entry["name"], result["dataset"]["name"], result["dataset"]["split"]) == ("shoes", "shop", "test")
    labels = json.loads((evaluated.folder / "evaluation.json").read_text())["labels"]
    scores = {each["name"].split(" of ", 1)[1]: each["value"] for each in result["metrics"]}
    assert scores == {name: pytest.approx(each["value"], abs=1e-4) for name, each in labels.items()}
    assert set(data["metrics"]) == {"accuracy", "r_squared"}


def test_the_tables_hold_the_scores_with_intervals_and_floors(card: str, evaluated: Run) -> None:
    labels = json.loads((evaluated.folder / "evaluation.json").read_text())["labels"]
    for name, each in labels.items():
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {escaped(name)} | ") and " to " in line)
        cells = [cell.strip().replace("−", "-") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert cells[1] == ("no" if name == "maker" else "yes")
        low, high = (float(end) for end in cells[4].split(" to "))
        assert (float(cells[3]), low, high) == pytest.approx((each["value"], each["low"], each["high"]), abs=6e-4)
        assert float(cells[5].split()[0]) == pytest.approx(max(f["value"] for f in each["floors"].values()), abs=6e-4)
        assert int(cells[6]) == each["n"]
    split = evaluated.items()
    assert split is not None
    assert f"{len(split)} items: {split.table['split'].eq('train').sum()} train" in card
    assert "| price | continuous | items near in value | 0.1 |" in card


def test_items_without_a_readable_image_are_counted_apart(evaluated: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(evaluated.folder, folder)
    run, items = Run.open(folder), evaluated.items()
    assert items is not None
    trained = items.table["split"].eq("train").arg_true()[:2].to_list()
    run.write_json("skipped.json", [{"row": row, "id": str(row), "reason": "truncated"} for row in trained])
    card = model_card(run, run.model(), name="x")
    readable = items.table["split"].eq("train").sum() - 2
    assert f"{len(items) - 2} items: {readable} train" in card
    assert "and 2 more whose images could not be read." in card


def test_names_of_the_user_are_text_and_never_markup(card: str) -> None:
    body = card.split("---\n", 2)[2]
    assert escaped(COLUMN) in body
    assert COLUMN not in body
    assert not re.search(r"(?<!\\)<b>|(?<!\\)\]\(http://evil", body)
    assert escaped("a\n# b") == r"a \# b"
    assert escaped("https://x www.y 1: z") == r"https\://x www\.y 1: z"


def test_nothing_of_the_machine_is_in_it(published: Path, shop: Path, evaluated: Run) -> None:
    private = [str(shop.parent.parent), str(evaluated.folder.parent), str(Path.home()) + "/", "sku-", "31.25", "maker-"]
    for path in published.iterdir():
        content = path.read_bytes()
        assert not [each for each in private if each.encode() in content], path.name
    assert all(name in (published / "labels.json").read_text() for name in CLASSES)
    assert public_source("s3://bucket/secret/shoes.parquet?X-Amz-Signature=a.b/c") == "shoes.parquet"
    assert public_source("/home/me/*/shoes/*.parquet") == "shoes"
    assert public_source("C:\\me\\shoes.csv") == "shoes.csv"


def test_a_published_folder_is_used_as_a_run(
    mscon, published: Path, shop: Path, evaluated: Run, tmp_path: Path
) -> None:
    assert mscon("embed", published, shop, "-o", "a.parquet")[0] == 0
    assert mscon("embed", evaluated.folder, shop, "-o", "b.parquet")[0] == 0
    assert pl.read_parquet("a.parquet").equals(pl.read_parquet("b.parquet"))
    again = Run.open(published)
    assert "noise" in sample_of(again).name, "the catalog's folder is not told"
    assert publish(again, tmp_path / "again")
    export_onnx(again.model(), tmp_path / "a.onnx", sample=sample_of(again), similarities=["colour"])


def test_nothing_is_written_into_a_published_folder(
    mscon, published: Path, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSCON_CACHE", str(tmp_path / "cache"))
    before = sorted(published.rglob("*"))
    assert mscon("search", published, "sku-3", "--catalog", shop)[0] == 0
    assert list((tmp_path / "cache" / "published").rglob("*.parquet"))
    for command in ("evaluate", "audit"):
        code, _, told = mscon(command, published)
        assert code == 2
        assert "is a published model, without the items that it learned from: name its run" in told
    assert sorted(published.rglob("*")) == before


def test_scores_of_an_earlier_model_are_left_out(evaluated: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(evaluated.folder, folder)
    found = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps(found | {"model": "another"}))
    publish(Run.open(folder), tmp_path / "out", repo="me/boots")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "model-index" not in card
    assert "Not measured" in card
    assert "# boots\n" in card
    assert 'from_pretrained("me/boots")' in card


def test_a_folder_that_holds_something_is_left_alone(shop_run: Run, tmp_path: Path) -> None:
    before = sorted(each.name for each in shop_run.folder.iterdir())
    with pytest.raises(UserError, match="is there already"):
        publish(shop_run, shop_run.folder)
    assert sorted(each.name for each in shop_run.folder.iterdir()) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is there already"):
        publish(shop_run, tmp_path / "file")
    with pytest.raises(UserError, match="cannot be made"):
        publish(shop_run, tmp_path / "file" / "below")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_the_command_writes_each_form(mscon, shop_run: Run) -> None:
    code, out, err = mscon("export", shop_run.folder, "-o", "shoes", "--format", "hub", "--repo", "me/shoes")
    assert code == 0, err
    assert "hf upload me/shoes shoes" in out
    code, out, _ = mscon("export", shop_run.folder, "-o", "deep/b.safetensors")
    assert code == 0
    assert "timm.create_model('test_resnet', num_classes=0, checkpoint_path='deep/b.safetensors')" in out
    code, out, _ = mscon("export", shop_run.folder, "-o", "s.pt2", "--head", COLUMN)
    assert code == 0
    assert f"z_{COLUMN}" in out
    assert "8 images of the run's catalog" in out
    assert sorted(path.name for path in Path().iterdir()) == ["deep", "s.pt2", "shoes"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "shoes"], "say what to write with --format onnx, torch, timm, hub"),
        (["-o", "shoes.bin", "--format", "onnx"], "format onnx is written as a file that ends in .onnx"),
        (["-o", "shoes.onnx", "--format", "hub"], "format hub is written as a folder"),
        (["-o", "b.safetensors", "--head", "colour"], "a file of format timm holds no single heads"),
        (["-o", "s.onnx", "--repo", "me/x"], "only a folder of format hub"),
        (["-o", "s.pt2", "--head", "color"], "Did you mean 'colour'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2_and_nothing_written(mscon, shop_run: Run, words: list[str], message: str) -> None:
    code, out, err = mscon("export", shop_run.folder, *words)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err
    assert list(Path().iterdir()) == []
