"""How a data set is called: a name or a path, and behind a question mark how it is read."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote

from metarl.core.errors import MetaRLError, did_you_mean

OPTIONS = ("text", "smiles", "label", "task", "columns", "split", "encoder", "size", "grey")


@dataclass(frozen=True)
class DataName:
    """The name of a data set, ``PLACE`` or ``PLACE?OPTION=VALUE&OPTION=VALUE``, in one line that a run keeps."""

    place: str  # a known name, a file, a folder, or module:Name
    options: dict[str, str] = field(default_factory=dict)  # some of OPTIONS

    @classmethod
    def parsed(cls, name: str) -> "DataName":
        """Return the parts of a name; raise for an option that there is not."""
        place, _, query = name.partition("?")
        options = dict(parse_qsl(query, keep_blank_values=True))
        if unknown := [option for option in options if option not in OPTIONS]:
            raise MetaRLError(
                f"Data set {name!r}: there is no option {unknown[0]!r}; there are {', '.join(OPTIONS)}."
                f"{did_you_mean(unknown[0], OPTIONS)}"
            )
        return cls(place, options)

    def __str__(self) -> str:
        given = "&".join(f"{option}={quote(value, safe=' ,:/')}" for option, value in self.options.items() if value)
        return f"{self.place}?{given}" if given else self.place
