"""Commands around one run: look at a catalog, train, evaluate, ablate, audit, embed; and all of it on embedded data."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mscon.cli.shared import Image, Ood, Settings, Similarities, goes_on, progress_bar, say, say_skipped, torchrun
from mscon.console import terminal
from mscon.errors import UserError


def inspect(
    catalog: str, *, similarity: Similarities = None, ood: Ood = None, image: Image = None, set_: Settings = None
) -> None:
    """Show what is in the labels: counts, gaps, redundancy, and what a training batch will hold.

        mscon inspect shoes.parquet --similarity category --similarity closure
        mscon inspect shoes.parquet --similarity category --ood brand

    Parameters
    ----------
    catalog
        A table of images and labels, or a recipe.toml.
    """
    from mscon.command_line import recipe_of

    recipe = recipe_of(catalog, similarity, ood, image, set_)

    from mscon.inspection import inspect as look  # which takes seconds: what is misspelled is told before
    from mscon.inspection import show
    from mscon.prepare import prepare

    console = terminal()
    with progress_bar("decoding images") as progress:
        data = prepare(recipe, look=True, progress=progress)
    show(look(recipe, data), console)


def train(
    catalog: str,
    *,
    similarity: Similarities = None,
    ood: Ood = None,
    image: Image = None,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    set_: Settings = None,
) -> None:
    """Train an encoder with one projection head per similarity, and keep everything in a run folder.

    Ctrl-C, SIGTERM and SIGUSR1 end it after the current step with a checkpoint. A recipe or table with --out and
    --resume goes on with the run in that folder, or begins it: one command for the first time and for every other. The
    recipe that the run writes into its folder names every value that `--set` can change.

        mscon train shoes.parquet --similarity category --similarity closure
        mscon train shoes.parquet --similarity price:continuous --ood brand
        mscon train shoes.parquet --similarity category --similarity instance
        mscon train shoes.parquet --similarity category -s training.epochs=60
        mscon train recipe.toml -s objective.weighting=equal -s image.size=32
        mscon train runs/shoes --resume
        torchrun --nproc-per-node=4 --max-restarts=3 -m mscon train recipe.toml --out runs/shoes --resume

    Parameters
    ----------
    catalog
        A table of images and labels, a recipe.toml, or with --resume a run's folder.
    out
        The run's folder; runs/NAME of the catalog when left out.
    resume
        Go on from the last checkpoint of the run; with --out, begin where there is none.
    """
    from mscon.command_line import recipe_of
    from mscon.run import Run

    if resume:
        folder = out if out is not None else Path(catalog)
        if out is None and (similarity or ood or image or set_):
            raise UserError("a resumed run keeps its recipe: leave out --similarity, --ood, --image and --set")
        recipe = recipe_of(catalog, similarity, ood, image, set_) if out is not None else Run.open(folder).recipe
    else:
        recipe = recipe_of(catalog, similarity, ood, image, set_)
        folder = out if out is not None else _free_folder(recipe.catalog.source)

    from mscon.display import TerminalDisplay  # which takes seconds: what is misspelled is told before
    from mscon.train import train as run_training

    console = terminal(quiet=torchrun("RANK", 0) > 0)
    with TerminalDisplay(console) as display:
        run = run_training(recipe, folder, resume=resume, display=display)
    say(console, f"trained: {run.model_path}\nnow: mscon evaluate {run.folder}")


def evaluate(run: Path, *, paper_probe: bool = False) -> None:
    """Probe a run's embedding on every label, beside three floors, and write evaluation.json and report.html.

    Linear probes on the frozen embedding: logistic regression for categories, ridge for numbers, their strength
    chosen on validation, scores on test with 95% bootstrap intervals. The floors are the same probes on an untrained
    encoder, on plain pixels, and on a thumbnail with a gradient histogram. Beside them: retrieval among the test items,
    diagnostics, and predictions.parquet, by which `mscon compare` puts runs side by side item by item.

        mscon evaluate runs/shoes
        mscon evaluate runs/shoes --paper-probe

    Parameters
    ----------
    run
        The run's folder.
    paper_probe
        Also probe categories as the first author's precursor code does: 10 epochs of SGD on augmented images, the best
        on validation. For scores to be put beside the paper's; takes as long as ten more passes over the images.
    """
    from mscon.evaluate.evaluation import evaluate_run
    from mscon.evaluate.show import show
    from mscon.report import write_report
    from mscon.run import Run

    opened = Run.open(run)
    with progress_bar("probing") as progress:
        found = evaluate_run(opened, paper_probe=paper_probe, progress=progress)
    page = write_report(opened, found.data, found.embeddings, found.evaluation)
    console = terminal()
    show(found.evaluation, console)
    say(console, f"report: {page}")


def ablate(run: Path) -> None:
    """Train a run's recipe again without each of its similarities in turn, and show what each adds to every label.

    The trainings go into runs/shoes-without-NAME, one after the other. After Ctrl-C the same command goes on where it
    was; what is done is not done again. The table is written to ablation.json in the run's folder.

        mscon ablate runs/shoes

    Parameters
    ----------
    run
        The run's folder.
    """
    from mscon.ablation import compare, notes, show, train_without_each
    from mscon.display import TerminalDisplay
    from mscon.run import Run

    console = terminal()
    opened = Run.open(run)
    for note in notes(opened.recipe):
        say(console, note)
    with goes_on():
        without = train_without_each(opened, display=lambda: TerminalDisplay(console))
    with progress_bar("probing") as progress:
        found = compare(opened, without, progress=progress)
    show(found, console)


def audit(run: Path) -> None:
    """List the items whose label disagrees with what the other items say, and write audit.parquet and audit.html.

    Every label of the run's similarities is judged by a probe that was fitted on other items: never on the item
    itself, nor on its near-duplicates. The higher the score, the less likely the label; the suggestion is what the
    others say. A high score is a reason to look, not a verdict.

        mscon audit runs/shoes

    Parameters
    ----------
    run
        The run's folder.
    """
    from mscon.evaluate.audit_run import audit_run, show
    from mscon.report.audit import write_audit
    from mscon.run import Run

    opened = Run.open(run)
    with progress_bar("auditing labels") as progress:
        found = audit_run(opened, progress=progress)
    page = write_audit(opened, found)
    console = terminal()
    show(found, found.data.catalog.ids(opened.recipe.catalog.id), console)
    say(console, f"all scores: {opened.folder / 'audit.parquet'}\nto look at: {page}")


def embed(
    run: Path,
    catalog: str,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    image: Image = None,
    id: str | None = None,
    half: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Write the shared embedding and one vector per similarity of every image in a catalog, as Parquet.

    Columns: id, embedding, and z_NAME of unit length per similarity; of a run with objective.item_uncertainty also
    uncertainty_NAME: 0, plain to see; 1, as good as chance; above 1, a head that is too sure of itself. The catalog
    needs no labels. Rows whose image cannot be read are listed in NAME.skipped.csv beside the file.

    What is stopped goes on where it was when the same command is given again. Several of them at once, by torchrun or
    on machines that share the folder, share the work.

        mscon embed runs/shoes new_arrivals.csv -o vectors.parquet
        torchrun --nproc-per-node 4 -m mscon embed runs/shoes all.csv -o all.parquet

    Parameters
    ----------
    run
        The run's folder.
    catalog
        Any catalog with an image column.
    out
        The Parquet file to write.
    id
        The column that names an item, where it cannot be found by name.
    half
        Write float16 in place of float32: half the size.
    """
    from mscon.data import Catalog
    from mscon.embed_catalog import embed_catalog
    from mscon.run import Run

    first = torchrun("RANK", 0) == 0  # of the processes that torchrun started, the one that speaks
    opened, items = Run.open(run), Catalog.read(catalog, image=image)

    def waits(shards: int) -> None:
        say(
            terminal(stderr=True),
            f"waiting for {shards} shards that other processes have in hand: one that was stopped keeps them until it"
            " goes on or ends",
        )

    with progress_bar("embedding images", shown=first) as progress:
        found = embed_catalog(opened, items, out, id=id, half=half, progress=progress, waits=waits)
    if not first:
        return
    console = terminal()
    say(console, f"{found.rows:,} rows × {len(found.columns)} columns: {out}")
    say_skipped(console, found.skipped, listed_in=found.skipped_path)


def demo(*, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None) -> None:
    """Inspect, train, evaluate and report on letters drawn from real typefaces: about two minutes, nothing downloaded.

    Four similarities are trained (character, style, weight, slant); typeface and ink are kept for probing.

        mscon demo

    Parameters
    ----------
    out
        The run's folder; runs/glyphs when left out.
    """
    from mscon.demo import demo as run_demo

    run_demo(out if out is not None else _free_folder("glyphs"), terminal())


def _free_folder(source: str) -> Path:
    """runs/NAME, or runs/NAME-2, -3, … when that is taken."""
    plain = [part for part in Path(source).parts if not set(part) & set("*?[")]
    name = Path(plain[-1]).stem if plain else "run"
    taken = Path("runs") / name
    number = 2
    while taken.exists():
        taken = Path("runs") / f"{name}-{number}"
        number += 1
    return taken
