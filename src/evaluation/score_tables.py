"""Scores as tables of text."""

import math

import numpy as np

from src.evaluation.scores import CATEGORICAL, CONTINUOUS

LEADS_IN_A_ROW = 10


def lines(result):
    """Yields the lines of the tables of a `Verification.result`."""
    forecasts = result["forecasts"]
    yield "scores in the data's own units at each lead time, in frames; –: undefined"
    if result["climatology"]:
        yield f"climatology: {result['climatology']}"
    yield from _table(
        result["lead_times"],
        {(key, name): scores[key] for key in CONTINUOUS for name, scores in forecasts.items()},
    )
    keys = [*CATEGORICAL, *(f"fss_{n}" for n in result["neighbourhoods"])]
    for threshold, observed in result["observed"].items():
        share = np.mean(observed)
        share = "–" if np.isnan(share) else f"{share:.3%}"
        yield f"\nat or above {threshold}: {share} of the values"
        yield from _table(
            result["lead_times"],
            {
                (key, name): scores["at"][threshold][key]
                for key in keys
                for name, scores in forecasts.items()
            },
        )


def _table(lead_times, rows):
    """Lines with a column for each lead time, so many side by side."""
    for start in range(0, len(lead_times), LEADS_IN_A_ROW):
        some = slice(start, start + LEADS_IN_A_ROW)
        yield f"{'lead time':27}" + "".join(f"{lead:9}" for lead in lead_times[some])
        for (key, name), values in rows.items():
            yield f"{key:15}{name:12}" + "".join(_cell(value) for value in values[some])


def _cell(value):
    return f"{'–':>9}" if math.isnan(value) else f"{value:9.4g}"
