"""The error tree: everything a user's input can do wrong. No other code lives here.

The command line prints the message of any `FaultsimError` as one sentence and exits with 2; anything else that
escapes is a bug of ours and keeps its traceback.
"""


class FaultsimError(Exception):
    """Something the user gave cannot be used; the message says what, the value, what is allowed and what to do."""


class ModelError(FaultsimError):
    """The model file cannot be read, or it cannot be executed."""


class UnsupportedOpError(ModelError):
    """The graph holds an op that faultsim cannot execute."""


class DisagreementError(ModelError):
    """Our execution of the graph and onnxruntime's part by more than the tolerance."""


class DataError(FaultsimError):
    """The data cannot be read, or it does not fit the model or the task."""


class SpecError(FaultsimError):
    """A YAML file is not what its schema asks for; the message holds every problem, one a line, with its place."""


class DeviceError(FaultsimError):
    """The device cannot hold this model, or its parameters give no usable fault law or budget."""


class ConstraintError(FaultsimError):
    """A corruption set (p, eps, n) is empty or outside its range."""


class OptionError(FaultsimError):
    """An option or an argument of a call is out of its range."""
