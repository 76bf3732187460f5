"""Sites for the tests of devices."""

from faultsim.corruption import Site
from faultsim.formats import FloatFormat

FLOAT = FloatFormat("float32")


def site(name, shape, role="weight", fmt=FLOAT, **more):
    return Site(name=name, shape=shape, format=fmt, layer=name, kind="conv", role=role, depth=0, **more)
