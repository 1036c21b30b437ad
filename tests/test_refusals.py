"""What the public doors say to mistakes, without the type checks that are on in tests: in a process of its own."""

import json
import subprocess
import sys

import pytest

REFUSED = {
    # The objective.
    "MSConLoss([Categorical()])": "similarities must be given by name, {'category': …}, not as a list",
    "MSConLoss(Categorical())": "similarities must be given by name, {'category': …}, not as a Categorical",
    "MSConLoss(None)": "similarities must be given by name, {'category': …}, not as a NoneType",
    "MSConLoss({'a': Categorical()}, temperature=[0.1])": "a temperature must be a number, not [0.1]",
    "MSConLoss({'a': Categorical()}, temperature=None)": "a temperature must be a number, not None",
    "MSConLoss({'a': Categorical()}, weighting='excss')": "weighting must be equal, uncertainty, uncertainty-exact",
    "MSConLoss({'a': Categorical()}, weighting={'a': 'x'})": "a weight must be a number, not 'x'",
    "one(z, {'a': codes})": "projections must be given by name, {'a': …}, not as a Tensor",
    "one({'a': z}, {'a': [0, 0, 1, 1]})": "labels['a'] must be a tensor (N,), not a list",
    "one({'a': z}, {'a': codes[:, None]})": "labels['a'] must be a tensor (N,), not one of (4, 1)",
    "one({'a': z[0]}, {'a': codes})": "projections['a'] must be a tensor (N, d), not one of (2,)",
    "one({'a': z}, {'a': codes}, anchor_weights=torch.ones(4))": "anchor_weights must be given by name, {'a': …}",
    "one({'a': z}, {'a': codes}, anchor_weights={'a': [1.0]})": "anchor_weights['a'] must be a tensor (N,), not a list",
    "one.held_out_sums({'a': z}, {'a': codes}, views=0)": "rows are 1 view of each item, or more, not 0",
    # One similarity's loss.
    "supcon_loss(z, codes[:, None])": "labels must be a tensor (N,), not one of (4, 1)",
    "supcon_loss(z, [0, 0, 1, 1])": "labels must be a tensor (N,), not a list",
    "supcon_loss([[1.0, 2.0]] * 4, codes)": "projections must be a tensor (N, d), not a list",
    "supcon_loss(z, codes, temperature='x')": "temperature must be a number, not 'x'",
    # Similarities: labels of two dimensions are told alike by all.
    "Instance().targets(codes[:, None])": "labels must be a tensor (N,), not one of (4, 1)",
    "Tags([('a',)] * 2).targets(codes[:, None])": "labels must be a tensor (N,), not one of (4, 1)",
    "Pairs(torch.tensor([[0, 1]])).targets(codes[:, None])": "labels must be a tensor (N,), not one of (4, 1)",
    "Appearance(torch.eye(3)).targets(codes[:, None])": "labels must be a tensor (N,), not one of (4, 1)",
    "Continuous().targets(z)": "labels must be a tensor (N,), not one of (4, 2)",
    "Continuous().targets([1.0, 2.0])": "labels must be a tensor (N,), not a list",
    "RankNContrast().targets(z)": "labels must be a tensor (N,), not one of (4, 2)",
    "Continuous(reference=[1.0, 2.0])": "the reference of a continuous similarity must be a tensor (n,), not a list",
    "Continuous(reference=z)": "the reference of a continuous similarity must be a tensor (n,), not one of (4, 2)",
    "Continuous(reference=z[0].numpy())": "the reference of a continuous similarity must be a tensor (n,), not a",
    "Categorical([1.0, 2.0])": "class_weights must be a tensor (k,), not a list",
    "Categorical(z)": "class_weights must be a tensor (k,), not one of (4, 2)",
    "Appearance([[1.0]])": "features must be a tensor (n, d), not a list",
    "Appearance(torch.ones(3))": "features must be a tensor (n, d), not one of (3,)",
    "Appearance(codes[:, None])": "features must be finite floats: torch.int64",
    "Pairs([[0, 1]])": "edges, two items each, must be a tensor (E, 2), not a list",
    "Pairs(torch.tensor([[0, 1]]), [1.0])": "strength must be a tensor (E,), not a list",
    "Tags([('a',)], weighting='rare')": "tags are weighted by 'rarity' or 'even', not 'rare'",
    "Tags([('a',)], counts=[-5])": "counts of items must be from 0 on and finite: [-5]",
    "Tags([('a',)], counts=[math.nan])": "counts of items must be from 0 on and finite: [nan]",
    "Tags([('a',)], counts=['x'])": "a count of items must be a number, not 'x'",
    "Tags.of(['sky, sea'])": "each item has several names, such as ['sky, sea'], not one text: 'sky, sea'",
    "Hierarchy(['Shoes/Boots'])": "each item has several names, such as ['Shoes/Boots'], not one text: 'Shoes/Boots'",
    # Weightings.
    **{
        f"{weighting}({count})": f"a weighting is for 1 similarity or more, given by their number, not {count}"
        for weighting in ("Uncertainty", "Excess", "Aggregated")
        for count in ("0", "-1", "2.5", "['a']")
    },
    "Uncertainty(2, paper=True, start=math.nan)": "start must be finite, and penalty from 0 on: start=nan, penalty=1.0",
    "Uncertainty(2, paper=True, penalty=-1.0)": "start must be finite, and penalty from 0 on: start=1.0, penalty=-1.0",
    "Aggregated(2, 3)": "the aggregator must be a name or a function of inner products, not 3",
    "Fixed(2)": "fixed weights are given one after the other, such as Fixed([2.0, 1.0]), not 2",
    "Fixed({'a': 1.0})": "fixed weights are given one after the other, such as Fixed([2.0, 1.0]), not {'a': 1.0}",
    "Fixed(['a'])": "a weight must be a number, not 'a'",
    "Fixed([])": "weights must be at least 0, finite, and not all 0: []",
}

SCRIPT = """
import json, math, sys
import torch
from mscon import *
from mscon.similarity import *
from mscon.weighting import *

z, codes, one = torch.ones(4, 2), torch.tensor([0, 0, 1, 1]), MSConLoss({"a": Categorical()})
said = {}
for mistake in json.load(sys.stdin):
    try:
        said[mistake] = f"{eval(mistake)} and no error"
    except Exception as error:
        said[mistake] = f"{type(error).__name__}: {error}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    command, mistakes = [sys.executable, "-c", SCRIPT], json.dumps(list(REFUSED))
    return json.loads(subprocess.run(command, input=mistakes, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("mistake", REFUSED)
def test_a_mistake_is_told_in_the_words_of_who_made_it(mistake: str, said: dict[str, str]) -> None:
    assert said[mistake].startswith(f"ValueError: {REFUSED[mistake]}")
