"""The one-sweep engine: many sparse faults on shared clean activations. Nothing is handed on: import the modules."""
