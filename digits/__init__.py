"""Read handwritten digits.

>>> from digits import Classifier
>>> Classifier().read("examples/7_scan.png").label
'7'
"""

TYPE_CHECKING = False  # type checkers take it for True; to import typing would delay `digits.signals`

if TYPE_CHECKING:
    from digits.evaluation.classifier import Classifier

__all__ = ["Classifier"]


def __getattr__(name):
    """Import `Classifier` when it is first used: it imports Paddle, which takes seconds."""
    if name != "Classifier":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from digits.runtime import tune_cpu

    tune_cpu()  # before Paddle is imported
    from digits.evaluation.classifier import Classifier

    globals()[name] = Classifier  # found from now on without this function
    return Classifier
