"""beartype as PEP 484 reads type hints: an int is welcome where a float is."""

import pandas as pd
from beartype import BeartypeConf, beartype

for _kind in (pd.Series, pd.Index):
    if not hasattr(_kind, "__class_getitem__"):  # in pandas 2, and the hook evaluates type hints
        _kind.__class_getitem__ = classmethod(lambda made, _: made)

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
