"""The doors of what a training left: a run's folder, its checkpoints, a folder of weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from doors.house import House, or_told
from mutation import changed_bytes, changed_json, changed_tree

PAGES = ("evaluation.json", "metrics.jsonl", "ablation.json", "predictions.parquet")
"""Files that pages are drawn from, which takes some seconds."""

_JSON = ("labels.json", "evaluation.json")
_BINARY = ("model.safetensors", "split.parquet", "predictions.parquet")


def run_files(house: House) -> st.SearchStrategy[tuple[str, bytes]]:
    one = house.runs[0]

    def of_json(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        found = json.loads((one / name).read_text(encoding="utf-8"))
        return changed_json(found).map(lambda text: (name, text.encode("utf-8", "replace")))

    lines = [json.loads(line) for line in (one / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    logged = changed_tree(lines).map(_lines).map(lambda text: ("metrics.jsonl", text.encode("utf-8", "replace")))
    ablated = {
        "scores": {"style": {"metric": "accuracy", "value": 0.5}},
        "effects": [{"label": "style", "without": "kind", "metric": "accuracy", "value": 0.1, "low": 0.0, "high": 0.2}],
        "notes": ["n"],
        "warnings": ["w"],
    }
    ablation = changed_json(ablated).map(lambda text: ("ablation.json", text.encode("utf-8", "replace")))
    names = st.sampled_from([*_BINARY, "recipe.toml"])
    binary = names.flatmap(lambda name: changed_bytes((one / name).read_bytes()).map(lambda data: (name, data)))
    return st.one_of(*map(of_json, _JSON), logged, ablation, binary, _weights(one / "model.safetensors"))


def _lines(records: Any) -> str:
    return "".join(json.dumps(each) + "\n" for each in (records if isinstance(records, list) else [records]))


def _weights(path: Path) -> st.SearchStrategy[tuple[str, bytes]]:
    """A model's file whose description says something else, or whose weights are others."""
    from safetensors import safe_open
    from safetensors.numpy import save

    with safe_open(path, framework="numpy") as file:
        metadata, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    ((key, described),) = metadata.items()
    other = changed_json(json.loads(described)).map(lambda text: save(weights, {key: text}))

    def without(name: str, shape: tuple[int, ...] | None) -> bytes:
        rest = {each: value for each, value in weights.items() if each != name}
        return save(rest if shape is None else {**rest, name: np.zeros(shape, np.float32)}, metadata)

    shapes = st.none() | st.lists(st.integers(0, 9), max_size=4).map(tuple)
    broken = st.builds(without, st.sampled_from(sorted(weights)), shapes)
    return (other | broken).map(lambda data: ("model.safetensors", data))


def enter_run(house: House, given: tuple[str, bytes]) -> None:
    """What opening, comparing, exploring and publishing a run read of its folder."""
    from mscon.explore.tabs import TABS, tab_page
    from mscon.export.card import model_card
    from mscon.report.compare import compare_runs, write_comparison
    from mscon.run import Run

    with house.changed_run(dict([given])) as folder:
        run = Run.open(folder)
        or_told(run.items)
        model = or_told(run.model)
        if model is not None:
            import torch

            side = model.architecture.image_size or 16
            or_told(lambda: model.embed(torch.zeros(2, 3, min(side, 32), min(side, 32), dtype=torch.uint8)))
            or_told(lambda: model_card(run, model, name="x"))
        if given[0] not in PAGES:
            return
        for name in TABS:
            tab_page(run, house.space, name)
        found = compare_runs([folder, house.runs[1]])
        write_comparison(found, folder / "page.html")


USES = ("train", "evaluate", "audit", "embed")
_TRAINED = (
    *("recipe.toml", "model.safetensors", "split.parquet", "trained_on.parquet"),
    *("labels.json", "skipped.json", "metrics.jsonl"),
)


def used_files(house: House) -> st.SearchStrategy[tuple[str, str, bytes]]:
    """What is done with a run, and which of its files holds what."""
    one = house.runs[0]

    def changed(name: str) -> st.SearchStrategy[tuple[str, bytes]]:
        data = (one / name).read_bytes()
        if name.endswith(".json"):
            return changed_json(json.loads(data)).map(lambda text: (name, text.encode("utf-8", "replace")))
        return changed_bytes(data).map(lambda data: (name, data))

    files = st.sampled_from(_TRAINED).flatmap(changed) | _weights(one / "model.safetensors")
    return st.tuples(st.sampled_from(USES), files).map(lambda each: (each[0], *each[1]))


def enter_used(house: House, given: tuple[str, str, bytes]) -> None:
    """What goes on with a run, or works with its model and its items."""
    from mscon.data import Catalog
    from mscon.embed_catalog import embed_catalog
    from mscon.evaluate.audit_run import audit_run
    from mscon.evaluate.evaluation import evaluate_run
    from mscon.run import Run
    from mscon.train import train

    use, name, data = given
    with house.changed_run({name: data}) as folder:
        run = Run.open(folder)
        if run.recipe.training.model_dump(exclude={"seed"}) != house.training:
            return  # which is a recipe's door, and may ask for a training of days
        if use == "train":
            train(run.recipe, folder, resume=True)
        elif use == "evaluate":
            evaluate_run(run)
        elif use == "audit":
            audit_run(run)
        else:
            embed_catalog(run, Catalog.read(run.recipe.catalog.source), folder / "e.parquet")


def checkpoints(house: House) -> st.SearchStrategy[bytes]:
    path = max((house.runs[0] / "checkpoints").glob("*.safetensors"))
    return changed_bytes(path.read_bytes())


def enter_checkpoint(house: House, data: bytes) -> None:
    import torch

    from mscon.checkpoint import load_checkpoint
    from mscon.run import Run

    model = Run.open(house.runs[0]).model()
    with house.scratch() as folder:
        (folder / "step.safetensors").write_bytes(data)
        load_checkpoint(folder / "step.safetensors", {"model": model}, torch.optim.AdamW(model.parameters()))


def hub_configs(house: House) -> st.SearchStrategy[tuple[str, bytes]]:
    return _weights(house.runs[0] / "model.safetensors")


def enter_hub(house: House, given: tuple[str, bytes]) -> None:
    from mscon.model import MSConModel

    with house.scratch() as folder:
        (folder / given[0]).write_bytes(given[1])
        (folder / "config.json").write_text('{"backbone": "other"}', encoding="utf-8")
        MSConModel.from_pretrained(folder)
