"""Workers: processes of this machine or of a Ray cluster that compute the chunks of a run.

The driver, which is the process that the user has started, is the only one that writes. It puts the
work, with model and data in it, into Ray's object store once, submits a task for each chunk that is
missing, and hands over what comes back in the order in which it comes. A chunk whose worker ends is
given to another one; if it ends three of them, the others are finished and the chunk is told of. A
driver that is killed goes on as any run does, with another number of workers if wanted: since every
draw is keyed, the rows are the same whoever computes them.
"""

from holdfast.workers.cluster import check_workers, connected
from holdfast.workers.engine import workers_at

__all__ = ["check_workers", "connected", "workers_at"]
