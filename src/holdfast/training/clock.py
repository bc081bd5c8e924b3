"""How fast training is, and how long it will go on."""

import time


class Clock:
    """Images a second of this process's epoch, and the time left."""

    def __init__(self) -> None:
        self._began = self._epoch = time.monotonic()
        self._steps = self._images = 0
        self._seconds = 0.0

    def count(self, images: int) -> None:
        """A step is made."""
        self._steps += 1
        self._images += images

    def brief(self, steps: int) -> str:
        """For the progress bar, ``steps`` before the end."""
        now = time.monotonic()
        left = (now - self._began) / self._steps * steps
        speed = self._images / (now - self._epoch)
        return f"{speed:.0f} images/s, {left // 60:.0f}:{left % 60:02.0f} left"

    def stop(self) -> None:
        """The epoch's steps are made; validation comes."""
        self._seconds = time.monotonic() - self._epoch

    def restart(self) -> dict[str, float]:
        """The epoch's speed; the next begins. Of an epoch that was resumed only this part."""
        now = time.monotonic()
        found = {
            "seconds": self._seconds,
            "images_per_second": self._images / self._seconds,
            "validation_seconds": now - self._epoch - self._seconds,
        }
        self._images, self._epoch = 0, now
        return found
