"""Trouble with one left-over, or with one tenant's store, is written down and holds up no other."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from control_plane.errors import StorageRefused, StorageUnavailable, TurnOver, Unavailable
from control_plane.sweeper.tally import Kind, Size, Tally

log = structlog.get_logger()


@contextmanager
def apart(tally: Tally, tenant: str, kind: Kind) -> Iterator[None]:
    """What goes wrong inside concerns this left-over alone; a store that does not answer, the tenant's others of this sweep, too.

    A store that answers and refuses may do so for this folder alone, and costs no time.

    Raises:
        Unavailable: without the database nothing can be swept.
    """
    try:
        yield
    except Unavailable:
        raise
    except TurnOver:
        log.warning("a tenant has more to sweep than one sweep does", tenant=tenant, kind=kind.value)
        tally.found(kind, Size())
        tally.kept(kind, "its tenant's turn was over; a later sweep goes on with it")
    except StorageRefused as error:
        log.warning("the store refuses to have a left-over swept", tenant=tenant, kind=kind.value, error=str(error))
        tally.found(kind, Size())
        tally.kept(kind, "the store does not let us")
    except StorageUnavailable as error:
        log.warning("a tenant's store could not be swept to its end", tenant=tenant, kind=kind.value, error=str(error))
        tally.unreachable.setdefault(tenant, error)
    except Exception as error:
        log.exception("a left-over could not be swept", tenant=tenant, kind=kind.value)
        tally.found(kind, Size())
        tally.kept(kind, f"it could not be swept ({type(error).__name__}); it is tried again")
