"""`troupe show` of models with one thing wrong or unknown each (wrong_models.py): its sentence names
the thing and says what to do, and calls no sound file damaged."""
import json
import os
import re

import pytest

import wrong_models

pytestmark = pytest.mark.no_model

# TROUPE_WRONG_SEEDS: the seeds to try, one for each whole run of the table.
SEEDS = os.environ.get("TROUPE_WRONG_SEEDS", "1").split(",")
ADVICE = re.compile(r"\b(take|use|give|put|convert|rename|run|merge|spread|leave|set|update|train|"
                    r"correct|unpack|repair|this version can run)\b|--raw|--prompt-ids")
UNTRUE = ("damaged", "again", "corrupt", "cut off")


def sentence_of(outcome):
    """What show says of whether the model runs."""
    if outcome.status == 0:
        return json.loads(outcome.out)["runs"]
    lines = outcome.err.strip().splitlines()
    return lines[-1] if lines else ""


def faults(case, path, outcome):
    """What is wrong with the answer, as a list."""
    said = sentence_of(outcome)
    found = [f"{word!r} is not named" for word in case.said if word.lower() not in said.lower()]
    if outcome.status != (0 if case.runs else 1):
        found.append(f"ended with {outcome.status}")
    if not said.startswith(case.runs or "troupe: "):
        found.append(f"does not begin with {case.runs!r}")
    if not ADVICE.search(said.replace(str(path), "")):
        found.append("does not say what to do")
    found += [f"says {word!r}" for word in UNTRUE if re.search(rf"\b{word}\b", said)]
    if len(said) > 1100 or said.count(str(path.parent)) > 3:
        found.append("is too long")
    if not case.runs and len(outcome.err.strip().splitlines()) != 1:
        found.append("is not one line")
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_sentence_names_the_one_thing(place, seed):
    missed, count = [], 0
    for case in wrong_models.cases(int(seed)):
        folder = place.folder / f"case{count}"
        folder.mkdir()
        count += 1
        path = case.build(folder)
        outcome = place.troupe("show", path, "--json")
        wrong = faults(case, path, outcome)
        if wrong:
            missed.append(f"{case.name}: {'; '.join(wrong)}: {sentence_of(outcome)!r}")
    assert count >= 190
    assert not missed, f"seed {seed}, {len(missed)} of {count}:\n" + "\n".join(missed)
