# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2,<3", "numba>=0.60"]
# ///
"""Train the injection classifier, measure it leaving one source out at a time, and write what is shipped.

    python scripts/injection/train.py TRAIN.jsonl BENIGN.jsonl SYNTHETIC.jsonl [--loso] [--write]

Logistic regression by AdaGrad over the windows of `localgpt.injection.classifier`. A document that holds an attack is
not an attack all over: after a first round only its highest windows count as such (multiple-instance learning). `--loso`
prints, for each fold, what 0.2 % of all left-out benign texts and 0.3 % of the given ones reach at most; the threshold
that is shipped lies a little below their mean, where 0.2 to 0.4 % are reached, and was fixed before anything else was
measured (`--threshold`). `--loso` prints the table that docs/model-card.md quotes; `--write` trains on everything
and writes `src/localgpt/injection/data/classifier.bin`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from localgpt.injection.classifier import BITS, spans, word_hashes, words
from localgpt.injection.skeleton import skeleton

SEED = 20261128
WINDOWS = (64, 128)
RATE, DECAY, EPOCHS, MARGIN = 0.05, 1e-6, (3, 4), 0.5
TARGET = Path(__file__).resolve().parents[2] / "src/localgpt/injection/data/classifier.bin"
MAX_CHARS = 5000
#: Benign sources that are many origins under one name, or the only one of their kind: split by document.
MIXED = ("synthetic", "own-summaries", "own-about", "set-02", "set-03", "set-06", "set-07", "set-39")
#: Left out of training: plain questions under the name of attacks, the same as the benign ones of set-06 and set-07.
UNUSED = frozenset({"set-05", "set-30"})
#: The given benign texts are few and what the figures are about, so each counts three times.
COUNTED = 3
SAMPLE = 1500
#: Sources that belong together: wordings of one origin would otherwise be on both sides of the split.
FOLDS: dict[str, list[str]] = {
    "set-34": ["set-34"], "set-37": ["set-37"], "set-10+33": ["set-10", "set-33"], "set-01+04+35": ["set-01", "set-04", "set-35"],
    "set-36": ["set-36"], "set-05+30": ["set-05", "set-30"], "set-42": ["set-42"],
    "jailbreaks": ["set-08", "set-09", "set-31", "set-32", "set-38", "set-40"],
}  # fmt: skip
LIMITS = {"summary": 9000, "code": 6000, "readme": 7000, "catalogue": 7000, "man": 6000}
MAILS = [f"{who}@{host}" for who in ["anna", "bob.smith", "carla", "info", "hr", "support", "d.jones", "teacher", "mike_r", "j.lee", "contact", "sales"]
         for host in ["gmail.com", "example.com", "corp.example", "outlook.com", "mail.example.net", "acme.example"]]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Corpus:
    """All windows as rows of places in the table, and the document that each belongs to."""

    starts: Any
    places: Any
    document: Any
    label: Any
    source: Any
    kind: Any


def read(paths: list[Path]) -> list[dict[str, Any]]:
    """All rows; one redacted address would be learned as an attack by itself, so it becomes many."""
    chance = random.Random(SEED)
    rows: list[dict[str, Any]] = [json.loads(line) for line in paths[0].open(encoding="utf-8")]
    for row in rows:
        row["text"] = re.sub(
            r"REDACTED@example\.com", lambda m: chance.choice(MAILS) if chance.random() < 0.8 else m[0], row["text"]
        )
    own = [json.loads(line) for line in paths[1].open(encoding="utf-8")]
    chance.shuffle(own)
    count: dict[str, int] = {}
    for row in own:
        count[row["kind"]] = count.get(row["kind"], 0) + 1
        if count[row["kind"]] <= LIMITS.get(row["kind"], 5000):
            rows.append(row)
    for path in paths[2:]:
        rows += [json.loads(line) for line in path.open(encoding="utf-8")]
    return rows


def corpus(rows: list[dict[str, Any]]) -> Corpus:
    known: dict[str, tuple[int, ...]] = {}
    starts, places, document = [0], [], []
    for number, row in enumerate(rows):
        found = words(skeleton(row["text"][:MAX_CHARS])) or ["0"]
        hashes = np.array([known.get(w) or known.setdefault(w, word_hashes(w)) for w in found], dtype=np.int32)
        table = np.full((len(found), 6), -1, dtype=np.int32)
        table[:, :3] = hashes[:, :3]
        table[:-1, 3] = hashes[:-1, 3] ^ hashes[1:, 4]
        if len(found) > 2:
            table[:-2, 4] = hashes[:-2, 5] ^ hashes[2:, 6]
            table[:-2, 5] = table[:-2, 3] ^ hashes[2:, 7]
        for first, last in sorted(set(spans(len(found), WINDOWS))):
            window = table[first:last].ravel()
            places.append(window[window >= 0])
            starts.append(starts[-1] + len(places[-1]))
            document.append(number)
    column = {name: np.array([row[name] for row in rows]) for name in ("label", "source", "kind")}
    return Corpus(np.array(starts), np.concatenate(places), np.array(document), *column.values())


@numba.njit(cache=True)
def descend(starts, places, label, order, weights, epochs, rate, decay, seed):  # type: ignore[no-untyped-def]
    """AdaGrad on the logistic loss; a window's features are divided by the root of their number."""
    squares = np.full(len(weights), 1e-6)
    bias = 0.0
    np.random.seed(seed)
    for _ in range(epochs):
        np.random.shuffle(order)
        for row in order:
            first, last = starts[row], starts[row + 1]
            size = 1 / np.sqrt(max(1, last - first))
            logit = 0.0
            for j in range(first, last):
                logit += weights[places[j]]
            error = 1 / (1 + np.exp(-(logit * size + bias))) - label[row]
            if abs(error) < 1e-4:
                continue
            for j in range(first, last):
                k = places[j]
                step = error * size + decay * weights[k]
                squares[k] += step * step
                weights[k] -= rate * step / np.sqrt(squares[k])
            bias -= 0.01 * error
    return bias


@numba.njit(cache=True)
def logits(starts, places, weights, bias):  # type: ignore[no-untyped-def]
    out = np.empty(len(starts) - 1)
    for row in range(len(out)):
        total = 0.0
        for j in range(starts[row], starts[row + 1]):
            total += weights[places[j]]
        out[row] = total / np.sqrt(max(1, starts[row + 1] - starts[row])) + bias
    return out


def highest(data: Corpus, values: Any) -> Any:
    out = np.full(len(data.label), -1e9)
    np.maximum.at(out, data.document, values)
    return out


def fit(data: Corpus, used: Any) -> tuple[Any, float]:
    """Weights and bias from the documents in the mask `used`."""
    label = data.label[data.document].astype(np.float64)
    rows = used[data.document]
    weights, bias = np.zeros(1 << BITS), 0.0
    for turn, epochs in enumerate(EPOCHS):
        chosen = rows.copy()
        if turn:
            values = logits(data.starts, data.places, weights, bias)
            chosen &= (label == 0) | (values >= highest(data, values)[data.document] - MARGIN)
            weights = np.zeros(1 << BITS)
        order = np.flatnonzero(chosen & ~np.isin(data.source, list(UNUSED))[data.document])
        order = np.concatenate(
            [order, *[order[given(data)[data.document][order] & (label[order] == 0)]] * (COUNTED - 1)]
        )
        bias = descend(data.starts, data.places, label, order, weights, epochs, RATE, DECAY, SEED)
    return weights, bias


def given(data: Corpus) -> Any:
    return np.char.startswith(data.source, "set-")


def benign_folds(data: Corpus) -> Any:
    """Four folds of the benign sources; those of `MIXED` are split by document."""
    chance = np.random.default_rng(SEED)
    names = sorted({s for s, label in zip(data.source, data.label, strict=True) if not label})
    fold = {name: i % 4 for i, name in enumerate(chance.permutation(names))}
    folds = np.array([fold.get(s, -1) for s in data.source])
    mixed = np.array([s.startswith(MIXED) for s in data.source])
    folds[mixed] = chance.integers(0, 4, mixed.sum())
    folds[data.label == 1] = -1
    return folds


def leave_one_out(data: Corpus, only: list[str]) -> float:
    """Print how each source fares with a classifier that has not seen it; return the threshold."""
    folds, thresholds = benign_folds(data), []
    for number, (name, sources) in enumerate(FOLDS.items()):
        if only and name not in only:
            continue
        began = time.time()
        out, spared = np.isin(data.source, sources), folds == number % 4
        weights, bias = fit(data, ~out & ~spared)
        values = highest(data, logits(data.starts, data.places, weights, bias))
        cut = {share: float(np.quantile(values[spared], 1 - share)) for share in (0.01, 0.005, 0.002)}
        thresholds.append(max(cut[0.002], float(np.quantile(values[spared & given(data)], 1 - 0.003))))
        caught = " ".join(
            f"{share:.1%}: {(values[out & (data.label == 1)] > at).mean():6.1%}" for share, at in cut.items()
        )
        about = spared & np.isin(data.kind, ["secdoc", "secdoc-short", "about", "summary"])
        print(f"{name:14} {out.sum():5} attacks, {spared.sum()} benign left out | caught at {caught} | at 0.2%: about attacks "
              f"{(values[about] > cut[0.002]).mean():.2%}, given benign {(values[spared & given(data)] > cut[0.002]).mean():.2%} | {cut[0.002]:.2f} | {time.time() - began:.0f} s", flush=True)  # fmt: skip
    print("threshold", [round(t, 3) for t in thresholds])
    return float(np.mean(thresholds))


def whole_scan(rows: list[dict[str, Any]], data: Corpus, only: list[str], threshold: float) -> None:
    """The same for the whole scan, patterns and views included, at the threshold that is shipped, on a sample."""
    from localgpt.injection import scanning
    from localgpt.injection.classifier import Classifier

    folds, chance = benign_folds(data), np.random.default_rng(SEED)
    for number, (name, sources) in enumerate(FOLDS.items()):
        if only and name not in only:
            continue
        out, spared = np.isin(data.source, sources), folds == number % 4
        fold = Classifier(packed(*fit(data, ~out & ~spared), threshold, name))
        setattr(scanning, "classifier", lambda fold=fold: fold)  # noqa: B010 -- in place of the shipped one
        about = spared & np.isin(data.kind, ["secdoc", "secdoc-short", "about", "summary"])
        groups = {
            "caught": out & (data.label == 1),
            "false alarms": spared,
            "given benign": spared & given(data),
            "about attacks": about,
        }
        line = [f"{name:14}"]
        for group, mask in groups.items():
            chosen = chance.permutation(np.flatnonzero(mask))[:SAMPLE]
            flagged = sum(scanning.scan(rows[i]["text"]).flagged for i in chosen)
            line.append(f"{group} {flagged / max(1, len(chosen)):.2%} of {len(chosen)}")
        print(" | ".join(line), flush=True)


def packed(weights: Any, bias: float, threshold: float, fingerprint: str) -> bytes:
    """Quantise to signed bytes: the step is chosen so that one weight in twenty thousand is clipped."""
    step = float(np.quantile(np.abs(weights[weights != 0]), 0.9999)) / 127
    table = np.clip(np.rint(weights / step), -127, 127).astype(np.int8)
    header = {
        "version": f"1-{fingerprint[:12]}", "bits": BITS, "windows": WINDOWS, "scale": round(1000 * step * 256),
        "bias_milli": round(1000 * bias), "threshold_milli": round(1000 * threshold), "seed": SEED, "data_sha256": fingerprint,
    }  # fmt: skip
    weights_bytes: bytes = table.tobytes()
    return json.dumps(header, separators=(",", ":")).encode() + b"\n" + weights_bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--loso", action="store_true")
    parser.add_argument("--only", nargs="*", default=[], help="folds")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--whole", action="store_true", help="leave-one-source-out of the whole scan")
    parser.add_argument("--threshold", type=float, default=0.95, help="0 takes the mean of --loso")
    options = parser.parse_args()
    rows = read(options.data)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row['label']}{row['source']}\0{row['text']}\0".encode("utf-8", "replace"))
    data = corpus(rows)
    print(f"{len(rows)} texts, {len(data.document)} windows, sha256 {digest.hexdigest()}", flush=True)
    reached = leave_one_out(data, options.only) if options.loso else 0.0
    threshold = options.threshold or reached
    if options.write:
        weights, bias = fit(data, np.ones(len(data.label), dtype=bool))
        TARGET.write_bytes(packed(weights, bias, threshold, digest.hexdigest()))
        print("wrote", TARGET, TARGET.stat().st_size, "bytes, sha256", hashlib.sha256(TARGET.read_bytes()).hexdigest())
    if options.whole:
        whole_scan(rows, data, options.only, threshold)
    return 0


if __name__ == "__main__":
    sys.exit(main())
