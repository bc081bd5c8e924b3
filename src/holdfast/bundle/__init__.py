"""A study in one file, and whether what it says can be found in it again.

    write_bundle(["runs/eval", "runs/cert"], "study.zip")
    print(verify("study.zip").summary())

A bundle is a zip file of run folders and of all that was made of them: the report page, a test
report, a manifest with the checksum of each file. `verify` believes none of it: it makes again what
follows from the rows, and with the model asks again what the rows follow from. What it could not
check it says.
"""

from holdfast.bundle.finding import Finding, Verdict
from holdfast.bundle.verification import Verification, verify
from holdfast.bundle.writing import write_bundle

__all__ = ["Finding", "Verdict", "Verification", "verify", "write_bundle"]
