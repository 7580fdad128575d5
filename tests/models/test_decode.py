import io
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from models.decode import DecodeLimits, Picture, decode
from stream.errors import (
    AnimatedImage,
    ConfigurationError,
    ImageError,
    ImageTooLarge,
    MediaTypeMismatch,
    NotAnImage,
    TruncatedImage,
)
from tests.models.pictures import (
    animation,
    chunk,
    encoded,
    exif,
    gradient,
    segment,
    with_chunk,
    with_segment,
    with_size,
    with_webp_chunk,
)

JPEG = encoded(gradient(), "JPEG", quality=90)
PROGRESSIVE = encoded(gradient(), "JPEG", quality=90, progressive=True)
PNG = encoded(gradient(), "PNG")
WEBP = encoded(gradient(), "WEBP", quality=90)
LOSSLESS = encoded(gradient(), "WEBP", lossless=True)
GIF = encoded(gradient(), "GIF")
EVERY = {
    "jpeg": (JPEG, "image/jpeg"),
    "progressive": (PROGRESSIVE, "image/jpeg"),
    "png": (PNG, "image/png"),
    "webp": (WEBP, "image/webp"),
    "webp-lossless": (LOSSLESS, "image/webp"),
    "gif": (GIF, "image/gif"),
}
each = pytest.mark.parametrize(("data", "media_type"), EVERY.values(), ids=EVERY)


def reopened(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


def reference(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


class TestFormats:
    @each
    def test_every_format_gives_its_own_pixels(self, data, media_type):
        picture = decode(data, media_type)
        assert (picture.media_type, picture.width, picture.height, picture.frames) == (media_type, 48, 32, 1)
        np.testing.assert_array_equal(picture.pixels, reference(data))
        assert picture.pixels.dtype == np.uint8
        assert not picture.pixels.flags.writeable

    def test_the_event_need_not_say_a_type(self):
        assert decode(PNG).media_type == "image/png"

    @pytest.mark.parametrize("name", ["image/jpg", "IMAGE/JPEG", "image/pjpeg", "image/jpeg; charset=binary"])
    def test_other_names_of_a_type_are_known(self, name):
        assert decode(JPEG, name).media_type == "image/jpeg"

    def test_an_animated_gif_shows_its_first_frame_and_counts_the_rest(self):
        picture = decode(animation("GIF"), "image/gif")
        assert picture.frames == 3
        assert np.abs(picture.pixels.astype(int) - np.asarray(gradient())).mean() < 6

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_other_animations_are_refused(self, kind):
        with pytest.raises(AnimatedImage, match="animation of 3 frames"):
            decode(animation(kind))

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
    def test_the_picture_stands_upright(self, kind, orientation):
        data = encoded(gradient(), kind, exif=exif(orientation))
        picture = decode(data)
        np.testing.assert_array_equal(picture.pixels, reference(data))
        assert picture.pixels.shape == (picture.height, picture.width, 3)
        assert (picture.width, picture.height) == ((48, 32) if orientation < 5 else (32, 48))

    @pytest.mark.parametrize(
        "block",
        [
            b"Exif\0\0",
            b"Exif\0\0II*\0\xff\xff\xff\xff",
            b"XX",
            exif(77),
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\1\0\0\0\6",
        ],
        ids=["empty", "offset outside", "no byte order", "unknown value", "wrong type"],
    )
    def test_a_broken_exif_block_leaves_the_picture_as_it_is(self, block):
        np.testing.assert_array_equal(decode(with_chunk(PNG, b"eXIf", block)).pixels, decode(PNG).pixels)


class TestColours:
    @pytest.mark.parametrize(
        ("mode", "kind"), [("1", "PNG"), ("L", "PNG"), ("P", "PNG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("L", "GIF")]
    )
    def test_every_mode_becomes_rgb(self, mode, kind):
        data = encoded(gradient().convert(mode), kind)
        np.testing.assert_array_equal(decode(data).pixels, reference(data))

    def test_sixteen_bit_grey_keeps_its_upper_byte(self):
        samples = (np.arange(64 * 64, dtype=np.uint16) * 16).reshape(64, 64)
        pixels = decode(encoded(Image.fromarray(samples), "PNG")).pixels
        np.testing.assert_array_equal(pixels, np.repeat((samples >> 8).astype(np.uint8)[..., None], 3, axis=2))

    def test_sixteen_bit_colour_keeps_its_upper_byte(self):
        samples = np.random.default_rng(1).integers(0, 65536, (8, 8, 3)).astype(">u2")
        rows = b"".join(b"\0" + row.tobytes() for row in samples)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
        data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        np.testing.assert_array_equal(decode(data).pixels, (samples >> 8).astype(np.uint8))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_transparency_is_laid_over_white(self, kind):
        rgba = gradient().convert("RGBA")
        rgba.putalpha(Image.new("L", rgba.size, 0))
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        assert (decode(encoded(rgba, kind, **options)).pixels == 255).all()

    def test_half_transparency_is_half_white(self):
        grey = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
        assert abs(int(decode(encoded(grey, "PNG")).pixels[0, 0, 0]) - 127) <= 1

    def test_an_opaque_alpha_channel_changes_nothing(self):
        np.testing.assert_array_equal(decode(encoded(gradient().convert("RGBA"), "PNG")).pixels, decode(PNG).pixels)

    @pytest.mark.parametrize("kind", ["PNG", "GIF"])
    def test_a_transparent_palette_entry_is_white(self, kind):
        image = Image.new("P", (4, 4), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.putpixel((0, 0), 1)
        pixels = decode(encoded(image, kind, transparency=0)).pixels
        assert pixels[0, 0].tolist() == [200, 100, 50]
        assert pixels[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_picture_is_put_together_from_bands(mode, orientation):
    image = gradient(2100, 2050).convert(mode)
    options = {"transparency": 3} if mode == "P" else {}
    data = encoded(image, "PNG", exif=exif(orientation), compress_level=1, **options)
    rgba = Image.alpha_composite(Image.new("RGBA", image.size, "white"), reopened(data).convert("RGBA"))
    expected = np.asarray(rgba.convert("RGB"))
    np.testing.assert_array_equal(decode(data).pixels, np.rot90(expected, -1) if orientation == 6 else expected)


class TestRefusals:
    @pytest.mark.parametrize(
        "data", [b"", b"hello", b"%PDF-1.7", b"BM" + b"\0" * 60, b"\0\0\0\x1cftypheic", b"RIFF\0\0\0\0WAVE", b"II*\0"]
    )
    def test_nothing_else_is_opened(self, data):
        with pytest.raises(NotAnImage, match="no bytes" if not data else "they begin with"):
            decode(data)

    def test_other_formats_that_pillow_knows_are_not_opened(self):
        for kind in ("BMP", "TIFF", "PPM", "ICO", "TGA"):
            with pytest.raises(NotAnImage):
                decode(encoded(gradient(), kind))

    @pytest.mark.parametrize("said", ["image/png", "image/heic", "text/plain", ""])
    def test_the_event_must_not_say_another_type(self, said):
        with pytest.raises(MediaTypeMismatch, match="the bytes are image/jpeg"):
            decode(JPEG, said)

    def test_a_file_over_the_byte_limit_is_not_read(self):
        with pytest.raises(ImageTooLarge, match=r"more than 1,000"):
            decode(b"\0" * 1001, limits=DecodeLimits(max_bytes=1000))

    @each
    def test_a_picture_over_the_pixel_limit_is_not_decoded(self, data, media_type):
        with pytest.raises(ImageTooLarge, match="48×32 pixels, more than 1,000"):
            decode(data, media_type, DecodeLimits(max_pixels=1000))

    def test_a_pixel_limit_that_pillow_only_warns_of_is_refused(self):
        with pytest.raises(ConfigurationError):
            DecodeLimits(max_pixels=200_000_000)

    @each
    def test_every_cut_is_noticed_or_harmless(self, data, media_type):
        whole = decode(data).pixels
        for length in range(1, len(data), 7):
            try:
                picture = decode(data[:length])
            except ImageError:
                continue
            np.testing.assert_array_equal(picture.pixels, whole)

    @each
    def test_half_a_file_is_truncated(self, data, media_type):
        with pytest.raises(TruncatedImage):
            decode(data[: len(data) // 2])


class TestLyingHeaders:
    def test_a_jpeg_that_promises_far_more_than_it_holds(self):
        with pytest.raises(TruncatedImage, match="promises a picture of at least"):
            decode(with_size(JPEG, 6000, 6000))

    def test_a_jpeg_that_promises_too_much_to_open(self):
        with pytest.raises(ImageTooLarge, match="9000×9000"):
            decode(with_size(JPEG, 9000, 9000) + b"\0" * 400_000)

    @pytest.mark.parametrize("sides", [(0, 32), (48, 0)])
    def test_a_side_of_nothing(self, sides):
        with pytest.raises(TruncatedImage, match="pixels"):
            decode(with_size(JPEG, *sides))

    @pytest.mark.parametrize("sides", [(480, 320), (1, 70000), (49, 32)])
    def test_a_png_that_promises_more_than_it_holds(self, sides):
        header = chunk(b"IHDR", struct.pack(">II", *sides) + PNG[24:29])
        with pytest.raises(TruncatedImage):
            decode(PNG[:8] + header + PNG[33:])

    @pytest.mark.parametrize("data", [WEBP, LOSSLESS], ids=["lossy", "lossless"])
    def test_a_webp_whose_canvas_is_not_its_picture(self, data):
        canvas = b"\0" * 4 + struct.pack("<I", 99)[:3] + struct.pack("<I", 99)[:3]
        extended = data[:12] + b"VP8X" + struct.pack("<I", 10) + canvas + data[12:]
        with pytest.raises(TruncatedImage):
            decode(extended[:4] + struct.pack("<I", len(extended) - 8) + extended[8:])

    def test_a_gif_that_promises_more_than_it_holds(self):
        at = GIF.index(b",")
        with pytest.raises(TruncatedImage):
            decode(
                GIF[:6] + struct.pack("<HH", 480, 320) + GIF[10 : at + 5] + struct.pack("<HH", 480, 320) + GIF[at + 9 :]
            )


class TestStructure:
    @pytest.mark.parametrize(
        ("data", "says"),
        [
            (PNG[:8] + PNG[33:], "begin with one header"),
            (PNG[:33] + PNG[8:], "begin with one header"),
            (PNG[:8] + chunk(b"IHDR", b"\0" * 5) + PNG[33:], "begin with one header"),
            (PNG[:29] + b"\0\0\0\0" + PNG[33:], "checksum of the PNG's IHDR"),
            (PNG[:33] + chunk(b"IEND", b""), "holds no pixels"),
            (PNG[:33] + struct.pack(">I", 0xFFFFFFFF) + PNG[37:], "ends inside"),
            (PNG[:-12], "ends before its last chunk"),
            (JPEG[:2] + b"\xff\xd9", "holds no pixels"),
            (JPEG[:2] + segment(0xE0, b"JFIF") + JPEG[JPEG.index(b"\xff\xda") :], "no frame header"),
            (JPEG[:2] + JPEG[JPEG.index(b"\xff\xc0") :][:19] + JPEG[2:], "frame header cannot be read"),
            (JPEG[:2] + b"\xff\xe1\0\0", "ends inside its segment FFE1"),
            (JPEG[:3] + b"\0\0\0", "ends before its pixels"),
            (WEBP[:12], "says it has"),
            (b"RIFF\4\0\0\0WEBP", "holds no picture"),
            (b"RIFF\x0c\0\0\0WEBPVP8 \xff\0\0\0", "ends inside its VP8 chunk"),
            (GIF[:10], "inside its header"),
            (GIF[:-1], "before its trailer"),
            (GIF[:13] + b"\0" * 2000, "between two blocks"),
            (b"GIF89a\1\0\1\0\0\0\0;", "holds no picture"),
            (b"GIF89a\1\0\1\0\0\0\0,\0\0", "inside a frame's header"),
            (GIF[:-30], "before its trailer"),
        ],
    )
    def test_broken_containers_are_explained(self, data, says):
        with pytest.raises(ImageError, match=says):
            decode(data)

    def test_fill_bytes_and_lone_markers_between_segments_are_skipped(self):
        data = JPEG[:2] + b"\xff\xff\xff\x01" + b"junk" + JPEG[2:]
        np.testing.assert_array_equal(decode(data).pixels, decode(JPEG).pixels)

    def test_a_jpeg_of_many_scans_is_refused(self):
        scan = PROGRESSIVE.index(b"\xff\xda")
        with pytest.raises(ImageTooLarge, match="scans"):
            decode(PROGRESSIVE[:scan] + segment(0xDA, b"\1\1\0\0\0\0") * 300 + PROGRESSIVE[scan:])

    @pytest.mark.parametrize(
        "data",
        [
            JPEG[:2] + b"\xff\xd0" * 150_000 + JPEG[2:],
            PNG[:33] + chunk(b"IDAT", b"") * 150_000 + PNG[33:],
            b"RIFF\0\0\x40\0WEBP" + b"ALPH\0\0\0\0" * 600_000,
            b"GIF89a\1\0\1\0\0\0\0" + b"!\xf9\0" * 150_000,
        ],
        ids=["jpeg", "png", "webp", "gif"],
    )
    def test_a_file_of_countless_parts_is_refused(self, data):
        with pytest.raises(ImageTooLarge, match="100,000 parts"):
            decode(data)

    def test_what_follows_a_picture_is_ignored(self):
        for data, media_type in EVERY.values():
            np.testing.assert_array_equal(decode(data + JPEG * 3, media_type).pixels, decode(data).pixels)


class TestMetadata:
    LIMITS = DecodeLimits(max_metadata=100_000)

    @pytest.mark.parametrize(
        ("kind", "head"), [(b"zTXt", b"k\0\0"), (b"iCCP", b"k\0\0"), (b"iTXt", b"k\0\1\0en\0wort\0")]
    )
    def test_a_png_metadata_bomb_is_refused_before_it_goes_off(self, kind, head):
        bomb = with_chunk(PNG, kind, head + zlib.compress(b"\0" * 50_000_000, 9))
        assert len(bomb) < 100_000
        with pytest.raises(ImageTooLarge, match="metadata"):
            decode(bomb)

    def test_many_small_bombs_add_up(self):
        body = b"k\0\0" + zlib.compress(b"\0" * 60_000, 9)
        with pytest.raises(ImageTooLarge, match="metadata"):
            decode(with_chunk(with_chunk(PNG, b"zTXt", body), b"zTXt", body), limits=self.LIMITS)

    @pytest.mark.parametrize(
        "data",
        [
            with_chunk(PNG, b"tEXt", b"k\0" + b"x" * 200_000),
            with_chunk(PNG, b"eXIf", b"x" * 200_000),
            with_chunk(PNG, b"zTXt", b"k\0\0not zlib" + b"x" * 200_000),
            with_segment(JPEG, 0xE1, b"Exif\0\0" + b"x" * 60_000, times=3),
            with_segment(JPEG, 0xE2, b"ICC_PROFILE\0\1\3" + b"x" * 60_000, times=3),
            with_segment(JPEG, 0xFE, b"x" * 60_000, times=3),
            with_webp_chunk(LOSSLESS, b"ICCP", b"x" * 200_000),
            b"GIF89a\1\0\1\0\0\0\0!\xfe" + (b"\xff" + b"x" * 255) * 800 + b"\0",
        ],
    )
    def test_huge_metadata_is_refused(self, data):
        with pytest.raises(ImageTooLarge, match="metadata"):
            decode(data, limits=self.LIMITS)

    @pytest.mark.parametrize(
        "data",
        [
            with_chunk(PNG, b"iCCP", b"k\0\0" + zlib.compress(b"x" * 2_000_000)),
            with_chunk(PNG, b"tEXt", b"parameters\0a cat"),
            with_chunk(PNG, b"iTXt", b"plain\0\0\0\0\0a cat"),
        ],
    )
    def test_metadata_within_the_limit_does_not_reach_the_decoder(self, data):
        np.testing.assert_array_equal(decode(data).pixels, decode(PNG).pixels)

    def test_a_second_picture_announced_in_a_jpeg_is_not_looked_for(self):
        assert decode(with_segment(JPEG, 0xE2, b"MPF\0" + b"\xff" * 64)).media_type == "image/jpeg"


SEEDS = [
    JPEG,
    PROGRESSIVE,
    PNG,
    WEBP,
    LOSSLESS,
    GIF,
    *(animation(kind) for kind in ("GIF", "PNG", "WEBP")),
    encoded(gradient().convert("CMYK"), "JPEG"),
    encoded(gradient().convert("P"), "PNG", transparency=0),
    encoded(gradient(), "JPEG", exif=exif(6), icc_profile=b"x" * 200),
    encoded(gradient(), "WEBP", exif=exif(6)),
]


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, span = rng.randrange(len(out)), rng.randint(1, 12)
        match rng.randrange(5):
            case 0:
                out[at] = rng.randrange(256)
            case 1:
                out[at : at + span] = rng.randbytes(span)
            case 2:
                del out[at : at + span]
            case 3:
                out[at:at] = out[at : at + span * 4]
            case _:
                out[at] ^= 1 << rng.randrange(8)
        if len(out) < 20:
            break
    return bytes(out)


def repaired(data: bytes) -> bytes:
    """A PNG whose checksums fit again, so that mutations reach the decoder."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        out += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size])
        at += 12 + size
    return bytes(out)


def outcome(data: bytes) -> Picture | None:
    """The picture, or None where the file is refused; anything else is a failure."""
    try:
        return decode(data, limits=DecodeLimits(max_pixels=1_000_000))
    except ImageError:
        return None


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.integers(0, 2**32), st.booleans())
def test_mutated_files_give_a_picture_or_an_image_error(seed, number, repair):
    data = mutated(seed, random.Random(number))
    if repair and data.startswith(b"\x89PNG"):
        data = repaired(data)
    picture = outcome(data)
    assert picture is None or picture.pixels.shape == (picture.height, picture.width, 3)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"\xff\xd8\xff", PNG[:8], b"RIFF\x40\0\0\0WEBP", b"GIF89a"]), st.binary(max_size=200))
def test_noise_behind_magic_bytes_gives_a_picture_or_an_image_error(magic, noise):
    picture = outcome(magic + noise)
    assert picture is None or picture.pixels.dtype == np.uint8
