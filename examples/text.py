"""Sentences under two labels: Hugging Face datasets, an encoder from transformers, and dropout for views.

To install, in a clone of mscon:    pip install . transformers datasets scikit-learn
To run:                             python examples/text.py reviews.csv --text review --labels topic tone
Without a file of your own:         python examples/text.py                   (examples/tickets.csv)
Without a download:                 python examples/text.py --from-scratch    (words and weights are learned anew)

The two views of a sentence are the sentence twice: dropout makes them differ (SimCSE: Gao, Yao and Chen 2021, arXiv
2104.08821). A quarter of the sentences is held out. The table at the end is the share of them of which the five nearest
training sentences know the label, before and after training.
"""

import argparse
from pathlib import Path

import torch
import transformers
from datasets import Dataset, load_dataset
from sklearn.neighbors import KNeighborsClassifier
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from mscon import Categorical, MSConLoss

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Encoder(nn.Module):
    """Sentences to embeddings: the mean of what a transformer makes of their words."""

    def __init__(self, words: transformers.PreTrainedTokenizerBase, transformer: transformers.PreTrainedModel):
        super().__init__()
        self.words, self.transformer = words, transformer
        self.width = int(transformer.config.hidden_size)

    def forward(self, sentences: list[str]) -> Tensor:
        entered = self.words(sentences, padding=True, truncation=True, max_length=128, return_tensors="pt").to(DEVICE)
        found = self.transformer(**entered).last_hidden_state
        there = entered["attention_mask"].unsqueeze(-1)
        return (found * there).sum(1) / there.sum(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "file", type=Path, nargs="?", default=Path(__file__).with_name("tickets.csv"), help="CSV or JSON"
    )
    parser.add_argument("--text", default="text", help="column of sentences")
    parser.add_argument("--labels", nargs="+", default=["topic", "tone"], help="columns of classes")
    parser.add_argument("--model", default="google-bert/bert-base-uncased", help="name on the Hub, or a folder")
    parser.add_argument("--from-scratch", action="store_true", help="a small transformer and its words, not --model")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, help="5e-4 from scratch, else 3e-5")
    given = parser.parse_args()
    torch.manual_seed(0)

    table = load_dataset(given.file.suffix[1:], data_files=str(given.file), split="train")
    for name in given.labels:
        table = table.class_encode_column(name)
    parts = table.train_test_split(test_size=0.25, seed=0)
    train, test = parts["train"], parts["test"]

    encoder = (new_encoder(train[given.text]) if given.from_scratch else pretrained_encoder(given.model)).to(DEVICE)
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(encoder.width, encoder.width), nn.ReLU(), nn.Linear(encoder.width, 64))
        for _ in given.labels
    ).to(DEVICE)
    loss_fn = MSConLoss({name: Categorical() for name in given.labels}, temperature=0.1).to(DEVICE)
    lr = given.lr or (5e-4 if given.from_scratch else 3e-5)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *heads.parameters(), *loss_fn.parameters()], lr=lr)
    before = scores(encoder, train, test, given)
    for epoch in range(given.epochs):
        encoder.train()
        for batch in train.shuffle(seed=epoch).iter(batch_size=32):
            embedding = encoder(batch[given.text] * 2)  # each sentence twice, under another dropout …
            codes = {name: torch.tensor(batch[name] * 2, device=DEVICE) for name in given.labels}  # … and each label
            out = loss_fn({name: head(embedding) for name, head in zip(given.labels, heads, strict=True)}, codes)
            optimizer.zero_grad()
            out.total.backward()
            optimizer.step()

    print(f"{'label':12} {'before':>10} {'trained':>10}")
    for name, was, now in zip(given.labels, before, scores(encoder, train, test, given), strict=True):
        print(f"{name:12} {was:10.2f} {now:10.2f}")


def pretrained_encoder(model: str) -> Encoder:
    return Encoder(transformers.AutoTokenizer.from_pretrained(model), transformers.AutoModel.from_pretrained(model))


def new_encoder(sentences: list[str]) -> Encoder:
    """A transformer of two layers, and for words all that occur twice."""
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.normalizer, words.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    words.train_from_iterator(sentences, trainers.WordLevelTrainer(min_frequency=2, special_tokens=["[PAD]", "[UNK]"]))
    config = transformers.BertConfig(
        vocab_size=words.get_vocab_size(), hidden_size=128, num_hidden_layers=2, num_attention_heads=4
    )
    return Encoder(
        transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"),
        transformers.BertModel(config, add_pooling_layer=False),
    )


@torch.no_grad()
def scores(encoder: Encoder, train: Dataset, test: Dataset, given: argparse.Namespace) -> list[float]:
    """Of each label, the share of the test sentences of which the five nearest training sentences know it."""
    encoder.eval()
    seen, asked = (encoder(list(part[given.text])).cpu().numpy() for part in (train, test))
    nearest = KNeighborsClassifier(n_neighbors=5, metric="cosine")
    return [nearest.fit(seen, train[name]).score(asked, test[name]) for name in given.labels]


if __name__ == "__main__":
    main()
