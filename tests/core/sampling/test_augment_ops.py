"""Every operation against Pillow, or against its definition pixel by pixel; and the same change in every frame."""

import colorsys
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from tdpn_core.sampling.augment import RANDAUGMENT
from tdpn_core.sampling.augment_ops import FILL, Operation, operate

AMOUNTS: list[tuple[Operation, float]] = [
    ("identity", 0),
    ("auto_contrast", 0),
    ("equalise", 0),
    ("rotate", 17.0),
    ("rotate", -30.0),
    ("solarise", 100.0),
    ("saturation", 0.3),
    ("saturation", 1.8),
    ("posterise", 4),
    ("contrast", 0.4),
    ("contrast", 1.7),
    ("brightness", 0.5),
    ("brightness", 1.6),
    ("sharpness", 0.2),
    ("sharpness", 1.9),
    ("shear_x", 0.27),
    ("shear_y", -0.2),
    ("translate_x", 0.2),
    ("translate_y", -0.4),
    ("hue", 0.09),
    ("hue", -0.4),
]
POINTWISE = ("auto_contrast", "equalise", "solarise", "saturation", "posterise", "contrast", "brightness", "hue")
OF_THE_WHOLE_CLIP = ("auto_contrast", "equalise", "contrast")


def clip_of(frames: int = 3, height: int = 20, width: int = 28, seed: int = 0) -> torch.Tensor:
    """(3, T, H, W): blocks of random colours of a narrow range, brighter from frame to frame."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(20, 140, (3, frames, height // 4, width // 4)).repeat(4, axis=2).repeat(4, axis=3)
    noise = rng.integers(0, 20, (3, frames, height, width))
    return torch.from_numpy((blocks + noise + 25 * np.arange(frames)[:, None, None]).astype(np.uint8))


def pictures(clip: torch.Tensor) -> list[Image.Image]:
    return [Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy()) for frame in clip.unbind(1)]


def tall(clip: torch.Tensor) -> Image.Image:
    """All frames in one picture, one above the other: its statistics are the clip's."""
    return Image.fromarray(clip.permute(1, 2, 3, 0).flatten(0, 1).contiguous().numpy())


def untall(picture: Image.Image, like: torch.Tensor) -> torch.Tensor:
    rows = torch.from_numpy(np.array(picture))
    return rows.unflatten(0, like.shape[1:3]).permute(3, 0, 1, 2)


def pillow(picture: Image.Image, operation: str, amount: float) -> Image.Image:
    match operation:
        case "identity":
            return picture
        case "auto_contrast":
            return ImageOps.autocontrast(picture)
        case "equalise":
            return ImageOps.equalize(picture)
        case "solarise":
            return ImageOps.solarize(picture, int(amount))
        case "posterise":
            return ImageOps.posterize(picture, int(amount))
        case "saturation":
            return ImageEnhance.Color(picture).enhance(amount)
        case "contrast":
            return ImageEnhance.Contrast(picture).enhance(amount)
        case "brightness":
            return ImageEnhance.Brightness(picture).enhance(amount)
        case "sharpness":
            return ImageEnhance.Sharpness(picture).enhance(amount)
        case "rotate":
            return picture.rotate(amount, fillcolor=(FILL,) * 3)
    width, height = picture.size
    matrix = {
        "shear_x": (1, amount, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, amount, 1, 0),
        "translate_x": (1, 0, amount * width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, amount * height),
    }[operation]
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, fillcolor=(FILL,) * 3)


@pytest.mark.parametrize(("operation", "amount"), [case for case in AMOUNTS if case[0] in POINTWISE[:-1]])
def test_colours_change_as_in_pillow_on_all_frames_as_one_picture(operation: Operation, amount: float) -> None:
    clip = clip_of()
    expected = untall(pillow(tall(clip), operation, amount), clip)
    difference = (operate(clip, operation, amount).int() - expected.int()).abs()
    # Pillow cuts decimals off where these are rounded, and rounds the mean of its contrast to a whole number
    assert difference.max() <= (0 if operation in ("equalise", "solarise", "posterise") else 1)


@pytest.mark.parametrize("amount", [0.2, 1.9])
def test_sharpness_is_pillows_but_for_rounding(amount: float) -> None:
    clip = clip_of()
    expected = torch.stack([torch.from_numpy(np.array(pillow(p, "sharpness", amount))) for p in pictures(clip)])
    difference = (operate(clip, "sharpness", amount).int() - expected.permute(3, 0, 1, 2).int()).abs()
    assert difference.max() <= 2
    assert difference.float().mean() < 0.6


@pytest.mark.parametrize(
    ("operation", "amount"),
    [case for case in AMOUNTS if case[0] in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")],
)
def test_places_move_as_in_pillow(operation: Operation, amount: float) -> None:
    clip = clip_of(height=40, width=56)
    expected = torch.stack([torch.from_numpy(np.array(pillow(p, operation, amount))) for p in pictures(clip)])
    same = operate(clip, operation, amount) == expected.permute(3, 0, 1, 2)
    assert same.float().mean() > 0.995, "but for pixels whose source lies on the border of two"


def test_a_rotation_takes_every_pixel_from_where_the_definition_says() -> None:
    clip, angle = clip_of(2, 12, 16), 25.0
    rotated = operate(clip, "rotate", angle)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    for y in range(12):
        for x in range(16):
            across, down = x + 0.5 - 8, y + 0.5 - 6
            column, row = math.floor(cos * across - sin * down + 8), math.floor(sin * across + cos * down + 6)
            inside = 0 <= column < 16 and 0 <= row < 12
            expected = clip[:, :, row, column] if inside else torch.full((3, 2), FILL)
            assert torch.equal(rotated[:, :, y, x], expected.to(torch.uint8))


@pytest.mark.parametrize("turn", [0.09, -0.4, 0.5])
def test_hue_turns_as_in_colorsys(turn: float) -> None:
    clip = clip_of(2, 8, 8)
    clip[:, 0, 0, :3] = torch.tensor([[0, 255, 90], [0, 255, 90], [0, 255, 10]])  # black, white, a yellow
    turned = operate(clip, "hue", turn).flatten(1).T.tolist()
    for before, after in zip(clip.flatten(1).T.tolist(), turned, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before)
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        assert max(abs(a - b) for a, b in zip(after, expected, strict=True)) <= 0.51


def test_no_turn_and_a_whole_turn_of_the_hue_change_nothing() -> None:
    clip = clip_of()
    assert torch.equal(operate(clip, "hue", 0.0), clip)
    assert (operate(clip, "hue", 1.0).int() - clip.int()).abs().max() <= 1


@pytest.mark.parametrize(("operation", "amount"), AMOUNTS)
def test_equal_frames_stay_equal(operation: Operation, amount: float) -> None:
    clip = clip_of(1).expand(-1, 4, -1, -1)
    before = clip.clone()
    changed = operate(clip, operation, amount)
    assert changed.shape == clip.shape
    assert changed.dtype == torch.uint8
    assert all(torch.equal(changed[:, 0], changed[:, frame]) for frame in range(1, 4))
    assert torch.equal(clip, before), "the clip that came in is not written to"


@pytest.mark.parametrize(("operation", "amount"), [case for case in AMOUNTS if case[0] not in OF_THE_WHOLE_CLIP])
def test_frame_by_frame_is_the_same_as_the_whole_clip(operation: Operation, amount: float) -> None:
    clip = clip_of(4)
    by_frame = [operate(clip[:, frame : frame + 1], operation, amount) for frame in range(4)]
    assert torch.equal(torch.cat(by_frame, dim=1), operate(clip, operation, amount))


@pytest.mark.parametrize(("operation", "amount"), [case for case in AMOUNTS if case[0] in OF_THE_WHOLE_CLIP])
def test_what_depends_on_the_picture_changes_a_value_alike_in_every_frame(operation: Operation, amount: float) -> None:
    clip = clip_of(4)
    changed = operate(clip, operation, amount)
    assert not torch.equal(changed, clip)
    for before, after in zip(clip, changed, strict=True):
        table: dict[int, int] = {}
        for value, result in zip(before.flatten().tolist(), after.flatten().tolist(), strict=True):
            assert table.setdefault(value, result) == result


@pytest.mark.parametrize(("operation", "amount"), [(name, 0.0) for name in ("auto_contrast", "equalise", "hue")])
@pytest.mark.parametrize("value", [0, 77, 255])
def test_a_picture_of_one_colour_stays_what_it_is(operation: Operation, amount: float, value: int) -> None:
    clip = torch.full((3, 2, 8, 8), value, dtype=torch.uint8)
    assert torch.equal(operate(clip, operation, amount), clip)


@pytest.mark.parametrize(
    ("operation", "amount"),
    [("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("sharpness", 1.0), ("rotate", 0.0), ("shear_x", 0.0),
     ("shear_y", 0.0), ("translate_x", 0.0), ("translate_y", 0.0), ("posterise", 8), ("solarise", 256.0)],
)  # fmt: skip
def test_a_change_of_no_strength_is_none(operation: Operation, amount: float) -> None:
    clip = clip_of()
    assert torch.equal(operate(clip, operation, amount), clip)


def test_every_operation_of_randaugment_is_tested_here() -> None:
    assert set(RANDAUGMENT) | {"hue"} == {operation for operation, _ in AMOUNTS}
    assert len(RANDAUGMENT) == len(set(RANDAUGMENT)) == 14
