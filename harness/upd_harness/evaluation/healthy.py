"""The healthy images that baselines of a test set may learn from: those that models of its domain train on."""

from dataclasses import dataclass
from typing import Self

from upd_harness.evaluation.exposure import NAME as EXPOSURE
from upd_harness.evaluation.exposure import Exposure
from upd_harness.evaluation.gaussian import NAME as GAUSSIAN
from upd_zoo.artefact.records import Space
from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.stores.places import Part, store_name, store_path
from upd_zoo.stores.store import Store
from upd_zoo.vocabulary import DOMAINS, Protocol, TestSet


@dataclass(frozen=True, slots=True)
class Healthy:
    """Healthy images that were prepared as those of a test set.

    Attributes:
        store: Theirs; None where there is none.
        exposure: What their exposure is; None likewise.
        registered: Whether one pixel of all of them is one place.
        absence: Why there is none; empty where there is.
    """

    store: Store | None
    exposure: Exposure | None
    registered: bool
    absence: str = ""

    @classmethod
    def beside(cls, test_set: TestSet, store: Store) -> Self:
        """Look for the healthy training images of a test set's domain, beside its store.

        Args:
            test_set: Which.
            store: Its images.
        """
        space, domain = Space.of(store.facts.provenance), DOMAINS[test_set.domain]
        registered = space is not None or domain.registered
        protocol = Protocol(str(store.facts.provenance.get("protocol", Protocol.SOUND)))
        name = store_name(domain.id, Part.TRAIN, protocol, store.facts.side)
        try:
            healthy = Store(store_path(store.folder.parent.parent, *name))
            same = (healthy.facts.side, healthy.facts.channels, healthy.facts.scale, Space.of(healthy.facts.provenance))
            if same != (store.facts.side, store.facts.channels, store.facts.scale, space):
                different = f"{healthy.facts.name} and {store.facts.name} were not prepared in the same way"
                return cls(None, None, registered, different)
            return cls(healthy, Exposure.of(healthy), registered)
        except NotFoundError:
            return cls(None, None, registered, f"the store {name} is not prepared beside that of the test set")
        except IntegrityError as error:
            return cls(None, None, registered, f"the store {name} is damaged: {error.problem}")

    @property
    def brains(self) -> Store | None:
        """The store, where a pixel of it is a place."""
        return self.store if self.registered else None

    @property
    def left_out(self) -> dict[str, str]:
        """The baselines that cannot be had, and why."""
        learnt = (GAUSSIAN, EXPOSURE) if self.registered else (EXPOSURE,)
        return dict.fromkeys(learnt, self.absence) if self.absence else {}
