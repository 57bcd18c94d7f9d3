"""Shapes in annotations: `Float[Tensor, "T B"]` is a `Tensor` of floats with two dimensions.

To Python and to type checkers it is the type alone, and costs nothing. The test suite replaces
these names by jaxtyping's, which check in calls that each dimension has one size; see
tests/support/shape_checks.py and https://docs.kidger.site/jaxtyping/api/array/.

    "T B V"     three dimensions         "T B ..."   any number of further ones
    " K"        a single dimension: tools would take a bare word for the name of a type
    ""          a scalar
"""

from typing import Annotated as Bool
from typing import Annotated as Float
from typing import Annotated as Int
from typing import Annotated as Shaped
from typing import Annotated as UInt

__all__ = ["Bool", "Float", "Int", "Shaped", "UInt"]
