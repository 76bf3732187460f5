"""`Shown`: what a whole result does for a reader: plain values, rows, a data frame, a figure, a short text.

What is in a row lives in `tables.py`. Words and figures are made by the report, which lies above and is looked up by
name when it is first asked: a result that nobody shows loads none of it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from faultsim.errors import OptionError
from faultsim.results.base import Section

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_REPORT = "faultsim.report.notebook"


class Shown(Section):
    """A result as a whole, as a file holds it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON values, named as in its file."""
        return self.model_dump(mode="json", by_alias=True)

    def to_rows(self, table: str | None = None) -> list[dict[str, Any]]:
        """Return one table of the result as a list of rows, each a mapping from column to value.

        Args:
            table: Which one; where None the first that holds something, of an assessment its chips. A name that is none
                is refused with the names that there are.

        Raises:
            OptionError: If there is no such table.
        """
        from faultsim.results.tables import rows_of

        return rows_of(self, table)

    def to_pandas(self, table: str | None = None) -> "pd.DataFrame":
        """Return `to_rows` as a data frame of pandas, which faultsim does not bring along.

        Args:
            table: As for `to_rows`.

        Raises:
            OptionError: If pandas is not there, or there is no such table.
        """
        rows = self.to_rows(table)
        try:
            import pandas as pd
        except ImportError:
            raise OptionError("pandas is not installed; pip install pandas, or take to_rows()") from None
        return pd.DataFrame(rows)

    def plot(self, figure: str | None = None, *, ax: "Axes | None" = None) -> "Axes":
        """Draw one figure of the report on matplotlib axes, and return them.

        Args:
            figure: Its name, as of the files that ``faultsim report --figures`` writes; the first where None. A name
                that is none is refused with the names that there are.
            ax: Where to draw; new axes where None.

        Raises:
            OptionError: If there is no such figure, or nothing to draw.
        """
        axes: Axes = importlib.import_module(_REPORT).plot(self, figure, ax)
        return axes

    def __repr__(self) -> str:
        """Return the type, what it is of, and the answer in one line."""
        try:
            said: str = importlib.import_module(_REPORT).line(self)
        except Exception:  # what is shown in an error message must not fail: a half-made result
            return super().__repr__()
        return said

    def __str__(self) -> str:
        """Return what the command line prints of it."""
        try:
            said: str = importlib.import_module(_REPORT).text(self)
        except Exception:  # as above
            return super().__repr__()
        return said

    def _repr_html_(self) -> str | None:
        """Return it as a notebook shows it: the answer, its table and its first figure."""
        try:
            said: str = importlib.import_module(_REPORT).html(self)
        except Exception:  # the notebook falls back to the text
            return None
        return said
