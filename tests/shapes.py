"""beartype as PEP 484 reads type hints: an int is welcome where a float is."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
