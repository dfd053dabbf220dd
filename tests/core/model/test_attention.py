import itertools
import math

import pytest
import torch

from tdpn_core.errors import UsageError
from tdpn_core.model.attention import Attention, relative

CHANNELS, HEADS = 32, 4


def brute_force(attention, frame, row_of):
    """One frame (C, H, W), query by query; `row_of(table, offset)` gives the row of a relative offset."""
    C, H, W = frame.shape
    d = C // HEADS
    kernel = attention.qkv.weight.detach()[:, :, 0, 0, 0]
    q, k, v = torch.einsum("oc,chw->ohw", kernel, frame).reshape(3, HEADS, d, H, W)
    out = torch.zeros(HEADS, d, H, W, dtype=frame.dtype)
    places = list(itertools.product(range(H), range(W)))
    for head, (y, x) in itertools.product(range(HEADS), places):
        query = q[head, :, y, x]
        logits = []
        for ky, kx in places:
            r = row_of(attention.rel_height.detach(), ky - y) + row_of(attention.rel_width.detach(), kx - x)
            logits.append((query @ k[head, :, ky, kx] + query @ r) / math.sqrt(d))
        weights = torch.stack(logits).softmax(0)
        for weight, (ky, kx) in zip(weights, places, strict=True):
            out[head, :, y, x] += weight * v[head, :, ky, kx]
    return out.reshape(C, H, W)


def exact_row(table, offset):
    return table[offset + len(table) // 2]


def clamped_row(table, offset):
    reach = len(table) // 2
    return table[max(-reach, min(reach, offset)) + reach]


def interpolated_row(size):
    def row(table, offset):
        reach = len(table) // 2
        place = (offset * reach / (size - 1) if size > 1 else 0) + reach
        low = min(math.floor(place), 2 * reach)
        high = min(low + 1, 2 * reach)
        return table[low] * (1 - (place - low)) + table[high] * (place - low)

    return row


def build(size, **options):
    attention = Attention(CHANNELS, size, heads=HEADS, **options).double()
    torch.nn.init.normal_(attention.rel_height, std=0.5)
    torch.nn.init.normal_(attention.rel_width, std=0.5)
    return attention


def check(attention, H, W, row_of):
    x = torch.randn(2, CHANNELS, 3, H, W, dtype=torch.float64)
    out = attention(x)
    for n, t in itertools.product(range(2), range(3)):
        torch.testing.assert_close(out[n, :, t], brute_force(attention, x[n, :, t], row_of), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [(3, 3), (4, 2), (1, 1)])
def test_attention_is_the_formula_at_the_training_size(size):
    check(build(size), *size, exact_row)


@pytest.mark.parametrize(("H", "W"), [(5, 5), (2, 2), (2, 5)])
def test_clamped_positions_keep_known_offsets_and_repeat_the_edge_beyond(H, W):
    check(build((3, 3), position_resize="clamp"), H, W, clamped_row)


@pytest.mark.parametrize("side", [1, 2, 5, 6])
def test_interpolated_positions_are_linear_between_the_rows(side):
    check(build((3, 3), position_resize="interpolate"), side, side, interpolated_row(side))


def test_interpolation_treats_rows_and_columns_apart():
    attention = build((3, 3), position_resize="interpolate")
    table = attention.rel_height.detach()
    tall, wide = relative(table, 5, "interpolate"), relative(table, 2, "interpolate")
    assert torch.equal(tall[0, 0], table[2])
    assert torch.equal(tall[0, 4], table[4])
    assert torch.equal(wide[1, 0], table[0])
    assert attention(torch.randn(1, CHANNELS, 1, 5, 2, dtype=torch.float64)).shape == (1, CHANNELS, 1, 5, 2)


def test_the_error_setting_refuses_another_size_and_names_both():
    attention = build((3, 3), position_resize="error")
    check(attention, 3, 3, exact_row)
    with pytest.raises(UsageError, match="made for 3 positions per side, but the input has 5"):
        attention(torch.zeros(1, CHANNELS, 1, 3, 5, dtype=torch.float64))


def test_all_settings_are_bit_identical_at_the_training_size():
    x = torch.randn(1, CHANNELS, 2, 4, 3, dtype=torch.float64)
    plain = build((4, 3), position_resize="error")
    for setting in ("clamp", "interpolate"):
        other = build((4, 3), position_resize=setting)
        other.load_state_dict(plain.state_dict())
        assert torch.equal(other(x), plain(x))


def test_a_stride_averages_windows_of_the_attended_map():
    attention, strided = build((3, 5)), build((3, 5), stride=2)
    strided.load_state_dict(attention.state_dict())
    x = torch.randn(1, CHANNELS, 2, 3, 5, dtype=torch.float64)
    whole, out = attention(x), strided(x)
    assert out.shape == (1, CHANNELS, 2, 2, 3)
    torch.testing.assert_close(out[..., 0, 1], whole[..., 0:2, 2:4].mean((-1, -2)))
    torch.testing.assert_close(out[..., 1, 2], whole[..., 2, 4])


def test_the_tables_start_with_the_papers_deviation():
    table = Attention(512, (14, 14)).rel_height
    assert table.shape == (27, 128)
    assert table.std().item() == pytest.approx(128**-0.5, rel=0.05)
