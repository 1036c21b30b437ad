"""The main job, whole, on the embedded catalog: inspect, train, evaluate, report."""

from pathlib import Path

from rich.console import Console

from mscon.display import TerminalDisplay
from mscon.evaluate.evaluation import evaluate_run
from mscon.evaluate.show import show as show_evaluation
from mscon.inspection import inspect
from mscon.inspection import show as show_inspection
from mscon.prepare import prepare
from mscon.recipe import Recipe
from mscon.report import write_report
from mscon.train import train

RECIPE = {
    "catalog": {"source": "glyphs", "ood": ["typeface", "ink"]},
    "similarities": {"character": {}, "style": {}, "weight": {}, "slant": {}},
    "image": {"size": 32},
    # A mirrored letter is another letter, or none; a much smaller crop turns O into o.
    "views": {"flip": 0.0, "scale": [0.8, 1.0]},
    "model": {"stages": [{"stage": -3, "grid": 2}, {"stage": -2, "grid": 2}, {"stage": -1, "grid": 1}]},
    "training": {"epochs": 12},
}
"""Small images, a narrower embedding and few epochs, to be done in two minutes; everything else is the default."""


def demo(folder: Path, console: Console) -> Path:
    """Run it all, saying on the console what is done and found.

    **Returns:** the report's path. **Raises** what `train` and `evaluate_run` raise.
    """
    recipe = Recipe.of(RECIPE)
    console.rule("what is in the labels", align="left")
    show_inspection(inspect(recipe, prepare(recipe)), console)
    console.rule("training", align="left")
    with TerminalDisplay(console) as display:
        run = train(recipe, folder, display=display)
    console.rule("what the embedding is worth", align="left")
    found = evaluate_run(run)
    page = write_report(run, found.data, found.embeddings, found.evaluation)
    show_evaluation(found.evaluation, console)
    console.print(f"report: {page}", markup=False, emoji=False, highlight=False, soft_wrap=True)
    return page
