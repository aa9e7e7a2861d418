"""What an event is: a value at or above a threshold, up to the rounding of stored numbers.

10 steps of 0.01 are 0.1 in a file, and 0.099999994 once float32 holds the step and the product.
"""

import numpy as np

# Unpacking and conversion of units round a few times: by so many times the type's precision.
ROUNDINGS = 8


def reaches(values, threshold, added=None):
    """Where values are at or above a threshold, an array of bool.

    Args:
        values: the values.
        threshold: the threshold, in their units.
        added: the largest constant that unpacking or a conversion has added to them, in their
            units; None for values that stand in their file as they are.
    """
    if added is None or values.dtype.kind != "f":
        return values >= threshold
    largest = max(abs(threshold), added)
    return values >= float(threshold - ROUNDINGS * np.finfo(values.dtype).eps * largest)


def in_words(threshold):
    """A threshold as text that no other threshold has: "0.1", "100013.25"."""
    texts = (f"{threshold:.{digits}g}" for digits in range(6, 18))
    return next(text for text in texts if float(text) == threshold)
