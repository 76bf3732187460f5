"""Declared preprocessing: the YAML type and its arithmetic on pixels and features. No data files here.

The order is fixed: colour → resize → centre crop → layout → ``(x · scale + offset - mean) / std`` → dtype.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from faultsim.data.spec import Array, show_shape
from faultsim.errors import DataError
from faultsim.specs.load import load

Size = (
    Annotated[int, Field(ge=1, le=65536)]
    | tuple[Annotated[int, Field(ge=1, le=65536)], Annotated[int, Field(ge=1, le=65536)]]
)
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Floats = NDArray[np.float64]
_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class Tokens(_Strict):
    """How a text or a file of token ids becomes windows for a language model.

    Attributes:
        vocabulary: File with one token a line (its line number, from 0, is its id), or a JSON object of token
            → id; relative to the YAML file. Needed for text; a file of ids has no need of one.
        window: Tokens a window; needed where the model leaves the length open and 64 is not right.
        level: What a token is in a text: words between blanks, or single characters.
        eos: Token that ends each line, ``None`` for none. Only used where the vocabulary has it.
        unknown: Token that stands for words outside the vocabulary; without it such a word is an error.
    """

    vocabulary: str | None = None
    window: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    level: Literal["word", "char"] = "word"
    eos: str | None = "<eos>"
    unknown: str | None = "<unk>"


class Preprocess(_Strict):
    """What is done to raw data before the model sees it.

    The file lies beside the data as ``<data file>.yaml`` (or ``<stem>.yaml``), or is given by
    ``--preprocess``.

    Attributes:
        input: Which input the image or feature steps are for; needed where the model has several.
        color: Colour order that the model wants; grey arrays are repeated for RGB and BGR. ``None``: as it
            is.
        resize: Pixels: one number for the shorter side (aspect kept), or ``[height, width]``.
        crop: Pixels: a square, or ``[height, width]``, cut from the centre (offsets rounded down).
        interpolation: Filter of the resize.
        data_layout: Axes of the raw array after the samples; ``NHWC`` for files of images. ``None``: NHW for
            three axes, NHWC for four.
        layout: Axes that the model wants. ``None``: axes stay as they are.
        scale: Factor on the raw values, a number or a fraction as text (``1/255``).
        offset: Added after the scale, in the unit of the scaled values.
        mean: Subtracted after the offset: one number, or one a channel (then `layout` is needed).
        std: Divided by last: one number, or one a channel.
        dtype: Type of the result; ``None``: the type that the model declares. Whole-number types are rounded
            to the nearest even, and a value that does not fit is an error.
        label_offset: Added to every label (1 where the model's class 0 is "background").
        fill: Inputs that the data do not hold, and the constant each is filled with.
        tokens: For language models.
    """

    input: str | None = None
    color: Literal["RGB", "BGR", "GRAY"] | None = None
    resize: Size | None = None
    crop: Size | None = None
    interpolation: Interpolation = "bilinear"
    data_layout: Literal["NHWC", "NCHW", "NHW"] | None = None
    layout: Literal["NCHW", "NHWC"] | None = None
    scale: float | Annotated[str, Field(pattern=r"^-?[0-9.]+/[0-9.]*[1-9][0-9.]*$")] = 1.0
    offset: float = 0.0
    mean: float | tuple[float, ...] = 0.0
    std: Annotated[float, Field(gt=0)] | tuple[Annotated[float, Field(gt=0)], ...] = 1.0
    dtype: Literal["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"] | None = None
    label_offset: int = 0
    fill: Mapping[str, float] = Field(default_factory=dict)
    tokens: Tokens | None = None

    @pydantic.field_validator("scale")
    @classmethod
    def _scale_is_a_number(cls, value: float | str) -> float | str:
        if isinstance(value, str):
            over, under = value.split("/")
            try:
                finite = math.isfinite(float(over) / float(under))
            except (ValueError, ZeroDivisionError):
                finite = False
            if not finite:
                raise ValueError(f"{value!r} is no fraction; write it like 1/255")
        return value

    @pydantic.model_validator(mode="after")
    def _channels_need_a_layout(self) -> "Preprocess":
        if self.layout is None and (isinstance(self.mean, tuple) or isinstance(self.std, tuple)):
            raise ValueError("mean and std with one number a channel need to know the axes; add layout: NCHW or NHWC")
        return self

    @property
    def ratio(self) -> tuple[float, float]:
        """The scale as numerator and denominator: x / 255 is right to the last bit, x · (1/255) is not."""
        if isinstance(self.scale, float | int):
            return float(self.scale), 1.0
        over, under = self.scale.split("/")
        return float(over), float(under)

    @property
    def pixels(self) -> bool:
        """Whether a step needs to know which axes are height, width and channel."""
        return any(step is not None for step in (self.color, self.resize, self.crop, self.layout, self.data_layout))

    @property
    def declares_steps(self) -> bool:
        """Whether the file says anything about values or places; if so, no automatic rule is applied."""
        return bool(self.model_fields_set - {"input", "fill", "tokens", "label_offset", "interpolation"})

    @property
    def arithmetic(self) -> bool:
        """Whether values change (and not only places)."""
        return (self.ratio, self.offset, self.mean, self.std) != ((1.0, 1.0), 0.0, 0.0, 1.0)

    def describe(self) -> str:
        """Return the steps in one line, as the report shows them."""
        hidden = {"input", "fill", "tokens", "label_offset"}
        given = self.model_dump(exclude_unset=True, exclude_none=True, exclude=hidden)
        return ", ".join(f"{key} {value}" for key, value in given.items()) or "nothing to do"


def load_preprocess(path: Path) -> Preprocess:
    """Return the preprocessing that a YAML file declares.

    Raises:
        SpecError: If the file cannot be read or is not what `Preprocess` asks for; every problem at once.
    """
    return load(path, Preprocess)


def to_nhwc(raw: Array, preprocess: Preprocess, what: str) -> Array:
    """Return raw images as samples × height × width × channels, in the asked colours, resized and cropped.

    Args:
        raw: Images, samples first: N×H×W, N×H×W×C or N×C×H×W as `Preprocess.data_layout` says.
        preprocess: The declared steps.
        what: What the images are, for messages.

    Raises:
        DataError: If the axes are not those of images, or a step cannot be done.
    """
    layout = preprocess.data_layout or {3: "NHW", 4: "NHWC"}.get(raw.ndim)
    if layout is None or raw.ndim != len(layout):
        raise DataError(
            f"{what} has shape {show_shape(raw.shape)}, but its preprocessing asks for images "
            f"({layout or 'NHW, NHWC or NCHW'}); set data_layout, or leave out color, resize, crop and layout"
        )
    images = raw[..., None] if layout == "NHW" else np.moveaxis(raw, 1, -1) if layout == "NCHW" else raw
    images = _colored(images, preprocess.color, what)
    if preprocess.resize is not None:
        images = _resized(images, preprocess.resize, preprocess.interpolation, what)
    return images if preprocess.crop is None else _cropped(images, preprocess.crop, what)


def _colored(images: Array, color: str | None, what: str) -> Array:
    channels = images.shape[-1]
    if color is None or channels == _CHANNELS[color]:
        return images[..., ::-1] if color == "BGR" else images
    if channels == 1:
        return np.repeat(images, 3, axis=-1)
    if color == "GRAY" and channels == 3 and images.dtype == np.uint8:
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]
    raise DataError(
        f"{what} has {channels} channels of {images.dtype}, which color: {color} cannot be made of; "
        "give uint8 images with 1 or 3 channels, or leave color out"
    )


def _resized(images: Array, size: int | tuple[int, int], interpolation: Interpolation, what: str) -> Array:
    if images.dtype != np.uint8 or images.shape[-1] not in (1, 3):
        raise DataError(
            f"{what} is {images.dtype} with {images.shape[-1]} channels, but resize works on uint8 images "
            "with 1 or 3; "
            "resize the data beforehand"
        )
    resample = Image.Resampling[interpolation.upper()]
    high, wide = resized_shape(images.shape[1:3], size)
    done = [
        np.asarray(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).resize((wide, high), resample))
        for image in np.ascontiguousarray(images)
    ]
    return np.stack(done).reshape(len(done), high, wide, images.shape[-1])


def resized_shape(shape: tuple[int, ...], size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width after a resize; one number is the shorter side, the other is rounded down.

    Examples:
        >>> resized_shape((375, 500), 256)
        (256, 341)
    """
    if isinstance(size, tuple):
        return size
    high, wide = shape[:2]
    short = min(high, wide)
    return (max(1, high * size // short), max(1, wide * size // short))


def _cropped(images: Array, size: int | tuple[int, int], what: str) -> Array:
    high, wide = (size, size) if isinstance(size, int) else size
    have_high, have_wide = images.shape[1:3]
    if high > have_high or wide > have_wide:
        raise DataError(
            f"{what} is {have_high}×{have_wide} pixels, smaller than crop: {high}×{wide}; add or enlarge resize"
        )
    top, left = (have_high - high) // 2, (have_wide - wide) // 2
    return images[:, top : top + high, left : left + wide]


def arithmetic(values: Array, preprocess: Preprocess, what: str) -> Floats:
    """Return ``(x · scale + offset - mean) / std`` in float64; `mean` and `std` go along the channel axis.

    Raises:
        DataError: If `mean` or `std` has another number of entries than there are channels.
    """
    over, under = preprocess.ratio
    out = np.asarray(values, dtype=np.float64) * over / under + preprocess.offset
    axis = 1 if preprocess.layout == "NCHW" else -1
    for key, sign in (("mean", -1), ("std", 0)):
        constant = np.asarray(getattr(preprocess, key), dtype=np.float64)
        if constant.ndim and constant.size != values.shape[axis]:
            raise DataError(
                f"{key} has {constant.size} entries, but {what} has {values.shape[axis]} channels; "
                "give one number, or one a channel"
            )
        if constant.ndim and axis == 1:
            constant = constant.reshape(-1, *[1] * (values.ndim - 2))
        out = out - constant if sign else out / constant
    return out
