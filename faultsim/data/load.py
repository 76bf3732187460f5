"""The one door to data: which loader a source is for, sidecar files, and what happens without any data."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from faultsim.data.convert import family
from faultsim.data.dataset import ColumnData
from faultsim.data.fit import Raw, fit
from faultsim.data.function import is_function, read_function
from faultsim.data.images import check_without_steps, read_images, remaining
from faultsim.data.npz import read_npy, read_npz, token_array
from faultsim.data.preprocess import Preprocess, Tokens, load_preprocess
from faultsim.data.protos import is_data_set, read_protos
from faultsim.data.spec import DataSet, InputSpec
from faultsim.data.synthetic import synthetic
from faultsim.data.tokens import read_tokens
from faultsim.errors import DataError
from faultsim.library import closest

_TEXTS = (".txt", ".text", ".tokens", ".gz")
_KINDS = (
    ".npz, .npy, .txt (tokens), a .zip or folder of images, a folder with test_data_set_*/input_*.pb, "
    "or module:function"
)


def load_data(
    source: str | Path | None,
    *,
    model_path: Path | None,
    inputs: Sequence[InputSpec],
    preprocess: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    input_shape: Mapping[str, Sequence[int]] | None = None,
    label_axis: int | None = None,
) -> DataSet:
    """Return the samples that the model is scored on, checked against its inputs.

    Memory stays that of the batch asked for. Without *source* the data lie beside the model: ``model.npz``
    for ``model.onnx``, else ``test_data_set_*`` in its folder; without those, inputs are drawn. Preprocessing
    lies beside the data as ``data.npz.yaml`` or ``data.yaml`` (in a folder of images: ``preprocess.yaml``)
    unless it is given.

    Args:
        source: ``.npz``, ``.npy``, a text of tokens, a folder or ZIP of images, a folder of
            ``test_data_set_*``, ``module:function``, or ``None``.
        model_path: Where the model lies, for sidecar files; ``None`` for a model in memory.
        inputs: What the model declares.
        preprocess: A preprocessing file (`Preprocess`).
        limit: The first so many samples only, at least 1.
        seed: Seed of drawn inputs.
        input_shape: For drawn inputs, sizes of dimensions that the model leaves open, by input name.
        label_axis: The axis of the labels that counts the samples; told from the shapes where None.

    Returns:
        A data set; its `source` and `notes` belong into the report.

    Raises:
        DataError: If the data cannot be read or do not fit the model.
        SpecError: If the preprocessing file is not what it should be.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit} is out of range: give at least 1 sample")
    if not inputs:
        raise DataError("the model has no inputs, so no data can be given to it; check the model")
    if isinstance(source, str) and not source.strip():
        raise DataError(f"the path of the data is empty ({source!r}); give {_KINDS}, or leave --data out")
    found = beside(model_path) if source is None else source
    if found is None:
        if preprocess is not None:
            raise DataError(f"the preprocessing {preprocess} is given without data; add --data")
        return synthetic(inputs, seed=seed, samples=limit, input_shape=input_shape)
    if input_shape:
        raise DataError(f"--input-shape is for inputs that are drawn, and there are data, {found}; leave it out")
    if isinstance(found, str) and is_function(found) and not Path(found).exists():
        steps = load_preprocess(preprocess) if preprocess else None
        raw = read_function(found, inputs, limit=limit, label_axis=label_axis)
        return fit(raw, inputs, preprocess=steps, limit=limit, label_axis=label_axis)
    return _from_path(Path(found), inputs, preprocess, limit, label_axis)


def beside(model_path: Path | None) -> Path | None:
    """Return the samples that lie beside a model: ``model.npz``, or its folder with ``test_data_set_*``."""
    if model_path is None:
        return None
    arrays = model_path.with_suffix(".npz")
    if arrays.is_file():
        return arrays
    first = model_path.parent / "test_data_set_0"
    return model_path.parent if is_data_set(first) else None


def _from_path(
    path: Path,
    inputs: Sequence[InputSpec],
    preprocess: Path | None,
    limit: int | None,
    label_axis: int | None,
) -> ColumnData:
    if not path.exists():
        near = closest(path.name, [one.name for one in path.parent.iterdir()]) if path.parent.is_dir() else None
        raise DataError(f"{path} does not exist" + (f", did you mean {near!r}?" if near else f"; give {_KINDS}"))
    file = preprocess or _sidecar(path)
    steps = load_preprocess(file) if file else None
    base = file.parent if file else path.parent
    tokens = steps.tokens if steps and steps.tokens else Tokens()
    suffix = path.suffix.lower()
    if path.is_dir() and is_data_set(path):
        return fit(read_protos(path, inputs), inputs, preprocess=steps, limit=limit)
    if path.is_dir() or suffix == ".zip":
        return _images(path, inputs, steps, limit)
    if suffix in _TEXTS:
        return fit(
            read_tokens(path, None, inputs, tokens, base=base, limit=limit),
            inputs,
            preprocess=steps,
            limit=limit,
        )
    if suffix == ".npz":
        # A token is no sample, and neither is a time step or a row of what all samples share: the whole file is read.
        rows = None if _wants_tokens(inputs) or any(spec.batch_axis != 0 for spec in inputs) or label_axis else limit
        raw = read_npz(path, limit=rows)
    elif suffix == ".npy":
        raw = Raw({path.stem: read_npy(path)}, None, str(path), path.name)
    else:
        raise DataError(f"{path} is of no kind that can be read as data; give {_KINDS}")
    ids = token_array(raw) if _wants_tokens(inputs) else None
    if ids is not None:
        raw = read_tokens(path, ids, inputs, tokens, base=base, limit=limit)
    return fit(raw, inputs, preprocess=steps, limit=limit, label_axis=label_axis)


def _images(path: Path, inputs: Sequence[InputSpec], steps: Preprocess | None, limit: int | None) -> ColumnData:
    filled = steps.fill if steps else {}
    name = steps.input if steps else None
    fed = [spec for spec in inputs if spec.name not in filled and name in (None, spec.name)]
    if len(fed) != 1:
        raise DataError(
            f"images in {path} can feed one input, the model has {len(inputs)}; name it with input: in a "
            "preprocessing "
            "file and give the others a constant with fill:"
        )
    raw = read_images(path, fed[0], steps)
    left = remaining(steps)
    if left is None or not left.declares_steps:
        check_without_steps(fed[0], raw.arrays[fed[0].name], path)
    return fit(raw, inputs, preprocess=left, limit=limit)


def _wants_tokens(inputs: Sequence[InputSpec]) -> bool:
    return any(family(spec.dtype) == "int" and len(spec.shape) == 2 for spec in inputs)


def _sidecar(path: Path) -> Path | None:
    if path.is_dir():
        candidates = [path / "preprocess.yaml"]
    else:
        candidates = [path.with_name(f"{path.name}.yaml"), path.with_suffix(".yaml")]
    return next((one for one in candidates if one.is_file()), None)
