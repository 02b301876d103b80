"""Reading bytes that anyone may have written."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eosflow.storage.errors import UserError

# A seek to where a damaged file points, which is before its start or beyond every end.
_OF_CONTENT = (None, errno.EINVAL, errno.EOVERFLOW)


@contextmanager
def foreign(refusal: Callable[[str], Exception]) -> Iterator[None]:
    """Refuse the bytes that are read inside, whatever a library raises on them.

    Parsers fail on hostile bytes in more ways than they document, so that no list of exceptions is
    complete. What the file system refuses is raised as it is, and so is a UserError.

    Raises: what `refusal` makes of the reason.
    """
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise refusal("it asks for more memory than there is") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno not in _OF_CONTENT:
            raise
        reason = str(error).split("\n")[0][:300] or type(error).__name__
        raise refusal(reason) from error
