"""What a training run reports, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from fastconv import parameters


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the data: mean loss and accuracy while training, and on the validation data where there are any.

    ``number`` counts from 1; ``learning_rate`` is the first group's; ``seconds`` does not count in comparisons.
    """

    number: int
    loss: float
    accuracy: float
    learning_rate: float
    validation_loss: float | None
    validation_accuracy: float | None
    seconds: float = field(compare=False)

    @classmethod
    def of(cls, row: dict[str, Any]) -> Epoch:
        """An epoch from ``asdict``; raises TypeError or ValueError if it is something else."""
        parameters.integer("number", row.get("number"))
        for name, value in row.items():
            if value is None and not name.startswith("validation"):
                raise ValueError(f"{name} is missing")
            if value is not None and type(value) not in (int, float):
                raise TypeError(f"{name} is {value!r:.50}, not a number")
        return cls(**row)


@dataclass(slots=True)
class History:
    """The epochs of a run, oldest first; the columns are lists."""

    epochs: list[Epoch] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Epoch]:
        return iter(self.epochs)

    def __getitem__(self, index: int) -> Epoch:
        return self.epochs[index]

    @property
    def loss(self) -> list[float]:
        """The training losses."""
        return [epoch.loss for epoch in self.epochs]

    @property
    def accuracy(self) -> list[float]:
        """The training accuracies, measured while the weights changed."""
        return [epoch.accuracy for epoch in self.epochs]

    @property
    def validation_loss(self) -> list[float | None]:
        """The losses on the validation data."""
        return [epoch.validation_loss for epoch in self.epochs]

    @property
    def validation_accuracy(self) -> list[float | None]:
        """The accuracies on the validation data."""
        return [epoch.validation_accuracy for epoch in self.epochs]

    def rows(self) -> list[dict[str, Any]]:
        """Plain dictionaries, as for JSON."""
        return [asdict(epoch) for epoch in self.epochs]
