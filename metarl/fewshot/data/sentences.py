"""CLINC150 (Larson et al. 2019): short sentences of 150 intents, and others that are of none."""

import json
from collections.abc import Sequence

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.reader import file_of

_CLINC = "https://raw.githubusercontent.com/clinc/oos-eval/master/data/data_full.json"
_MD5 = "30c29dc6ab78edf3b5dfa640be204cde"
_DOMAINS = "https://raw.githubusercontent.com/clinc/oos-eval/master/data/domains.json"
_SPLITS = "https://raw.githubusercontent.com/tdopierre/ProtAugment/6352ababa740133708daed815666b5bf39850d98/data/OOS/few_shot/"
_NAMED = {"train": "train", "val": "valid", "test": "test"}
_INTENTS = 150
DOMAINS = (
    *("banking", "credit_cards", "kitchen_and_dining", "home", "auto_and_commute"),
    *("travel", "utility", "work", "small_talk", "meta"),
)
_OF_DOMAIN, _CHOOSING = 15, 3  # intents of each domain, and those of a training domain that are for validation


def clinc150(parts: Sequence[str] = ("train", "val", "test")) -> dict[str, list[str]]:
    """Return the sentences of each intent, or of ``oos``, which is none, in parts such as ``oos_test`` of the file."""
    path = file_of("clinc150", "data_full.json", _CLINC, _MD5)
    content = json.loads(path.read_bytes())
    found: dict[str, list[str]] = {}
    for part in parts:
        for sentence, intent in content[part]:
            found.setdefault(intent, []).append(sentence)
    return found


def clinc150_split(number: str) -> dict[str, dict[str, list[str]]]:
    """Return the sentences by split and intent in a class split of ProtAugment (Dopierre et al. 2021), 01 to 03."""
    sentences, splits = clinc150(), {}
    for split, word in _NAMED.items():
        file = f"{number}.{word}.txt"
        listed = file_of("clinc150", f"protaugment_splits/{file}", f"{_SPLITS}{number}/labels.{word}.txt")
        names = listed.read_text().split()
        if not set(names) <= set(sentences) or len(names) != _INTENTS // len(_NAMED):
            raise MetaRLError(f"{listed} is partial or damaged; delete it, and it is fetched anew.")
        splits[split] = {name: sentences[name] for name in names}
    return splits


def clinc150_without(domain: str) -> dict[str, dict[str, list[str]]]:
    """Return the sentences by split and intent where one domain is unseen: its 15 intents are the test split.

    Of each of the nine other domains the first twelve intents are to train on and the last three to choose by.

    Args:
        domain: one of ``DOMAINS``.
    """
    sentences, listed = clinc150(), file_of("clinc150", "domains.json", _DOMAINS)
    try:
        content = json.loads(listed.read_bytes())
        intents = {each: content[each] for each in DOMAINS}
    except (ValueError, KeyError, TypeError):
        intents = {}
    if any(len(names) != _OF_DOMAIN or not set(names) <= set(sentences) for names in intents.values()) or not intents:
        raise MetaRLError(f"{listed} is partial or damaged; delete it, and it is fetched anew.")
    parts = {"train": slice(_OF_DOMAIN - _CHOOSING), "val": slice(_OF_DOMAIN - _CHOOSING, None)}
    seen = {
        split: {name: sentences[name] for each in DOMAINS if each != domain for name in intents[each][part]}
        for split, part in parts.items()
    }
    return {**seen, "test": {name: sentences[name] for name in intents[domain]}}
