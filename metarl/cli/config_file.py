"""Training from a file: a run's own run.json or fewshot.json, or JSON or TOML of the same fields."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metarl.cli.base import TrainCommand
from metarl.core.errors import MetaRLError, did_you_mean
from metarl.core.files import using

OPTION = "--config-file"
_IGNORED = {"sha256", "split", "command", "version", "id", "init_from"}  # what a run says of itself beside its settings


def config_file_of(arguments: list[str]) -> tuple[Path | None, list[str]]:
    """Return the file that arguments name, or None, and the arguments without it."""
    for i, word in enumerate(arguments):
        if word.startswith(f"{OPTION}="):
            return Path(word.partition("=")[2]), arguments[:i] + arguments[i + 1 :]
        if word == OPTION:
            if i + 1 == len(arguments):
                raise MetaRLError(f"{OPTION} names no file; give a run's run.json, or JSON or TOML of its fields.")
            return Path(arguments[i + 1]), arguments[:i] + arguments[i + 2 :]
    return None, arguments


def from_config_file(command: type[TrainCommand], path: Path, arguments: list[str]) -> tuple[list[str], Any]:
    """Return the arguments of a training with what a file says where they say nothing, and its config.

    Args:
        command: of the training.
        path: of the file.
        arguments: ``train``, perhaps what is trained on what, and options.
    """
    content = _content(path)
    fields = command.file_fields  # what is trained, what it is trained on, and options
    known = {*fields, "seeds", "preset", "config"}
    if unknown := sorted(set(content) - known - _IGNORED):
        raise MetaRLError(
            f"{path} has no use for {', '.join(unknown)}; it may say {', '.join(sorted(known))}."
            f"{did_you_mean(unknown[0], known)}"
        )
    n_words = next((i for i, word in enumerate(arguments[1:]) if word.startswith("-")), len(arguments) - 1)
    words, options = arguments[1 : 1 + n_words], arguments[1 + n_words :]
    positional = [name for name, option in fields.items() if option is None]
    words += [_named(content, name, path, arguments) for name in positional[len(words) :]]
    if words[-1] == content.get(positional[-1]):  # of another family the file's variant means nothing
        for name, option in fields.items():
            if option is not None and name in content and not _says(options, option):
                options = [option, _named(content, name, path, arguments), *options]
    if content.get("seeds") and not _says(options, "--seed"):
        options = ["--seed", *map(str, content["seeds"]), *options]
    if _says(options, "--preset"):
        raise MetaRLError(f"{path} has a config of its own; leave out --preset, or name one in the file.")
    from metarl.core.checkpoint import config_from
    from metarl.core.plugins import trusted_config

    base = command.default_config(words[0], content.get("preset", "default"))
    saved = content.get("config", {})
    if not isinstance(saved, Mapping):
        raise MetaRLError(f"{path}: config must be a table of fields.")
    config = config_from(type(base), _merged(json.loads(json.dumps(asdict(base))), saved))
    return ["train", *words, *options], trusted_config(config, path, _typed(arguments))


def _content(path: Path) -> dict[str, Any]:
    with using(path):
        text = path.read_bytes()
    try:
        content = tomllib.loads(text.decode()) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise MetaRLError(f"{path} is no {'TOML' if path.suffix == '.toml' else 'JSON'} ({error}); mend it.") from error
    if not isinstance(content, dict):
        raise MetaRLError(f"{path} must hold fields, as a run's run.json does.")
    return content


def _named(content: Mapping[str, Any], name: str, path: Path, arguments: list[str]) -> str:
    """Return what the file calls something, which may be code of one's own only where the command line names it too."""
    found = content.get(name)
    if not isinstance(found, str) or not found:
        raise MetaRLError(f"{path} says no {name}; add it, or name it on the command line.")
    if ":" in found and not found.startswith("folder:") and found not in _typed(arguments):
        raise MetaRLError(
            f"{path} names the {name} {found!r}, and no module is imported because a file names it: if you trust it, "
            "name what is trained and on what before the options."
        )
    return found


def _typed(arguments: list[str]) -> list[str]:
    """Return the names of code that the user has typed, and so trusts."""
    return [word for word in arguments if ":" in word]


def _says(options: list[str], name: str) -> bool:
    return any(word == name or word.startswith(f"{name}=") for word in options)


def _merged(base: dict[str, Any], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's fields with those of a file in their place, also within configs in it."""
    inner = {
        k: _merged(base[k], v) for k, v in saved.items() if isinstance(v, Mapping) and isinstance(base.get(k), dict)
    }
    return {**base, **saved, **inner}
