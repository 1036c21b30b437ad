"""Models in folders and on the Hugging Face Hub: weights, a config.json, and a card that says what they are."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, hf_hub_download

from mscon import __version__
from mscon.errors import UserError, first_line
from mscon.files import write_text
from mscon.words import listed

if TYPE_CHECKING:
    from mscon.model import MSConModel

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"

TAGS = ("mscon", "contrastive-learning", "metric-learning", "embeddings", "arxiv:2307.02712")
TASK = "image-feature-extraction"

CITATION = """@article{mu2023multisimilarity,
  title   = {Multi-Similarity Contrastive Learning},
  author  = {Mu, Emily and Guttag, John and Makar, Maggie},
  journal = {arXiv preprint arXiv:2307.02712},
  year    = {2023},
  url     = {https://arxiv.org/abs/2307.02712},
}"""


Model = TypeVar("Model", bound="HubModel")


class HubModel(ModelHubMixin, library_name="mscon", tags=list(TAGS), pipeline_tag=TASK):
    """`save_pretrained(folder)`, `push_to_hub(name)` and `from_pretrained(folder or name)`, for `MSConModel` alone.

    What is saved is the model's own file, which holds its architecture, too; config.json repeats that for readers and
    is what the Hub counts downloads by.
    """

    @classmethod
    def from_pretrained(
        cls: type[Model],
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Model:
        """A saved model on the CPU, in evaluation mode: from a folder, a run's included, or from the Hub.

        **Arguments:**

        - `pretrained_model_name_or_path`: a folder that holds model.safetensors, or a repository such as `"me/shoes"`.
        - `revision`: the commit, tag or branch of a repository; pin a commit to get the same weights for ever.
        - `local_files_only`: take what was downloaded before and do not ask the Hub.
        - `token`, `cache_dir`, `force_download`: as `huggingface_hub.hf_hub_download` has them.
        - `encoder`: the module of your own that the model was built around, see `MSConModel.load`.

        **Raises:** `UserError` when there is no such folder, repository, revision or file, or the file is no model.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir():
            return _loaded(cls, folder / WEIGHTS, model_kwargs)
        try:
            return super().from_pretrained(
                pretrained_model_name_or_path,
                force_download=force_download,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
                revision=revision,
                **model_kwargs,
            )
        except (OSError, ValueError) as error:  # what huggingface_hub raises is one of the two
            where = "among the files downloaded before" if local_files_only else "on the Hub"
            at = f" at revision {revision!r}" if revision else ""
            raise UserError(
                f"{pretrained_model_name_or_path}: no such folder here, and no such model {where}{at}"
                f" ({first_line(error)}). Name a folder that holds {WEIGHTS}, or a repository such as"
                " 'me/shoes'"
            ) from error

    @classmethod
    def _from_pretrained(
        cls: type[Model],
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> Model:
        path = hf_hub_download(
            model_id,
            WEIGHTS,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
        )
        return _loaded(cls, Path(path), model_kwargs)

    def _save_pretrained(self, save_directory: Path) -> None:
        model: Any = self
        model.save(save_directory / WEIGHTS)
        write_text(save_directory / CONFIG, config(model))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """What README.md says of a model that was saved without its run."""
        model: Any = self
        return ModelCard(bare_card(model))


def _loaded(cls: Any, path: Path, model_kwargs: dict[str, Any]) -> Any:
    return cls.load(path, **model_kwargs)


def config(model: "MSConModel", **more: Any) -> str:
    """What config.json holds: the architecture, and which version wrote it."""
    return json.dumps({"mscon_version": __version__, **more, **asdict(model.architecture)}, indent=2) + "\n"


def front_matter(**results: Any) -> str:
    """The YAML that a card begins with; `results`: more of `huggingface_hub.ModelCardData`."""
    data = ModelCardData(library_name="mscon", pipeline_tag=TASK, tags=list(TAGS), **results)
    return f"---\n{data.to_yaml()}\n---\n"


def bare_card(model: "MSConModel") -> str:
    """The card of a model of which nothing is known but itself."""
    architecture = model.architecture
    heads = listed([escaped(name) for name in model.similarities], "and")
    if architecture.backbone is None:
        what = "a module of its author's own, that turns what it is given"
        code = """encoder = YourEncoder()  # the module that it was built around; its weights are replaced
model = MSConModel.from_pretrained(".", encoder=encoder)  # this folder; on the Hub, its name there
batch = your_batch  # as that module takes it; three-channel images in uint8 are normalised before"""
    else:
        what, size = f"`{architecture.backbone}`, that turns an image", architecture.image_size or 224
        code = f"""model = MSConModel.from_pretrained(".")  # this folder; on the Hub, its name there
batch = torch.zeros(1, {architecture.in_chans}, {size}, {size}, dtype=torch.uint8)  # your images: RGB, 0 to 255"""
    return f"""{front_matter()}
# A model made with mscon

An encoder, {what} into {architecture.embedding_dim:,} numbers, with projections under {heads},
by multi-similarity contrastive learning ([arXiv 2307.02712](https://arxiv.org/abs/2307.02712)). It was saved without
its run, so what it was trained on and what it is worth are not told here.

## Use

```python
import torch
from mscon import MSConModel

{code}
embedding = model.embed(batch)
projections = {{name: model.project_embedding(embedding, name) for name in model.similarities}}
```

## Citation

```bibtex
{CITATION}
```
"""


def escaped(text: str) -> str:
    """A user's words as Markdown shows them letter by letter: in one line, no link, no markup, no cell's end."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return _MARKS.sub(r"\\\g<0>", line)


_MARKS = re.compile(r"[\\`*_{}\[\]<>#|~&$!@]|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What begins markup, and what makes an address a link."""
