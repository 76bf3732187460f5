"""Model-local functions for the tests, and what is asked of models with them. No test here."""

import numpy as np
import onnxruntime as ort
from graphs import F, model
from onnx import helper

OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
X = {"x": np.random.default_rng(4).normal(size=(3, 6)).astype(F)}


def function(name, inputs, outputs, nodes, *, domain="mine", attributes=(), defaults=()):
    return helper.make_function(
        domain, name, inputs, outputs, nodes, OPSETS, attributes=list(attributes), attribute_protos=list(defaults)
    )


def with_functions(nodes, functions, weights=(), *, domains=("mine",), rank=2):
    made = model(nodes, weights, domains=domains, rank=rank)
    made.functions.extend(functions)
    return made


def ort_run(proto):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, X)[0]


def facts(loaded):
    return {s.name: (s.layer, s.kind, s.role, s.depth, s.channel_axis) for s in loaded.sites}


def at(proto, path):
    place = proto
    for step in path:
        place = place[step] if isinstance(step, int) else getattr(place, step)
    return place
