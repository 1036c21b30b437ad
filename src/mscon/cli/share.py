"""Commands that hand a run to others: export."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from mscon.cli.shared import say
from mscon.console import terminal
from mscon.errors import UserError

Format = Literal["onnx", "torch", "timm", "hub"]

SUFFIXES: dict[str, Format] = {".onnx": "onnx", ".pt2": "torch", ".safetensors": "timm"}


def export(
    run: Path,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"])],
    format: Format | None = None,
    head: Annotated[list[str] | None, Parameter(negative="")] = None,
    repo: str | None = None,
) -> None:
    """Write a trained run for use without mscon, or for others to have: ONNX, torch.export, timm, or a folder.

    onnx and torch: encoder, heads and preprocessing in one file that runs without mscon. It takes `images`, uint8
    (N, side, side, 3) as PIL and numpy have them, already of the model's size, any number at once, and gives
    `embedding`, `z_NAME` of unit length per similarity, and `uncertainty_NAME` where the run has that head. The file is
    run on images of the catalog and kept only if it gives the package's own vectors. ONNX needs
    `pip install "mscon[export]"`.

    timm: the bare backbone, for timm.create_model(…, checkpoint_path=…).

    hub: a folder with the model, its recipe and a model card, for MSConModel.from_pretrained or for upload. It names
    no folder of this machine and holds no image.

        mscon export runs/shoes -o shoes.onnx
        mscon export runs/shoes -o shoes.pt2 --head closure --head category
        mscon export runs/shoes -o backbone.safetensors --format timm
        mscon export runs/shoes -o shoes --format hub --repo me/shoes

    Parameters
    ----------
    run
        The run's folder.
    out
        The file to write, or the folder.
    format
        onnx, torch, timm or hub; told by the file's suffix (.onnx, .pt2, .safetensors) when left out.
    head
        onnx, torch: a similarity whose head goes into the file; all when left out. Repeat it.
    repo
        hub: where the folder will be on the Hub, for the card to say so.
    """
    from mscon.files import make_folder
    from mscon.run import Run

    format = _format(out, format)
    if head and format not in ("onnx", "torch"):
        raise UserError(f"--head: a file of format {format} holds no single heads; leave it out")
    if repo and format != "hub":
        raise UserError(f"--repo: only a folder of format hub has a card that names it, not {format}; leave it out")
    opened, console = Run.open(run), terminal()
    make_folder(out.parent)
    if format == "hub":
        from mscon.export.folder import publish

        for path in publish(opened, out, repo=repo):
            say(console, f"written: {path}")
        say(console, f"read {out}/README.md and add a licence to it; then: hf upload {repo or 'NAME/REPO'} {out}")
    elif format == "timm":
        from mscon.export.backbone import export_backbone

        found = export_backbone(opened.model(), out)
        say(console, f"written: {out}\nto load it: {found.code}")
        if found.untrained:
            say(console, f"no part of the run, and as in a new model: {', '.join(found.untrained)}")
    else:
        from mscon.export import export_onnx, export_torch, sample_of
        from mscon.export.parity import show

        write = export_onnx if format == "onnx" else export_torch
        parity = write(opened.model(), out, sample=sample_of(opened), fit=opened.recipe.image.fit, similarities=head)
        show(parity, console)
        of_onnx = f"onnxruntime.InferenceSession({str(out)!r}).run(None, {{'images': images}})"
        code = of_onnx if format == "onnx" else f"torch.export.load({str(out)!r}).module()(images)"
        side = opened.recipe.image.size
        say(console, f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
        say(console, f"to run it: {code}\nimages: uint8 (N, {side}, {side}, 3), RGB")


def _format(out: Path, format: Format | None) -> Format:
    """The format asked for, or the one that the file's suffix tells. **Raises** `UserError` where the two disagree, or
    nothing tells.
    """
    told = SUFFIXES.get(out.suffix.lower())
    if format is None and told is None:
        raise UserError(f"-o {out}: say what to write with --format {', '.join(get_args(Format))}")
    suffix = next((each for each, name in SUFFIXES.items() if name == format), None)
    if format is not None and told != format and (told is not None or suffix is not None):
        wanted = f"a file that ends in {suffix}" if suffix else "a folder"
        raise UserError(f"-o {out}: format {format} is written as {wanted}; name one")
    return format or told or "hub"
