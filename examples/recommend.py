"""A recommender of one's own ratings: learn of some users what matters, then go by five ratings of a new one."""

from dataclasses import replace

import numpy as np

from metarl.evaluation.fewshot_baselines import evaluate_baseline
from metarl.fewshot import EpisodeSpec, FewShot, preset_config, rating_dataset

GENRES = ("drama", "comedy", "horror")


def invented(users=150, films=80, seed=0):
    """Return ratings ``{user: {film: rating}}`` from 1 to 5, and ``{film: numbers that are known of it}``."""
    random = np.random.default_rng(seed)
    genre, quality = random.integers(len(GENRES), size=films), random.normal(size=films)
    about = {f"film {i}": [float(genre[i] == g) for g in range(len(GENRES))] for i in range(films)}
    ratings = {}
    for user in range(users):
        likes = random.normal(size=len(GENRES))
        told = 3 + 0.5 * random.normal() + 0.6 * quality + likes[genre] + 0.5 * random.normal(size=films)
        seen = random.permutation(films)[:30]
        ratings[f"user {user}"] = {f"film {i}": float(np.clip(round(told[i]), 1, 5)) for i in seen}
    return ratings, about


if __name__ == "__main__":
    ratings, about = invented()
    data = rating_dataset("films", ratings, about, lowest=1, highest=5, factors=4)
    model = FewShot("alpaca", data, replace(preset_config("alpaca"), iterations=150)).fit(data)

    episodes, unseen = EpisodeSpec(way=1, queries=30, support=5), data.split("test")
    error = model.score(unseen, episodes, len(unseen), measure="rmse").at().mean() ** 0.5
    biases = evaluate_baseline("biases", data, episodes, len(unseen), measure="rmse").at(1).value
    print(f"root mean squared error of {len(unseen)} unseen users, 5 ratings given: {error:.2f}; biases {biases:.2f}")

    names, samples = list(about), unseen.samples.numpy()
    new = {0: 5.0, 1: 2.0, 2: 4.0}  # a new user's ratings of the first three films
    user = model.adapt(samples[list(new)], list(new.values()))
    best = user.predict(samples)[:, 0].argsort()[::-1][:3]
    for i, sure in zip(best, user.predict_std(samples[best])[:, 0], strict=True):
        print(f"recommended: {names[i]}, {GENRES[about[names[i]].index(1)]}, give or take {sure:.1f}")
