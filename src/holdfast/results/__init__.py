"""The run folder: where every computation ends, in per-example rows on disk.

    run.json        kind, settings as typed, versions, hardware, git revision, timing, results
    rows.csv        one row for each (cell, example), once the run is complete
    rows/           until then: one file for each finished chunk, renamed into place when whole
    images/         clean and adversarial images of the first examples, for the gallery
    lock.json       while it is written to: by which process

A killed run resumes at the missing chunk. A finished run is never changed, and a folder that holds
a run with other settings, or that another process writes to, is refused. A cell is one attack at
one size, or one certificate. A study's run.json names the folders of its runs, each with its own.
"""

from holdfast.results.fitting import Fitting, in_pieces
from holdfast.results.folder import clear_work, kept_or_temporary
from holdfast.results.part import Done, Engine, Missing, Part, Work, done, here
from holdfast.results.reading import (
    ABOUT,
    CLEAN,
    IMAGES,
    ROWS,
    read_about,
    read_images,
    read_rows,
    runs_in,
)
from holdfast.results.run import Run
from holdfast.results.sameness import same

__all__ = [
    "ABOUT",
    "CLEAN",
    "IMAGES",
    "ROWS",
    "Done",
    "Engine",
    "Fitting",
    "Missing",
    "Part",
    "Run",
    "Work",
    "clear_work",
    "done",
    "here",
    "in_pieces",
    "kept_or_temporary",
    "read_about",
    "read_images",
    "read_rows",
    "runs_in",
    "same",
]
