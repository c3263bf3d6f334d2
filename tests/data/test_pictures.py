import io
import warnings

import fabricated
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from skdsam_jax.data.pictures import PictureError, central_box, crop, open_picture, pixels


def _encode(image, file_format="png", **arguments):
    stream = io.BytesIO()
    image.save(stream, file_format, **arguments)
    return stream.getvalue()


def _gradient(width=24, height=16):
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(
        np.stack([rows * 9, columns * 7, rows + columns], -1).astype(np.uint8), "RGB"
    )


@pytest.mark.parametrize("file_format", ["jpeg", "png", "webp"])
def test_colours_are_those_that_pillow_reads(file_format):
    encoded = _encode(_gradient(), file_format)
    found = pixels(open_picture(encoded))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, fabricated.decoded(encoded))


@pytest.mark.parametrize("file_format", ["jpeg", "png", "webp"])
def test_grey_becomes_three_equal_channels(file_format):
    encoded = _encode(_gradient().convert("L"), file_format, lossless=True)
    found = pixels(open_picture(encoded))
    assert found.shape == (16, 24, 3)
    np.testing.assert_array_equal(found[..., 0], found[..., 1])
    np.testing.assert_array_equal(found[..., 0], found[..., 2])


def test_sixteen_bits_are_scaled_and_not_clipped():
    levels = np.arange(24 * 16, dtype=np.uint16).reshape(16, 24) * 170
    found = pixels(open_picture(_encode(Image.fromarray(levels))))
    np.testing.assert_array_equal(found[..., 1], levels >> 8)


def test_cmyk_becomes_rgb():
    flat = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = pixels(open_picture(_encode(flat, "jpeg", quality=100)))
    assert np.all(np.abs(found.astype(int) - [255, 0, 0]) <= 3)


def test_a_palette_becomes_its_colours():
    flat = Image.new("P", (16, 16), 1)
    flat.putpalette([0, 0, 0, 10, 200, 30])
    assert np.all(pixels(open_picture(_encode(flat))) == [10, 200, 30])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white(mode):
    image = _gradient().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[0], [255]]), 8, 0).repeat(24, 1)))
    encoded = _encode(image.convert(mode), "png")
    found = pixels(open_picture(encoded))
    assert np.all(found[:8] == 255)
    if mode == "RGBA":
        np.testing.assert_array_equal(found[8:], np.asarray(_gradient())[8:])


def test_half_transparent_is_half_white():
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    assert np.all(np.abs(pixels(open_picture(_encode(image))).astype(int) - 127) <= 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = _encode(_gradient(), "jpeg", exif=exif, quality=95)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    np.testing.assert_array_equal(pixels(open_picture(encoded)), expected)
    # The same turned square, whether it is turned before or after it is cut.
    picture = open_picture(encoded)
    found = crop(picture, central_box(picture.size), 8).astype(int)
    upright = Image.fromarray(expected)
    direct = upright.crop(central_box(upright.size)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.abs(found - np.asarray(direct)).max() <= 1


def test_damaged_exif_data_is_no_matter():
    encoded = _encode(_gradient(), "jpeg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(pixels(open_picture(encoded)), fabricated.decoded(encoded))


@pytest.mark.parametrize("file_format", ["jpeg", "png"])
@pytest.mark.parametrize("box", [(0, 0, 16, 16), (3, 1, 20, 15), (0, 0, 24, 16)])
def test_a_crop_is_pillows(file_format, box):
    encoded = _encode(_gradient(), file_format)
    image = Image.open(io.BytesIO(encoded)).convert("RGB")
    expected = np.asarray(image.crop(box).resize((9, 9), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(crop(open_picture(encoded), box, 9), expected)


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    encoded = _encode(_gradient().resize((960, 640), Image.Resampling.BICUBIC), "jpeg", quality=95)
    picture = open_picture(encoded)
    box = central_box(picture.size)
    found = crop(picture, box, 32).astype(int)
    assert picture.size == (120, 80)
    whole = Image.open(io.BytesIO(encoded)).crop(box).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(found - np.asarray(whole)).mean() < 1


@given(width=st.integers(8, 2000), height=st.integers(8, 2000), share=st.floats(0.01, 1))
def test_the_central_box_is_a_square_in_the_middle(width, height, share):
    left, upper, right, lower = central_box((width, height), share)
    assert right - left == lower - upper == max(1, round(min(width, height) * share))
    assert 0 <= left <= (width - right) <= left + 1
    assert 0 <= upper <= (height - lower) <= upper + 1


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n", "is no picture that can be read"),
        (b"a text", "is no picture that can be read"),
        (fabricated.picture(0, size=(1, 1)), "is 1x1 pixels, at least 8x8 are needed"),
        (fabricated.picture(0, size=(300, 7)), "is 300x7 pixels, at least 8x8 are needed"),
    ],
)
def test_what_is_no_picture(encoded, reason):
    with pytest.raises(PictureError) as error:
        open_picture(encoded)
    assert str(error.value) == reason


@pytest.mark.parametrize("file_format", ["jpeg", "png", "webp"])
def test_a_picture_that_is_cut_short(file_format):
    encoded = fabricated.picture(0, size=(64, 64), file_format=file_format)
    with pytest.raises(PictureError, match=r"^(cannot be decoded \(|is no picture)"):
        pixels(open_picture(encoded[: len(encoded) * 2 // 3]))
