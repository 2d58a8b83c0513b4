"""Writes tests/data/golden/tag_scores.json: F1 of words by scikit-learn, and of entities by seqeval.

    python make_tag_scores.py      (needs scikit-learn, seqeval)

Labels and answers are drawn at random, so that entities begin with I-, touch, and break off.
"""
import json
import pathlib
import random

from seqeval.metrics import f1_score as entity_f1
from seqeval.metrics import precision_score as entity_precision
from seqeval.metrics import recall_score as entity_recall
from sklearn.metrics import accuracy_score, f1_score

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden"
NAMES = ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]


def case(seed, kept):
    draw = random.Random(seed)
    labels = [[draw.choice(NAMES) for _ in range(draw.randint(1, 12))] for _ in range(10)]
    answers = [[one if draw.random() < kept else draw.choice(NAMES) for one in text]
               for text in labels]
    flat, told = sum(labels, []), sum(answers, [])
    inside = [name for name in NAMES if name != "O"]
    return {"names": NAMES, "labels": labels, "answers": answers,
            "accuracy": accuracy_score(flat, told),
            "micro_f1": f1_score(flat, told, labels=inside, average="micro"),
            "macro_f1": f1_score(flat, told, labels=inside, average="macro"),
            "macro_f1_all": f1_score(flat, told, average="macro"),
            "entity_precision": float(entity_precision(labels, answers)),
            "entity_recall": float(entity_recall(labels, answers)),
            "entity_f1": float(entity_f1(labels, answers))}


def main():
    cases = [case(seed, kept) for seed, kept in ((1, 0.9), (2, 0.6), (3, 0.3))]
    (GOLDEN / "tag_scores.json").write_text(json.dumps({"cases": cases}) + "\n")


if __name__ == "__main__":
    main()
