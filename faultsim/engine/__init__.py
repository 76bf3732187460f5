"""Runs chips: a model under given numbers over a data set, counted. Nothing is handed on: import the modules."""
