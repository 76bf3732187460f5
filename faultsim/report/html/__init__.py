"""The report as one HTML file that needs no network, and its figures as files. Only names are handed on here."""

from faultsim.report.html.bundle import Bundle, read_bundle
from faultsim.report.html.figures import figures, write_figures
from faultsim.report.html.page import render_page

__all__ = ["Bundle", "figures", "read_bundle", "render_page", "write_figures"]
