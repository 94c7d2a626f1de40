"""The layers against known answers, their boundaries and their gradients."""

import platform
import re
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sciffusion
from sciffusion.nn import runtime
from sciffusion.nn.layers import (
    BOUNDARIES,
    Attention,
    Conv,
    Downsample,
    ResidualBlock,
    Upsample,
    as_boundary,
    fold,
    group_norm,
    pad,
    unfold,
)

GRIDS = {1: (12,), 2: (6, 10), 3: (4, 6, 8)}
TORCH_MODE = {"periodic": "circular", "reflect": "reflect", "zero": "zeros"}
TORCH_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def field(ndim, channels=5, dtype=torch.float64, seed=0):
    return torch.randn(2, channels, *GRIDS[ndim], dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ndim", GRIDS)
@pytest.mark.parametrize("rule", BOUNDARIES)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolution_equals_torch_with_its_padding_mode(ndim, rule, kernel):
    ours = Conv(5, 7, (rule,) * ndim, kernel).double()
    theirs = TORCH_CONV[ndim](5, 7, kernel, padding=kernel // 2, padding_mode=TORCH_MODE[rule]).double()
    nn.init.normal_(ours.bias)
    theirs.load_state_dict(ours.state_dict())  # the stored layout is the natural one
    x = field(ndim)
    y = unfold(ours(fold(x, 1)), 1, ndim)
    torch.testing.assert_close(y, theirs(x))


def test_one_axis_as_one_row_equals_conv1d():
    layer = Conv(5, 7, ("zero",)).double()
    x = field(1)
    assert fold(x, 1).shape == (2, 5, 1, 12)
    torch.testing.assert_close(unfold(layer(fold(x, 1)), 1, 1), F.conv1d(x, layer.weight, layer.bias, padding=1))


@pytest.mark.parametrize("boundary", list(product(BOUNDARIES, repeat=2)))
def test_mixed_boundaries_pad_each_axis_by_its_own_rule(boundary):
    x = field(2)
    expected = x
    for axis, rule in enumerate(boundary):
        width = (0, 0) * (1 - axis) + (1, 2)
        mode = {"periodic": "circular", "reflect": "reflect", "zero": "constant"}[rule]
        full = width + (0, 0) * (2 - len(width) // 2)
        expected = F.pad(expected, full, mode)
    torch.testing.assert_close(pad(x, ((1, 2), (1, 2)), boundary), expected, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own forward derivatives
@pytest.mark.parametrize("ndim", GRIDS)
@pytest.mark.parametrize("rule", BOUNDARIES)
def test_padding_has_the_right_first_and_second_derivatives(ndim, rule):
    x = torch.randn(2, *(3,) * ndim, dtype=torch.float64, requires_grad=True)
    widths = tuple((min(axis, 2), 1) for axis in range(ndim))

    def function(x):
        return pad(x, widths, (rule,) * ndim).sin()

    assert torch.autograd.gradcheck(function, (x,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, (x,))


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 9),
    before=st.integers(0, 9),
    after=st.integers(0, 9),
    rule=st.sampled_from(BOUNDARIES),
)
def test_padding_continues_the_field(n, before, after, rule):
    limit = {"periodic": n, "reflect": n - 1, "zero": 9}[rule]
    before, after = min(before, limit), min(after, limit)
    y = pad(torch.arange(1.0, n + 1), [(before, after)], [rule]).tolist()
    for i, value in enumerate(y, start=-before):
        source = {"periodic": i % n, "reflect": min(abs(i), 2 * (n - 1) - i), "zero": i}[rule]
        assert value == (source + 1 if 0 <= source < n else 0)


def test_padding_keeps_channels_innermost_forward_and_backward():
    x = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    y = pad(x, ((1, 1), (1, 1)), ("periodic", "reflect"))
    assert y.is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("ndim", GRIDS)
@pytest.mark.parametrize("patch", [1, 2])
def test_unfold_inverts_fold_and_patches_stay_together(ndim, patch):
    x = field(ndim)
    h = fold(x, patch)
    assert h.shape[1] == 5 * patch**ndim
    assert h.movedim(1, -1).is_contiguous()
    torch.testing.assert_close(unfold(h, patch, ndim), x, rtol=0, atol=0)
    first = x[(0, slice(None), *(slice(patch),) * ndim)].flatten()
    torch.testing.assert_close(h[(0, slice(None), *(0,) * (h.ndim - 2))], first, rtol=0, atol=0)


@pytest.mark.parametrize("ndim", GRIDS)
def test_resampling_by_known_weights(ndim):
    down, up = Downsample(1, 1, ndim), Upsample(1, 1, ("periodic",) * ndim)
    for parameter in (*down.parameters(), *up.parameters()):
        nn.init.zeros_(parameter)
    nn.init.constant_(down.weight, 0.5**ndim)
    nn.init.ones_(up.mix.weight)
    x = field(ndim, channels=1, dtype=torch.float32)
    mean = x
    for axis in range(2, 2 + ndim):
        mean = mean.unflatten(axis, (-1, 2)).mean(axis + 1)
    coarse = down(fold(x, 1))
    torch.testing.assert_close(unfold(coarse, 1, ndim), mean)
    repeated = mean
    for axis in range(2, 2 + ndim):
        repeated = repeated.repeat_interleave(2, axis)
    torch.testing.assert_close(unfold(up(coarse), 1, ndim), repeated)


@pytest.mark.parametrize("ndim", GRIDS)
def test_attention_equals_its_formula_and_knows_no_positions(ndim):
    torch.manual_seed(0)
    layer = Attention(8, ("periodic",) * ndim, head_channels=4).double()
    nn.init.normal_(layer.out.weight)
    x = field(ndim, channels=8)
    y = unfold(layer(fold(x, 1)), 1, ndim)

    def linear(conv, tokens):
        return tokens @ conv.weight.flatten(1).T + conv.bias

    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    q, k, v = linear(layer.qkv, tokens).chunk(3, -1)
    heads = []
    for a, b, c in zip(q.split(4, -1), k.split(4, -1), v.split(4, -1)):
        heads.append((a @ b.transpose(1, 2) / 2).softmax(-1) @ c)
    expected = x + linear(layer.out, torch.cat(heads, -1)).transpose(1, 2).reshape_as(x)
    torch.testing.assert_close(y, expected)


def test_zero_start_makes_blocks_their_short_cuts():
    block = ResidualBlock(8, 8, ("periodic", "zero"), embed_channels=4, dropout=0.0)
    attention = Attention(8, ("periodic", "zero"), head_channels=8)
    x = fold(field(2, channels=8, dtype=torch.float32), 1)
    torch.testing.assert_close(attention(block(x, torch.randn(2, 4))), x, rtol=0, atol=0)


def test_embedding_modulates_a_block_and_dropout_acts_in_training_only():
    torch.manual_seed(0)
    block = ResidualBlock(8, 12, ("periodic",), embed_channels=4, dropout=0.5)
    nn.init.normal_(block.conv2.weight)
    x, embedding = fold(field(1, channels=8, dtype=torch.float32), 1), torch.randn(2, 4)
    assert not torch.equal(block(x, embedding), block(x, embedding))
    block.eval()
    assert torch.equal(block(x, embedding), block(x, embedding))
    assert not torch.allclose(block(x, embedding), block(x, embedding + 1))


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (24, 1), (32, 1), (48, 1), (64, 2), (96, 3), (112, 2)])
def test_groups_hold_at_least_32_channels(channels, groups):
    assert group_norm(channels).num_groups == groups


def test_boundaries_are_checked():
    assert as_boundary("reflect", 3) == ("reflect",) * 3
    assert as_boundary(["periodic", "zero"], 2) == ("periodic", "zero")
    with pytest.raises(ValueError, match="unknown boundary 'circular': choose from periodic, reflect, zero"):
        as_boundary("circular", 2)
    with pytest.raises(ValueError, match="one name for each of the 3 axes, got 2"):
        as_boundary(("zero", "zero"), 3)


def test_the_dimension_is_a_number_only_once():
    asking = re.compile(r"ndim == ?\d|ndim (not )?in [(\[{]|spatial_dims|len\(\w*dims\w*\) == ?\d")
    assert asking.search("if x.ndim == 2:")
    assert asking.search("if len(dims) == 3:")
    root = Path(sciffusion.__file__).parent
    found = [
        f"{path.relative_to(root)}:{number}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if asking.search(line)
    ]
    assert not found, "use x.ndim - 2 or len(dims), never ask for a number of dimensions:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor: 0\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 avx512f\n", False),
        ("", False),
    ],
)
def test_native_bf16_reads_the_flags_of_the_processor(tmp_path, monkeypatch, text, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    monkeypatch.setattr(runtime, "_CPUINFO", path)
    assert runtime.native_bf16("cpu") is expected
    with runtime.autocast("cpu"):
        assert torch.is_autocast_enabled("cpu") is expected


def test_no_processor_flags_mean_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_CPUINFO", tmp_path / "nothing")
    assert runtime.native_bf16() is False


def test_the_allocator_is_tuned_only_where_it_can_be_and_may(monkeypatch):
    monkeypatch.delenv(runtime.OPT_OUT, raising=False)
    gnu = platform.system() == "Linux" and platform.libc_ver()[0] == "glibc"
    try:
        assert runtime.tune_allocator() is gnu
        assert (torch.tensor([1e-39]) * 0.5).item() == 0.0
        monkeypatch.setenv(runtime.OPT_OUT, "1")
        assert runtime.tune_allocator() is False
        monkeypatch.delenv(runtime.OPT_OUT)
        monkeypatch.setattr(platform, "system", lambda: "Darwin")
        assert runtime.tune_allocator() is False
    finally:
        torch.set_flush_denormal(False)
