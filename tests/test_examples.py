"""Every program in examples/ runs as a reader would run it, and what it trained knows more than what it began with."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import timm
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytest.importorskip("sklearn", reason="scikit-learn, which scores what most examples train, is not installed")

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = ("--backbone", "test_resnet", "--size", "32")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Runs an example in an empty folder: what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(example: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [example, *map(str, words)])
        with torch.random.fork_rng():
            runpy.run_path(str(EXAMPLES / example), run_name="__main__")
        return capsys.readouterr().out

    return run


def table(said: str) -> dict[str, tuple[float, float]]:
    """The last lines of an example, name → score before and after."""
    rows = re.findall(r"^(\S.*?) +(-?\d\.\d\d) +(-?\d\.\d\d)$", said, re.M)
    assert rows
    return {name: (float(before), float(after)) for name, before, after in rows}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, letters: Path) -> Path:
    """Pictures of five letters, in folders by character and weight; one of each glyph's drawings."""
    folder = tmp_path_factory.mktemp("photos")
    glyphs = pl.read_parquet(letters).unique("group", keep="first", maintain_order=True)
    for number, glyph in enumerate(glyphs.iter_rows(named=True)):
        path = folder / glyph["character"] / glyph["weight"] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(glyph["image"])
    return folder


def test_image_folders(run, photos: Path) -> None:
    found = table(run("image_folders.py", photos, *SMALL, "--epochs", 12))
    assert found.keys() == {"character", "weight"}
    assert found["character"][1] > found["character"][0] + 0.2
    assert sum(after for _, after in found.values()) > sum(before for before, _ in found.values())


def test_folders_of_another_depth_are_told(run, photos: Path) -> None:
    with pytest.raises(SystemExit, match="has to lie 3 folders deep"):
        run("image_folders.py", photos, "--labels", "character", "weight", "slant")


def test_table_of_numbers(run) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    found = table(run("table_of_numbers.py", "--epochs", 25))
    assert found.keys() == {"diagnosis", "worst area"}
    assert all(after > before for before, after in found.values())


def test_table_of_numbers_of_ones_own_with_gaps(run, tmp_path: Path) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    x, noise = torch.randn(2, 200, 3, generator=torch.Generator().manual_seed(0)).unbind()
    maker = [("one" if float(a) > 0 else "two") if k % 7 else None for k, a in enumerate(x[:, 0])]
    price = [float(a) if k % 5 else None for k, a in enumerate(x[:, 1] + 0.1 * noise[:, 0])]
    inputs = {f"x{k}": [float(a) if row % 11 else None for row, a in enumerate(x[:, k])] for k in range(3)}
    pl.DataFrame({**inputs, "maker": maker, "price": price, "text": ["-"] * 200}).write_csv(tmp_path / "cars.csv")
    found = table(run("table_of_numbers.py", "cars.csv", "--category", "maker", "--number", "price", "--epochs", 30))
    assert found["maker"][1] > 0.8
    assert found["price"][1] > 0.6


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The package; tables that `datasets` reads are kept with the test, not in the user's cache."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    return pytest.importorskip("transformers", reason="transformers is not installed")


def test_text_from_scratch(run, transformers: Any) -> None:
    found = table(run("text.py", "--from-scratch", "--epochs", 12))
    assert found.keys() == {"topic", "tone"}
    assert all(after > before for before, after in found.values())


def test_text_with_a_model_in_a_folder(run, transformers: Any, tmp_path: Path) -> None:
    """The model's own words and weights are taken, from files as the Hub has them, and a table that is JSON."""
    sentences = pl.read_csv(EXAMPLES / "tickets.csv")
    words = sorted(set(re.findall(r"\w+|[^\w\s]", " ".join(sentences["text"]).lower())))
    model = tmp_path / "model"
    model.mkdir()
    (model / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    (model / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(vocab_size=len(words) + 5, **shape)
        transformers.BertModel(config).save_pretrained(model)
    (tmp_path / "reviews.json").write_text(
        "\n".join(json.dumps({"review": each["text"], "about": each["topic"]}) for each in sentences.to_dicts())
    )
    own = ("reviews.json", "--text", "review", "--labels", "about", "--model", model)
    (before, untouched), *_ = table(run("text.py", *own, "--epochs", 0)).values()
    (again, after), *_ = table(run("text.py", *own, "--epochs", 15, "--lr", 1e-3)).values()
    assert before == untouched == again
    assert after > before


def test_metric_learning_sampler(run, letters: Path) -> None:
    pytest.importorskip("pytorch_metric_learning", reason="pytorch-metric-learning is not installed")
    found = table(run("metric_learning_sampler.py", letters, *SMALL, "--epochs", 8))
    assert len(found) == 4
    assert all(after > before for before, after in found.values())


def test_frozen_stages(run, letters: Path) -> None:
    said = run("frozen_stages.py", letters, *SMALL, "--epochs", 12, "--lr", 2e-3, "--freeze", "conv1", "bn1")
    backbone = timm.create_model("test_resnet", num_classes=0)
    count = {name: sum(each.numel() for each in part.parameters()) for name, part in backbone.named_children()}
    moving = sum(count.values()) - count["conv1"] - count["bn1"]
    assert f"{moving:,} of {sum(count.values()):,} weights of the encoder are trained" in said
    found = table(said)
    assert found["character"][1] > found["character"][0]


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of torch and of loaders without workers
def test_lightning_module(run, letters: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning", reason="pytorch-lightning is not installed")
    found = table(run("lightning_module.py", letters, *SMALL, "--epochs", 8))
    assert found["character"][1] > found["character"][0]
    logged = EventAccumulator(str(next(tmp_path.rglob("events.*")).parent)).Reload().Tags()["scalars"]
    terms = ("loss_step", "relative_excess", "weight")
    assert {f"{name}/{term}" for name in ("character", "weight") for term in terms} <= set(logged)
    (checkpoint,) = tmp_path.rglob("*.ckpt")
    kept = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert float(kept["loss_fn.weighting.held_out_items"].sum()) > 0.0  # what the weighting has seen


def test_two_processes_train_what_one_does(run, letters: Path, tmp_path: Path) -> None:
    words = [str(letters), *SMALL, "--epochs", "3", "--batch-size", "64"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, str(EXAMPLES / "two_gpus.py"), *words]
    by_two = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=240)
    assert by_two.returncode == 0, by_two.stderr
    by_one = run("two_gpus.py", *words)
    one, two = ([float(loss) for loss in re.findall(r"loss (\d+\.\d+)", said)] for said in (by_one, by_two.stdout))
    assert len(one) == 3
    assert two == pytest.approx(one, rel=1e-3)
    assert one[-1] < one[0]
    assert table(by_one).keys() == table(by_two.stdout).keys() == {"character", "weight"}


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_is_run_here_and_listed(example: Path) -> None:
    assert f'"{example.name}"' in Path(__file__).read_text(encoding="utf-8")
    assert f"]({example.name})" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
    lines = example.read_text(encoding="utf-8").splitlines()
    assert f"python examples/{example.name} " in "\n".join(lines), "its head says how to run it"
    assert len(lines) <= 120, "short enough to be read from top to bottom"
