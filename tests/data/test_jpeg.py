import io

import numpy as np
import pytest
from PIL import Image

from harness.data.jpeg import decode, read_header
from harness.errors import DataError


def picture(height=97, width=131):
    """A smooth image of all colours."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (9, 13, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, form="JPEG", **options):
    """Return an image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation):
    """Return EXIF data with that orientation."""
    tags = Image.Exif()
    tags[0x112] = orientation
    return tags


FILES = {
    "420": encoded(picture(), quality=90),
    "422": encoded(picture(), subsampling=1),
    "444": encoded(picture(), subsampling=0),
    "progressive": encoded(picture(), progressive=True),
    "gray": encoded(picture().convert("L")),
    "cmyk": encoded(picture().convert("CMYK")),
    "cmyk 420": encoded(picture().convert("CMYK"), subsampling=2),
    "rgb colours": encoded(picture(), keep_rgb=True),
    "exif": encoded(picture(), exif=exif(6)),
    "tiny": encoded(picture(1, 1)),
    "png": encoded(picture(), "PNG"),
    "palette png": encoded(picture().quantize(16), "PNG"),
    "gray png": encoded(picture().convert("LA"), "PNG"),
    "bmp": encoded(picture(), "BMP"),
}


@pytest.mark.parametrize("name", FILES)
def test_pixels_equal_pillow(name):
    """Every form decodes to the pixels of Pillow's RGB conversion, in stored order."""
    with Image.open(io.BytesIO(FILES[name])) as image:
        expected = np.asarray(image.convert("RGB"))
    pixels = decode(FILES[name])
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, expected)


def test_stray_bytes_between_segments_are_harmless():
    """Bytes that libjpeg skips without losing a pixel are no fault, as they are none to Pillow."""
    data = FILES["420"][:-2] + b"\x00\x11" + FILES["420"][-2:]
    np.testing.assert_array_equal(decode(data), decode(FILES["420"]))


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"tiny"}))
def test_truncated_files_are_refused(name):
    """Half a file is refused, whatever its form."""
    with pytest.raises(DataError, match=r"broken|not an image"):
        decode(FILES[name][: len(FILES[name]) // 2])


@pytest.mark.parametrize(
    "data",
    [b"", b"no image", FILES["420"][:40], FILES["444"][:900] + b"\xff\xd9" * 3 + FILES["444"][906:]],
    ids=["empty", "text", "head alone", "spoilt inside"],
)
def test_other_bytes_are_refused(data):
    """What is no image, or lost pixels, is refused instead of filled with gray."""
    with pytest.raises(DataError):
        decode(data)


def test_sixteen_bits_are_refused():
    """Pixels beyond eight bits are refused, not clipped."""
    deep = encoded(Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)), "PNG")
    with pytest.raises(DataError, match="8 bits"):
        decode(deep)


def test_the_head_tells_size_mode_and_rotation(tmp_path):
    """A head says the stored size, the colours, the coding and the EXIF orientation."""
    path = tmp_path / "x.jpg"
    path.write_bytes(FILES["exif"])
    assert read_header(path) == (131, 97, "RGB", False, 6)
    path.write_bytes(FILES["progressive"])
    assert read_header(path).progressive
    path.write_bytes(b"text")
    with pytest.raises(DataError, match="not an image"):
        read_header(path)
