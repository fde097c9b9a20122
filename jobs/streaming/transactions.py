"""Up to when a stream's source can be read, though transactions of its producers are open."""

from collections.abc import Mapping

from jobs.bronze.topic import Ends


class Readable:
    """Looks at the ends of a topic now and then.

    What was appended before a look lies before the ends of all that it found. Once what can be read has come to these, all
    that was appended before that look can be read.
    """

    def __init__(self) -> None:
        self._looked = 0.0
        self._open: tuple[float, Mapping[int, Ends]] | None = None
        self.bound: float | None = None  # up to when all can be read; None while no transaction is open
        self.waiting = 0  # messages behind open transactions

    def look(self, ends: Mapping[int, Ends], *, at: float) -> None:
        """Take a look's ends, `at` being the time before it, in seconds since 1970."""
        self.waiting = sum(of.waiting for of in ends.values())
        if not self.waiting:
            self._open = self.bound = None
        elif self._open is None:
            self._open, self.bound = (at, ends), self._looked
        elif all(of.appended <= ends.get(partition, of).end for partition, of in self._open[1].items()):
            self._open, self.bound = (at, ends), self._open[0]
        self._looked = at
