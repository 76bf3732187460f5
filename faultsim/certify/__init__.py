"""Certificates: bounds on loss and accuracy over every corruption of a set, or the reason why none is known."""

from faultsim.certify.certificate import Certificate, NotCertifiedError
from faultsim.certify.certify import certify, why_coarse
from faultsim.certify.guard import Deployed

__all__ = ["Certificate", "Deployed", "NotCertifiedError", "certify", "why_coarse"]
