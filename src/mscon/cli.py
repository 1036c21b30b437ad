"""The command line: every command a thin call into one function of the package.

The package's own modules are imported inside the commands, so that help answers at once.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from mscon import __version__
from mscon.errors import ToldElsewhere, UserError

USER_ERROR, INTERRUPTED = 2, 130

app = App(
    name="mscon",
    version=f"mscon {__version__}",
    help="""Learn one embedding from several notions of similarity, and see what it is worth.

    A catalog is any table with an image column and label columns: CSV, Parquet, a folder with metadata.csv, a saved
    Hugging Face dataset, or `glyphs`, which is built in. Start with

        mscon demo

        mscon inspect shoes.parquet --similarity category --similarity closure

        mscon train shoes.parquet --similarity category --similarity closure --ood brand

        mscon evaluate runs/shoes
    """,
    help_format="markdown",
    default_parameter=Parameter(negative=""),
    error_formatter=lambda error: f"[bold red]error:[/bold red] {error}",
)

Similarities = Annotated[
    list[str] | None,
    Parameter(
        name="--similarity",
        negative="",
        help="A label column to learn from; NAME or NAME:KIND, the kind being categorical, continuous, tags, hierarchy,"
        " rank_n_contrast, pairs or instance. Repeat it.",
    ),
]
Ood = Annotated[
    list[str] | None,
    Parameter(name="--ood", negative="", help="A label column that is never trained on, only probed. Repeat it."),
]
Settings = Annotated[
    list[str] | None,
    Parameter(name=["--set", "-s"], negative="", help="Any recipe value, such as training.epochs=5. Repeat it."),
]
Image = Annotated[str | None, Parameter(help="The image column, where it cannot be found by name.")]


@app.command
def inspect(
    catalog: str, *, similarity: Similarities = None, ood: Ood = None, image: Image = None, set_: Settings = None
) -> None:
    """Show what is in the labels: counts, gaps, redundancy, and what a training batch will hold.

        mscon inspect shoes.parquet --similarity category --similarity closure --ood brand

    Parameters
    ----------
    catalog
        A table of images and labels, or a recipe.toml.
    """
    from mscon.described import described
    from mscon.inspection import inspect as look
    from mscon.inspection import show
    from mscon.prepare import prepare

    recipe = described(catalog, similarity, ood, image, set_)
    console = Console()
    with _progress("decoding images") as progress:
        data = prepare(recipe, progress=progress)
    show(look(recipe, data), console)


@app.command
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

        mscon train shoes.parquet --similarity category --similarity closure --ood brand

        mscon train shoes.parquet --similarity category -s training.epochs=60 -s objective.weighting=equal

        mscon train shoes.parquet --similarity category --similarity price:continuous --similarity instance

        mscon train recipe.toml

        mscon train runs/shoes --resume

        torchrun --nproc-per-node=4 -m mscon train recipe.toml

    Ctrl-C ends it after the current step with a checkpoint. The recipe that the run writes into its folder names
    every value that `--set` can change.

    Parameters
    ----------
    catalog
        A table of images and labels, a recipe.toml, or with --resume a run's folder.
    out
        The run's folder; runs/NAME of the catalog when left out.
    resume
        Go on from the last checkpoint of the run.
    """
    from mscon.described import described
    from mscon.display import TerminalDisplay
    from mscon.run import Run
    from mscon.train import train as run_training

    if resume:
        folder = out if out is not None else Path(catalog)
        if out is None and (similarity or ood or image or set_):
            raise UserError("a resumed run keeps its recipe: leave out --similarity, --ood, --image and --set")
        recipe = described(catalog, similarity, ood, image, set_) if out is not None else Run.open(folder).recipe
    else:
        recipe = described(catalog, similarity, ood, image, set_)
        folder = out if out is not None else _free_folder(recipe.catalog.source)
    console = Console(quiet=_torchrun("RANK", 0) > 0)
    with TerminalDisplay(console) as display:
        run = run_training(recipe, folder, resume=resume, display=display)
    _say(console, f"trained: {run.model_path}\nnow: mscon evaluate {run.folder}")


@app.command
def evaluate(run: Path, *, paper_probe: bool = False) -> None:
    """Probe a run's embedding on every label, beside three floors, and write evaluation.json and report.html.

        mscon evaluate runs/shoes

        mscon evaluate runs/shoes --paper-probe

    Linear probes on the frozen embedding: logistic regression for categories, ridge for numbers, their strength
    chosen on validation, scores on test with 95% bootstrap intervals. The floors are the same probes on an untrained
    encoder, on plain pixels, and on a thumbnail with a gradient histogram.

    Parameters
    ----------
    run
        The run's folder.
    paper_probe
        Also probe categories as the first author's precursor code does: 10 epochs of SGD on augmented images, the best
        on validation. For scores to be put beside the paper's; takes as long as ten more passes over the images.
    """
    from mscon.evaluate.evaluation import evaluate_run, show
    from mscon.report import write_report
    from mscon.run import Run

    opened = Run.open(run)
    with _progress("probing") as progress:
        found = evaluate_run(opened, paper_probe=paper_probe, progress=progress)
    page = write_report(opened, found.data, found.embeddings, found.evaluation)
    console = Console()
    show(found.evaluation, console)
    _say(console, f"report: {page}")


@app.command
def ablate(run: Path) -> None:
    """Train a run's recipe again without each of its similarities in turn, and show what each adds to every label.

        mscon ablate runs/shoes

    The trainings go into runs/shoes-without-NAME, one after the other. After Ctrl-C the same command goes on where it
    was; what is done is not done again. The table is written to ablation.json in the run's folder.

    Parameters
    ----------
    run
        The run's folder.
    """
    from mscon.ablation import compare, notes, show, train_without_each
    from mscon.display import TerminalDisplay
    from mscon.run import Run

    console = Console()
    opened = Run.open(run)
    for note in notes(opened.recipe):
        _say(console, note)
    with _goes_on():
        without = train_without_each(opened, display=lambda: TerminalDisplay(console))
    with _progress("probing") as progress:
        found = compare(opened, without, progress=progress)
    show(found, console)


@app.command
def audit(run: Path) -> None:
    """List the items whose label disagrees with what the other items say, and write audit.parquet and audit.html.

        mscon audit runs/shoes

    Every label of the run's similarities is judged by a probe that was fitted on other items: never on the item
    itself, nor on its near-duplicates. The higher the score, the less likely the label; the suggestion is what the
    others say. A high score is a reason to look, not a verdict.

    Parameters
    ----------
    run
        The run's folder.
    """
    from mscon.evaluate.audit_run import audit_run, show
    from mscon.report.audit import write_audit
    from mscon.run import Run

    opened = Run.open(run)
    with _progress("auditing labels") as progress:
        found = audit_run(opened, progress=progress)
    page = write_audit(opened, found)
    console = Console()
    show(found, found.data.catalog.ids(opened.recipe.catalog.id), console)
    _say(console, f"all scores: {opened.folder / 'audit.parquet'}\nto look at: {page}")


@app.command
def embed(
    run: Path,
    catalog: str,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    image: Image = None,
    id: str | None = None,
) -> None:
    """Write the shared embedding and one vector per similarity of every image in a catalog, as Parquet.

        mscon embed runs/shoes new_arrivals.csv -o vectors.parquet

    Columns: id, embedding, and z_NAME of unit length per similarity; of a run with objective.item_uncertainty also
    uncertainty_NAME: 0 is plain to see, 1 as good as chance, more a head that is too sure of itself. The catalog needs
    no labels.

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
    """
    from mscon.embed import embed_catalog
    from mscon.run import Run

    with _progress("embedding images") as progress:
        table, skipped = embed_catalog(Run.open(run), catalog, out, image=image, id=id, progress=progress)
    console = Console()
    _say(console, f"{len(table):,} rows × {len(table.columns)} columns: {out}")
    for each in skipped:
        _say(console, f"left out: row {each.row} ({each.id}): {each.reason}")


@app.command
def data(
    name: str,
    *,
    root: Path,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None,
    only: str | None = None,
) -> None:
    """Make a catalog of a well-known set from its original files: zappos50k, medic, cub200 or fashion.

        mscon data zappos50k --root ~/zappos

        mscon data fashion --root ~/fashion --only Footwear

    Nothing is downloaded: it says where the files are got, what of them is there, and what is missing. Counts are
    compared with those known of the whole set.

    Parameters
    ----------
    name
        zappos50k (shoes), medic (disasters), cub200 (birds) or fashion (clothes, shoes and more).
    root
        The folder in which the archives were unpacked.
    out
        The Parquet file to write; NAME.parquet in the root when left out.
    only
        Of fashion, one masterCategory, such as Footwear; then the file is footwear.parquet.
    """
    from mscon.data.originals import sets
    from mscon.data.originals.show import show, show_checklist, show_written

    console = Console()
    show_checklist(sets.about(name), root, console)
    with _progress("reading images") as progress:
        original = sets.read(name, root, only=only, progress=progress)
    show(original, console)
    show_written(original, original.write(out or sets.catalog_path(name, root, only)), console)


@app.command
def reproduce(
    study: str,
    *,
    method: Annotated[list[str] | None, Parameter(negative="")] = None,
    seeds: int | None = None,
    quick: Annotated[bool | None, Parameter(negative="--full")] = None,
    figure: str | None = None,
    list_: Annotated[bool, Parameter(name="--list", negative="")] = False,
    run: str | None = None,
    root: Path | None = None,
    results: Path = Path("results"),
    runs: Path = Path("runs/reproduce"),
) -> None:
    """Train and compare methods on a study, and print the table: footwear, clothing, zappos50k, medic or cub200.

        mscon reproduce footwear --root data/footwear --quick

        mscon reproduce footwear --method mscon-excess --method supcon --seeds 5

        mscon reproduce footwear --figure noise

        mscon reproduce footwear --list | tr '\\n' '\\0' | xargs -0 -P 8 -I {} sh -c "{}"

    Every method has the same encoder, views and steps; its learning rate is chosen among three on the first seed, by
    validation. What is done is not done again, what was stopped goes on, and several processes can work at once.
    Every training leaves a small JSON file; tables and figures are made from these alone.

    Parameters
    ----------
    study
        What is trained on what; docs/reproduce.md tells of each.
    method
        Only this method; all when left out. Repeat it.
    seeds
        How many seeds, from 0 on: 3 when left out, of a figure 2.
    quick
        The short preset; when left out, that of a figure is short, that of the table full.
    figure
        The trainings of a figure in place of the table's: noise, redundancy, temperature, similarities, leave-one-out,
        heads, batch-size, equal-steps; transfer and retrieval need none of their own.
    list_
        Print the trainings that can be done now as commands, one a line, and do nothing.
    run
        Do only this training, named as --list does.
    root
        The folder of the study's data; its name below $MSCON_DATA when left out.
    results
        Where result files, tables and figures are kept.
    runs
        Where the trainings themselves are kept.
    """
    from mscon.experiments.command import Wish, list_commands
    from mscon.experiments.command import reproduce as run_study

    wish = Wish(study, method, seeds, quick, figure, run)
    with _goes_on():
        (list_commands if list_ else run_study)(wish, root, results, runs)


@app.command
def demo(*, out: Annotated[Path | None, Parameter(name=["--out", "-o"])] = None) -> None:
    """Inspect, train, evaluate and report on letters drawn from real typefaces: about two minutes, nothing downloaded.

        mscon demo

    Four similarities are trained (character, style, weight, slant); typeface and ink are kept for probing.

    Parameters
    ----------
    out
        The run's folder; runs/glyphs when left out.
    """
    from mscon.demo import demo as run_demo

    run_demo(out if out is not None else _free_folder("glyphs"), Console())


def main(words: Sequence[str] | None = None) -> None:
    """Run the command line, or the words given in its place: exit with 0, with 2 for the user's mistake, with 130
    when interrupted, with 1 for ours.
    """
    from mscon.interrupt import InterruptedRun, InterruptedRunsError

    errors = Console(stderr=True)
    rank, processes = _torchrun("RANK", 0), _torchrun("WORLD_SIZE", 1)
    try:
        app(
            sys.argv[1:] if words is None else words,
            exit_on_error=False,
            print_error=True,
            result_action="return_value",
        )
    except CycloptsError:
        sys.exit(USER_ERROR)
    except ToldElsewhere:
        sys.exit(USER_ERROR)
    except UserError as error:
        errors.print("[bold red]error:[/bold red] " + (f"process {rank}: " if rank else ""), end="")
        _say(errors, str(error))
        sys.exit(USER_ERROR)
    except InterruptedRun as stop:
        again = "mscon train" if processes == 1 else f"torchrun, {processes} processes again, -m mscon train"
        if rank == 0:
            _say(errors, f"stopped, with a checkpoint. Go on with: {again} {stop} --resume")
        sys.exit(INTERRUPTED)
    except InterruptedRunsError as stop:
        _say(errors, f"stopped in {stop}, with a checkpoint: the same command goes on")
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


@contextmanager
def _goes_on() -> Iterator[None]:
    """Around several trainings: one that is stopped is gone on with by the command that began it."""
    from mscon.interrupt import InterruptedRun, InterruptedRunsError

    try:
        yield
    except InterruptedRun as stop:
        raise InterruptedRunsError(*stop.args) from None


def _torchrun(name: str, alone: int) -> int:
    """What torchrun tells each process that it starts; `alone` without it."""
    return int(os.environ.get(name, alone))


def _say(console: Console, text: str) -> None:
    """Print text that may hold a user's words: as it is, whatever brackets it has, and in one piece."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


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


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on the error output, gone when the work is done."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


if __name__ == "__main__":
    main()
