"""MLPClassifier and MLPRegressor: scikit-learn's estimators, under its words, on fastnn's networks.

>>> from fastnn.sklearn import MLPClassifier
>>> classifier = MLPClassifier((100,), random_state=0).fit(x_train, y_train)
>>> classifier.score(x_test, y_test)
"""
try:
    from .classifier import MLPClassifier
    from .regressor import MLPRegressor
except ImportError as error:
    if (error.name or "").partition(".")[0] == "fastnn":
        raise
    raise ImportError("fastnn.sklearn needs scikit-learn 1.6 or later. "
                      'Install it with: pip install "fastnn-cpu[sklearn]"') from error

__all__ = ["MLPClassifier", "MLPRegressor"]
