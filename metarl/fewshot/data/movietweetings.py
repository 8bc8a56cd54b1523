"""MovieTweetings (Dooms et al. 2013): ratings of films that people tweeted, 0 to 10, the first 100,000 of them."""

import re
from pathlib import Path

import numpy as np

from metarl.core.errors import MetaRLError
from metarl.fewshot.data.ratings import RatingDataset, rating_dataset
from metarl.fewshot.data.reader import file_of

_ADDRESS = (
    "https://raw.githubusercontent.com/sidooms/MovieTweetings/4d8280a3f1ea83e3e23f13d1710d19f43564274f/snapshots/100K/"
)
_MD5 = {"ratings.dat": "f5e9db01cdf9490fa13713a26183b7cf", "movies.dat": "951734ec730ee5c0f338cc8532a5f50b"}
_CENTRE, _UNIT, _NEW = 2000, 20, 2012  # years: those that films' are counted from and in, and of those that were new


def movietweetings(name: str) -> RatingDataset:
    """Return MovieTweetings: users with 20 ratings are tasks, 692 to train on, 231 to choose by and 231 to test on.

    What is known of a film beside its ratings are its genres and its year. Ratings of the 15,400 users with fewer are
    known too, so that 80,446 of the 100,000 say what a film is like.
    """
    paths = {file: file_of("movietweetings", file, _ADDRESS + file, md5) for file, md5 in _MD5.items()}
    ratings: dict[str, dict[str, float]] = {}
    for user, film, value, _ in _lines(paths["ratings.dat"], 4):
        ratings.setdefault(user, {})[film] = float(value)
    films = {film: (title, genres.split("|")) for film, title, genres in _lines(paths["movies.dat"], 3)}
    known = sorted({genre for _, genres in films.values() for genre in genres if genre})
    about = {
        film: [*_of_year(title), *(float(each in genres) for each in known)] for film, (title, genres) in films.items()
    }
    return rating_dataset(name, ratings, about, lowest=0, highest=10)


def _of_year(title: str) -> tuple[float, float, float]:
    """Return what a title's year says: how late, its square, and whether the film was new."""
    found = re.search(r"\((\d{4})\)$", title)
    year = int(found[1]) if found else _CENTRE
    late = float(np.clip((year - _CENTRE) / _UNIT, -2, 1))
    return late, late**2, float(year >= _NEW)


def _lines(path: Path, cells: int) -> list[list[str]]:
    """Return the cells of each line; raise with the number of one that has others than it should."""
    rows = [line.strip().split("::") for line in path.read_text(encoding="utf-8").splitlines()]
    if wrong := [i for i, row in enumerate(rows, 1) if len(row) != cells]:
        raise MetaRLError(
            f"{path}, line {wrong[0]}: it has {len(rows[wrong[0] - 1])} cells, not {cells}; mend the file."
        )
    return rows
