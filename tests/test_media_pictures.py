"""What is not noise is kept: keep-laws over real files of each format, then what happens to bad ones."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile
from skimage import data

from denoise.atomic import atomic
from denoise.errors import BadFile, Cancelled
from denoise.media import ifd
from denoise.media.formats import boxes
from denoise.media.picture import PictureFile, open_picture, save, white_of
from denoise.media.tags import Tags

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
EXIF_IFD, GPS_IFD = 34665, 34853
SIDES = st.integers(1, 33)
SRGB_UNMIXED = {
    "color_primaries": 1,
    "transfer_characteristics": 13,
    "matrix_coefficients": 0,
    "full_range_flag": 1,
}
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def exif(orientation: int = 6) -> bytes:
    """A TIFF block with a camera, an exposure, a maker's note and a place."""
    block = Image.Exif()
    block[ifd.ORIENTATION], block[271] = orientation, "Maker"
    block.get_ifd(EXIF_IFD).update({33434: (1, 50), 37500: b"private note of the maker"})
    block.get_ifd(GPS_IFD).update({1: "N", 2: (52.0, 31.0, 12.0)})
    return block.tobytes().removeprefix(b"Exif\0\0")


def said(block: bytes | None) -> dict[int, object]:
    """What an EXIF block says, as another program reads it."""
    told = Image.Exif()
    told.load(block or b"")
    return {**told, EXIF_IFD: dict(told.get_ifd(EXIF_IFD)), GPS_IFD: dict(told.get_ifd(GPS_IFD))}


def noise(height: int, width: int, samples: int, bits: int = 8, seed: int = 0) -> np.ndarray:
    kind = np.uint8 if bits <= 8 else np.uint16
    return np.random.default_rng(seed).integers(0, 2**bits, (height, width, samples), dtype=kind)


def photo(height: int = 48, width: int = 40, samples: int = 3, bits: int = 8) -> np.ndarray:
    """A piece of a real photograph; the fourth sample is a real alpha, with holes and slopes."""
    colour = data.astronaut()[100 : 100 + height, 180 : 180 + width].astype(np.float64)
    colour = colour[..., :1] if samples < 3 else colour
    alpha = data.camera()[150 : 150 + height, 200 : 200 + width, None][:, :, : samples in (2, 4)]
    values = np.concatenate([colour, alpha], axis=2) * ((2**bits - 1) / 255)
    return np.rint(values).astype(np.uint8 if bits == 8 else np.uint16)


def flat(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def write_png(path: Path, pixels: np.ndarray) -> None:
    encoded = imagecodecs.png_encode(flat(pixels))
    chunks = [
        (b"iCCP", b"mine\0\0" + zlib.compress(ICC)),
        (b"pHYs", struct.pack(">IIB", 11811, 11811, 1)),
        (b"tEXt", b"Comment\0a word"),
        (b"eXIf", exif()),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    ]
    packed = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    path.write_bytes(encoded[:33] + packed + encoded[33:])


def write_webp(path: Path, pixels: np.ndarray, lossless: bool = True) -> None:
    Image.fromarray(pixels).save(
        path, exact=True, lossless=lossless, exif=b"Exif\0\0" + exif(), icc_profile=ICC, xmp=XMP
    )


def write_avif(path: Path, pixels: np.ndarray, bits: int = 8, level: int = 100) -> None:
    matrix = {"primaries": 1, "transfer": 13, "matrix": 0 if level == 100 and pixels.shape[2] > 2 else 6}
    encoded = imagecodecs.avif_encode(flat(pixels), level, speed=9, bitspersample=bits, **matrix)
    path.write_bytes(boxes.with_metadata(encoded, Tags(exif(), ICC, XMP)))


def write_heif(path: Path, pixels: np.ndarray, bits: int = 8, lossless: bool = True) -> None:
    file = pillow_heif.HeifFile()
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[pixels.shape[2]] + (f";{bits}" if bits > 8 else "")
    added = file.add_frombytes(mode, pixels.shape[1::-1], pixels.tobytes())
    added.info.update(exif=b"Exif\0\0" + exif(1), icc_profile=ICC, icc_profile_type="prof", xmp=XMP)
    added.info["nclx_profile"] = {**SRGB_UNMIXED, "matrix_coefficients": 0 if lossless else 6}
    file.save(path, quality=-1 if lossless else 80, chroma=444 if lossless else 420)


def write_tiff(path: Path, pixels: np.ndarray, **how: object) -> None:
    """With an EXIF and a GPS directory, which tifffile cannot write: they are put behind its file."""
    colour = pixels.shape[2] > 2
    how = {"photometric": "rgb" if colour else "minisblack", "resolution": (300, 150), "iccprofile": ICC, **how}
    if pixels.shape[2] in (2, 4):
        how["extrasamples"] = ["unassalpha"]
    if how.pop("planar", False):
        how["planarconfig"] = "separate"
        pixels = np.moveaxis(pixels, 2, 0)
    else:
        pixels = flat(pixels)
    extra = [(ifd.ORIENTATION, 3, 1, 6, True), (700, 1, len(XMP), XMP, True), (271, 2, 0, "Maker", True)]
    tifffile.imwrite(path, pixels, extratags=extra, metadata=None, **how)


def again(source: PictureFile, target: Path) -> PictureFile:
    """Written without a change and opened once more."""
    save(target, source, (source.page(index).picture.pixels for index in range(source.pages)))
    return open_picture(target)


def same_pixels(one: PictureFile, two: PictureFile) -> bool:
    return one.pages == two.pages and all(
        np.array_equal(one.page(n).picture.pixels, two.page(n).picture.pixels)
        and one.page(n).picture.pixels.dtype == two.page(n).picture.pixels.dtype
        and one.page(n).picture.white == two.page(n).picture.white
        for n in range(one.pages)
    )


def same_alpha(one: PictureFile, two: PictureFile) -> bool:
    first, second = one.page().alpha, two.page().alpha
    return first is second is None or (first is not None and np.array_equal(first, second))


# ---- laws: pixels


@few
@given(height=SIDES, width=SIDES, samples=st.integers(1, 4), bits=st.sampled_from([8, 16]))
def test_png_returns_every_pixel(tmp_path, height, width, samples, bits):
    pixels = noise(height, width, samples, bits)
    write_png(tmp_path / "in.png", pixels)
    source = open_picture(tmp_path / "in.png")
    result = again(source, tmp_path / "out.png")
    assert np.array_equal(source.page().picture.pixels, pixels[..., : 3 if samples > 2 else 1])
    assert same_pixels(source, result)
    assert same_alpha(source, result)
    assert np.array_equal(imagecodecs.png_decode((tmp_path / "out.png").read_bytes()), flat(pixels))


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_png_may_be_a_narrow_strip(tmp_path, width, samples):
    write_tiff(tmp_path / "in.tif", noise(5000, width, samples))
    source = open_picture(tmp_path / "in.tif")
    assert same_pixels(source, again(source, tmp_path / "out.png"))


LAYOUTS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from([None, "lzw", "zlib", "zstd", "packbits", "lzma"]),
        "predictor": st.booleans(),
        "tile": st.sampled_from([None, (16, 16), (16, 32)]),
        "planar": st.booleans(),
        "byteorder": st.sampled_from("<>"),
        "bigtiff": st.booleans(),
        "rowsperstrip": st.sampled_from([None, 1, 5]),
    }
)


@settings(parent=few, max_examples=80)
@given(
    height=SIDES,
    width=SIDES,
    samples=st.integers(1, 4),
    kind=st.sampled_from(["u1", "u2", "f2", "f4", "f8"]),
    layout=LAYOUTS,
)
def test_tiff_returns_every_pixel_in_its_layout(tmp_path, height, width, samples, kind, layout):
    pixels = noise(height, width, samples, 8 if kind == "u1" else 16) / (1 if kind[0] == "u" else 2**16)
    layout = dict(layout)
    if layout["compression"] in (None, "packbits"):
        layout["predictor"] = False
    if layout["planar"] and samples < 3:
        layout["planar"] = False
    before, after = tmp_path / "in.tif", tmp_path / "out.tif"
    write_tiff(before, pixels.astype(kind), **layout)
    source = open_picture(before)
    result = again(source, after)
    assert np.array_equal(source.page().picture.pixels, pixels.astype(kind)[..., : 3 if samples > 2 else 1])
    assert same_pixels(source, result)
    assert same_alpha(source, result)
    with tifffile.TiffFile(before) as one, tifffile.TiffFile(after) as two:
        assert (one.byteorder, one.is_bigtiff) == (two.byteorder, two.is_bigtiff)
        for name in ("compression", "predictor", "planarconfig", "photometric", "extrasamples", "sampleformat"):
            assert getattr(one.pages[0], name) == getattr(two.pages[0], name), name
        assert one.pages[0].tile == two.pages[0].tile
        assert np.array_equal(one.asarray(), two.asarray())


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
def test_another_library_reads_our_tiffs(tmp_path, kind, order, tile, compression):
    pixels = photo().astype(kind)
    how = {"predictor": compression is not None, "compression": compression}
    write_tiff(tmp_path / "in.tif", pixels, byteorder=order, tile=tile, **how)
    again(open_picture(tmp_path / "in.tif"), tmp_path / "out.tif")
    assert np.array_equal(imagecodecs.tiff_decode((tmp_path / "out.tif").read_bytes()), pixels)


@few
@given(height=SIDES, width=SIDES, samples=st.sampled_from([3, 4]))
def test_lossless_webp_stays_lossless(tmp_path, height, width, samples):
    write_webp(tmp_path / "in.webp", noise(height, width, samples))
    source = open_picture(tmp_path / "in.webp")
    result = again(source, tmp_path / "out.webp")
    assert same_pixels(source, result)
    assert same_alpha(source, result)


@settings(parent=few, max_examples=15)
@given(height=SIDES, width=SIDES, samples=st.sampled_from([3, 4]), bits=st.sampled_from([8, 10, 12]))
def test_lossless_avif_stays_lossless_and_deep(tmp_path, height, width, samples, bits):
    pixels = noise(height, width, samples, bits)
    write_avif(tmp_path / "in.avif", pixels, bits)
    source = open_picture(tmp_path / "in.avif")
    assert np.array_equal(source.page().picture.pixels, pixels[..., :3])
    assert source.page().picture.white == 2**bits - 1
    result = again(source, tmp_path / "out.avif")
    assert same_pixels(source, result)
    assert same_alpha(source, result)


@settings(parent=few, max_examples=15)
@given(height=SIDES, width=SIDES, samples=st.sampled_from([3, 4]), bits=st.sampled_from([8, 10, 12]))
def test_lossless_heif_stays_lossless_and_deep(tmp_path, height, width, samples, bits):
    pixels = noise(height, width, samples, bits)
    write_heif(tmp_path / "in.heic", pixels, bits)
    source = open_picture(tmp_path / "in.heic")
    assert np.array_equal(source.page().picture.pixels, pixels[..., :3])
    assert source.page().picture.white == 2**bits - 1
    result = again(source, tmp_path / "out.heic")
    assert same_pixels(source, result)
    assert same_alpha(source, result)


LOSSY = {
    "webp": lambda path: write_webp(path, photo(samples=4), lossless=False),
    "avif": lambda path: write_avif(path, photo(samples=4), level=70),
    "heic": lambda path: write_heif(path, photo(samples=4), lossless=False),
    "png": lambda path: write_png(path, photo(samples=4)),
    "tif": lambda path: write_tiff(path, photo(samples=4)),
}


@pytest.mark.parametrize("suffix", LOSSY)
def test_alpha_is_kept_bit_for_bit_whatever_happens_to_the_colours(tmp_path, suffix):
    LOSSY[suffix](tmp_path / f"in.{suffix}")
    source = open_picture(tmp_path / f"in.{suffix}")
    changed = 255 - source.page().picture.pixels
    save(tmp_path / f"out.{suffix}", source, [changed])
    result = open_picture(tmp_path / f"out.{suffix}")
    assert result.page().alpha is not None
    assert same_alpha(source, result)
    assert np.abs(result.page().picture.pixels.astype(int) - changed).mean() < 4


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("suffix", ["webp", "heic"])
def test_a_profile_of_grey_does_not_go_into_colours_and_it_is_said(tmp_path, suffix, samples):
    grey = ICC[:16] + b"GRAY" + ICC[20:]
    Image.fromarray(flat(photo(samples=samples))).save(tmp_path / "in.png", icc_profile=grey)
    source = open_picture(tmp_path / "in.png")
    notes = save(tmp_path / f"out.{suffix}", source, [source.page().picture.pixels])
    colours = suffix == "webp" or samples == 2
    assert open_picture(tmp_path / f"out.{suffix}").tags().icc == (None if colours else grey)
    assert any("profile" in note for note in notes) == colours


def test_the_film_of_a_motion_photo_is_told_to_be_left_out(tmp_path):
    write_jpeg(tmp_path / "in.jpg", photo())
    assert open_picture(tmp_path / "in.jpg").notes == ()
    with (tmp_path / "in.jpg").open("ab") as file:
        file.write(boxes.box(b"ftyp", b"mp42\0\0\0\0isom") + boxes.box(b"mdat", bytes(200_000)))
    assert open_picture(tmp_path / "in.jpg").notes == ("the film behind the picture (motion photo) is left out",)


@pytest.mark.parametrize("suffix", ["webp", "avif", "heic", "jpg"])
def test_lossy_formats_stay_close_to_a_real_photograph(tmp_path, suffix):
    before, after = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    if suffix == "jpg":
        Image.fromarray(photo(96, 112)).save(before, quality=90)
    elif suffix == "webp":
        write_webp(before, photo(96, 112), lossless=False)
    else:
        {"avif": write_avif, "heic": write_heif}[suffix](before, photo(96, 112), **LOSSY_HOW[suffix])
    source = open_picture(before)
    result = again(source, after)
    error = source.page().picture.pixels.astype(float) - result.page().picture.pixels
    assert np.mean(error**2) < 255**2 / 10**3.8  # 38 dB


LOSSY_HOW: dict[str, dict[str, int]] = {"avif": {"level": 80}, "heic": {"lossless": False}}


# ---- laws: tags


def write_jpeg(path: Path, pixels: np.ndarray, **how: object) -> None:
    picture = Image.fromarray(flat(pixels))
    how = {"quality": 83, **how}
    picture.save(path, exif=b"Exif\0\0" + exif(), icc_profile=ICC, xmp=XMP, dpi=(240, 240), comment=b"a word", **how)


WRITERS = {
    "png": write_png,
    "jpg": write_jpeg,
    "tif": write_tiff,
    "webp": write_webp,
    "avif": write_avif,
    "heic": write_heif,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_exif_icc_xmp_and_resolution_are_kept(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"in.{suffix}", photo())
    source = open_picture(tmp_path / f"in.{suffix}")
    tags, kept = source.tags(), again(source, tmp_path / f"out.{suffix}").tags()
    assert tags.exif is not None
    assert (tags.icc, tags.xmp) == (ICC, XMP)
    assert (kept.exif, kept.icc, kept.xmp, kept.dpi) == (tags.exif, tags.icc, tags.xmp, tags.dpi)
    assert kept.orientation == tags.orientation == (1 if suffix == "heic" else 6)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif"])
def test_another_program_reads_the_same_exif(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"in.{suffix}", photo())
    again(open_picture(tmp_path / f"in.{suffix}"), tmp_path / f"out.{suffix}")
    with Image.open(tmp_path / f"out.{suffix}") as result:
        assert said(result.info["exif"]) == said(exif())
        assert result.info["icc_profile"] == ICC
        assert result.size == (40, 48)


@pytest.mark.parametrize(("origin", "target"), [*permutations(WRITERS, 2)])
def test_tags_travel_to_other_formats(tmp_path, origin, target):
    WRITERS[origin](tmp_path / f"in.{origin}", photo())
    source = open_picture(tmp_path / f"in.{origin}")
    kept = again(source, tmp_path / f"out.{target}").tags()
    assert (kept.icc, kept.xmp) == (ICC, XMP)
    assert kept.orientation == (1 if target == "heic" else source.tags().orientation)
    told, expected = said(kept.exif), said(source.tags().exif)
    assert told[271] == expected[271] == "Maker"
    assert told[EXIF_IFD] == expected[EXIF_IFD]
    assert told[GPS_IFD] == expected[GPS_IFD]


def test_resolution_travels_between_formats_that_have_one(tmp_path):
    write_jpeg(tmp_path / "in.jpg", photo())
    for suffix in ("png", "tif", "bmp"):
        result = again(open_picture(tmp_path / "in.jpg"), tmp_path / f"out.{suffix}")
        assert result.tags().resolution == pytest.approx((240, 240), abs=0.02)


def test_words_in_png_chunks_and_jpeg_segments_are_kept(tmp_path):
    write_png(tmp_path / "in.png", photo())
    write_jpeg(tmp_path / "in.jpg", photo())
    caption = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x09\x1c\x02\x78\0\x04word\0"
    original = (tmp_path / "in.jpg").read_bytes()
    segment = struct.pack(">BBH", 0xFF, 0xED, len(caption) + 2) + caption
    (tmp_path / "in.jpg").write_bytes(original[:2] + segment + original[2:])
    for name in ("in.png", "in.jpg"):
        again(open_picture(tmp_path / name), tmp_path / name.replace("in", "out"))
    assert b"tEXtComment\0a word" in (tmp_path / "out.png").read_bytes()
    assert segment in (tmp_path / "out.jpg").read_bytes()
    with Image.open(tmp_path / "out.jpg") as result:
        assert result.info["comment"] == b"a word"
        assert result.info["dpi"] == (240, 240)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_nested_directories_and_private_tags_of_a_tiff_are_kept(tmp_path, order, big):
    """A camera's TIFF: EXIF with a maker's note, GPS, Photoshop resources, a private tag."""
    _, entries = ifd.read_block(exif())
    layout = ifd.Layout(order, big)
    camera = ifd.entry(layout, 271, ifd.SHORT, 1)  # stands where the file's own order matters
    nested = [one for one in entries if one.code == EXIF_IFD]
    private = [ifd.blob(34377, ifd.BYTE, b"8BIM odd resource"), ifd.blob(65000, ifd.UNDEFINED, bytes(range(99)))]
    pixels = photo()
    storage = [
        ifd.entry(layout, 256, ifd.LONG, 40),
        ifd.entry(layout, 257, ifd.LONG, 48),
        ifd.entry(layout, 258, ifd.SHORT, 8, 8, 8),
        ifd.entry(layout, 262, ifd.SHORT, 2),
        ifd.entry(layout, 273, ifd.LONG, 16),
        ifd.entry(layout, 277, ifd.SHORT, 3),
        ifd.entry(layout, 279, ifd.LONG, pixels.nbytes),
    ]
    own = [camera, *private, *(nested if order == "<" else [])]  # Pillow's block is little endian
    at = 16 + pixels.nbytes
    body = layout.header(at).ljust(16, b"\0") + pixels.tobytes() + ifd.pack([*storage, *own], layout, at)
    (tmp_path / "in.tif").write_bytes(body)
    source = open_picture(tmp_path / "in.tif")
    result = again(source, tmp_path / "out.tif")
    assert same_pixels(source, result)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        kept = ifd.read(file.filehandle, file.pages[0].offset, layout)
        pointers = [tag.dtype for tag in file.pages[0].tags if tag.code == EXIF_IFD]
        places = [tag.valueoffset for tag in file.pages[0].tags if tag.valuebytecount > layout.inline]
    for one in own:
        assert ifd.find(kept, one.code).value == one.value
    assert pointers == ([ifd.IFD8 if big else ifd.LONG] if order == "<" else [])
    assert len(places) >= 2
    assert all(place % 2 == 0 for place in places)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_by_viewers_as_the_original_was(tmp_path, orientation):
    Image.fromarray(photo()).save(tmp_path / "in.avif", exif=b"Exif\0\0" + exif(orientation), quality=90)
    source = open_picture(tmp_path / "in.avif")
    result = again(source, tmp_path / "out.avif")
    assert source.tags().orientation == result.tags().orientation == orientation
    with Image.open(tmp_path / "out.avif") as seen:
        assert seen.getexif().get(ifd.ORIENTATION, 1) == orientation
    turns = [kind for kind, _ in boxes.properties((tmp_path / "out.avif").read_bytes()) if kind in (b"irot", b"imir")]
    assert turns == [
        kind for kind, _ in boxes.properties((tmp_path / "in.avif").read_bytes()) if kind in (b"irot", b"imir")
    ]


def test_heif_looks_the_same_although_its_reader_turns_it(tmp_path):
    """The decoder turns; a result that said so again would be turned twice."""
    pixels = photo()
    pillow_heif.encode(
        "RGB", (40, 48), pixels.tobytes(), str(tmp_path / "in.heic"), exif=b"Exif\0\0" + exif(6), quality=95
    )
    source = open_picture(tmp_path / "in.heic")
    assert (source.header().width, source.header().height) == (48, 40)
    result = again(source, tmp_path / "out.heic")
    assert (result.header().width, result.header().height) == (48, 40)
    error = np.rot90(pixels, -1).astype(int) - result.page().picture.pixels
    assert np.abs(error).mean() < 5


# ---- laws: the way JPEGs were made


@pytest.mark.parametrize("quality", [35, 75, 92, 98])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_keeps_tables_subsampling_and_scans(tmp_path, quality, subsampling, progressive):
    how = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    write_jpeg(tmp_path / "in.jpg", photo(), **how)
    again(open_picture(tmp_path / "in.jpg"), tmp_path / "out.jpg")
    with Image.open(tmp_path / "in.jpg") as one, Image.open(tmp_path / "out.jpg") as two:
        tables = [[jpeg.quantization[layer[3]] for layer in jpeg.layer] for jpeg in (one, two)]
        assert tables[0] == tables[1]
        assert [layer[1:3] for layer in one.layer] == [layer[1:3] for layer in two.layer]
        assert ("progressive" in one.info) == ("progressive" in two.info) == progressive


def test_rewriting_a_jpeg_adds_next_to_nothing(tmp_path):
    """Same tables, same grid: a second encoding may not cost what a first one cost."""
    original = photo(96, 96)
    write_jpeg(tmp_path / "in.jpg", original, quality=75)
    source = open_picture(tmp_path / "in.jpg")
    first = source.page().picture.pixels.astype(float)
    second = again(source, tmp_path / "out.jpg").page().picture.pixels
    assert np.mean((second - first) ** 2) < 0.1 * np.mean((first - original) ** 2)


@pytest.mark.parametrize("progressive", [False, True])
def test_the_noisiest_jpeg_can_be_rewritten(tmp_path, monkeypatch, progressive):
    how = {"quality": 100, "subsampling": 0, "progressive": progressive}
    with monkeypatch.context() as patched:
        patched.setattr(ImageFile, "MAXBLOCK", 1 << 20)  # Pillow's own buffer is too small for such a file
        Image.fromarray(noise(300, 200, 3)).save(tmp_path / "in.jpg", **how)
    source = open_picture(tmp_path / "in.jpg")
    error = again(source, tmp_path / "out.jpg").page().picture.pixels - source.page().picture.pixels.astype(int)
    assert np.abs(error).mean() < 1


def test_grey_jpeg_stays_grey(tmp_path):
    write_jpeg(tmp_path / "in.jpg", photo(samples=1))
    result = again(open_picture(tmp_path / "in.jpg"), tmp_path / "out.jpg")
    assert result.header().channels == 1


# ---- laws: pages


@few
@given(count=st.integers(1, 6), compression=st.sampled_from([None, "zlib"]), order=st.sampled_from("<>"))
def test_stacks_keep_their_pages_each_with_its_own_words(tmp_path, count, compression, order):
    pages = [noise(5 + n, 9, 1, 16, seed=n)[..., 0] for n in range(count)]
    with tifffile.TiffWriter(tmp_path / "in.tif", byteorder=order) as file:
        for n, page in enumerate(pages):
            file.write(page, compression=compression, description=f"page {n}", metadata=None, photometric="minisblack")
    source = open_picture(tmp_path / "in.tif")
    assert source.pages == count
    result = again(source, tmp_path / "out.tif")
    assert same_pixels(source, result)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert [page.description for page in file.pages] == [f"page {n}" for n in range(count)]


def test_an_imagej_stack_stays_one(tmp_path):
    stack = np.stack([noise(12, 14, 1, 16, seed=n)[..., 0] for n in range(7)])
    tifffile.imwrite(tmp_path / "in.tif", stack, imagej=True, metadata={"axes": "ZYX", "spacing": 0.5})
    source = open_picture(tmp_path / "in.tif")
    assert source.pages == 7
    again(source, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata["spacing"] == 0.5
        assert np.array_equal(file.asarray(), stack)
        places = [page.dataoffsets[0] for page in file.pages]
    assert np.all(np.diff(places) == stack[0].nbytes)  # ImageJ reads a stack as one block


def test_heif_keeps_all_pictures_and_which_is_the_main_one(tmp_path):
    file = pillow_heif.HeifFile()
    for size in (20, 30, 40):
        file.add_frombytes("RGB", (size, size), photo(size, size).tobytes())
    file.save(tmp_path / "in.heic", quality=90, primary_index=1)
    source = open_picture(tmp_path / "in.heic")
    result = again(source, tmp_path / "out.heic")
    assert [result.header(n).width for n in range(result.pages)] == [20, 30, 40]
    assert pillow_heif.open_heif(tmp_path / "out.heic").primary_index == 1


def test_pages_are_decoded_one_at_a_time_and_not_twice(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", noise(9, 9, 3)[None].repeat(3, 0), photometric="rgb")
    source = open_picture(tmp_path / "in.tif")
    asked = []
    decode = source.reader.pixels
    source.reader.pixels = lambda page: asked.append(page) or decode(page)
    held = source.page(1).picture
    assert source.page(1).picture is held
    assert asked == [1]
    del held
    source.page(1)
    assert asked == [1, 1]


def test_too_few_or_too_many_pages_write_nothing(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", noise(9, 9, 3)[None].repeat(3, 0), photometric="rgb")
    source = open_picture(tmp_path / "in.tif")
    for count in (2, 4):
        with pytest.raises(ValueError, match="zip"):
            save(tmp_path / "out.tif", source, [noise(9, 9, 3)] * count)
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


# ---- kinds of pixels


def test_palettes_bits_and_transparent_colours_become_plain_pixels(tmp_path):
    grey = Image.fromarray(data.camera()[::16, ::16])
    grey.convert("1").save(tmp_path / "bits.png")
    Image.fromarray(photo()).quantize(16).save(tmp_path / "palette.png", bits=4)
    Image.fromarray(photo()).quantize(200).save(tmp_path / "palette.gif", transparency=3)
    Image.fromarray(photo()).save(tmp_path / "hole.png", transparency=(1, 2, 3))
    grey.convert("1").save(tmp_path / "fax.tif", compression="group4")
    Image.fromarray(photo()).quantize(16).save(tmp_path / "palette.tif")
    for name, (colour, words) in {
        "bits.png": ("grey", "1-bit grey widened to 8 bits"),
        "palette.png": ("RGB", "palette expanded to 8-bit colour"),
        "palette.gif": ("RGB with alpha", "palette expanded to 8-bit colour"),
        "hole.png": ("RGB with alpha", "transparent colour turned into an alpha channel"),
        "fax.tif": ("grey", "1-bit grey widened to 8 bits"),
        "palette.tif": ("RGB", "palette expanded to 8-bit colour"),
    }.items():
        source = open_picture(tmp_path / name)
        assert source.header().colour == colour
        assert words in source.notes
        with Image.open(tmp_path / name) as picture:
            expected = np.asarray(picture.convert({"grey": "L", "RGB": "RGB"}.get(colour, "RGBA")))
        shown = source.page().picture.pixels
        assert np.array_equal(shown, expected.reshape(*expected.shape[:2], -1)[..., : shown.shape[2]]), name
        result = again(source, tmp_path / f"out_{name}".replace(Path(name).suffix, source.suffix))
        assert same_pixels(source, result)
        assert same_alpha(source, result)


@pytest.mark.parametrize("suffix", [".heic", ".webp"])
def test_grey_with_alpha_becomes_colour_where_there_is_none_and_it_is_said(tmp_path, suffix):
    Image.fromarray(photo(samples=2)).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png") as source:
        notes = save(tmp_path / f"b{suffix}", source, [source.page().picture.pixels])
        with open_picture(tmp_path / f"b{suffix}") as result:
            assert any("colour" in note for note in notes)
            assert np.array_equal(result.page().alpha, source.page().alpha)
            assert result.page().picture.pixels.shape[2] == 3


@pytest.mark.parametrize("samples", [2, 4])
def test_alpha_is_left_out_of_a_bmp_and_it_is_said(tmp_path, samples):
    Image.fromarray(photo(samples=samples)).save(tmp_path / "a.png")
    with open_picture(tmp_path / "a.png") as source:
        assert save(tmp_path / "b.bmp", source, [source.page().picture.pixels]) == [
            "BMP holds no transparency: alpha is left out"
        ]
        assert same_pixels(source, open_picture(tmp_path / "b.bmp"))


def test_what_a_bmp_cannot_tell_is_said(tmp_path):
    write_jpeg(tmp_path / "in.jpg", photo())
    with open_picture(tmp_path / "in.jpg") as source:
        notes = save(tmp_path / "out.bmp", source, [source.page().picture.pixels])
    assert notes == [
        "BMP holds no EXIF, colour profile, XMP: left out",
        "BMP holds no orientation: it is shown as stored and not as the original was turned; PNG and TIFF hold it",
    ]


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "avif", "heic", "bmp"])
def test_words_of_a_png_that_go_nowhere_else_are_told(tmp_path, suffix):
    write_png(tmp_path / "in.png", photo())
    with open_picture(tmp_path / "in.png") as source:
        pixels = source.page().picture.pixels
        assert "descriptions of the PNG (tEXt) are left out" in save(tmp_path / f"out.{suffix}", source, [pixels])
        assert save(tmp_path / "out.png", source, [pixels]) == []


def test_white_is_zero_reads_as_light_and_is_written_as_it_was(tmp_path):
    stored = photo(samples=1)
    write_tiff(tmp_path / "in.tif", stored, photometric="miniswhite")
    source = open_picture(tmp_path / "in.tif")
    assert np.array_equal(source.page().picture.pixels, 255 - stored)
    again(source, tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
        assert np.array_equal(file.asarray(), stored[..., 0])


def test_twelve_bits_in_a_tiff_stay_twelve(tmp_path):
    pixels = noise(17, 13, 1, 12)
    tifffile.imwrite(tmp_path / "in.tif", pixels[..., 0], bitspersample=12)
    source = open_picture(tmp_path / "in.tif")
    assert source.page().picture.white == 4095
    result = again(source, tmp_path / "out.tif")
    assert same_pixels(source, result)
    assert result.header().bits == 12


def test_jpeg_inside_a_tiff_becomes_lossless_and_it_is_said(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", photo(), compression="jpeg", photometric="rgb")
    source = open_picture(tmp_path / "in.tif")
    notes = save(tmp_path / "out.tif", source, [source.page().picture.pixels])
    assert any("JPEG compression" in note for note in notes)
    assert same_pixels(source, open_picture(tmp_path / "out.tif"))


# ---- from one depth to another, never silently


def test_sixteen_bits_into_jpeg_are_rounded_and_it_is_said(tmp_path):
    deep = photo(samples=4, bits=16)
    write_png(tmp_path / "in.png", deep)
    source = open_picture(tmp_path / "in.png")
    notes = save(tmp_path / "out.jpg", source, [source.page().picture.pixels])
    assert "JPEG holds 8-bit samples: 16-bit picture reduced" in notes
    assert any("alpha is left out" in note for note in notes)
    notes = save(tmp_path / "out.webp", source, [source.page().picture.pixels])
    assert any("written with loss" in note for note in notes)
    save(tmp_path / "out.bmp", source, [source.page().picture.pixels])
    assert np.array_equal(open_picture(tmp_path / "out.bmp").page().picture.pixels, photo())


def test_reduced_depth_is_rounded_to_the_nearest(tmp_path):
    ramp = np.arange(2**16, dtype=np.uint16).reshape(256, 256, 1)
    write_png(tmp_path / "in.png", ramp)
    result = again(open_picture(tmp_path / "in.png"), tmp_path / "out.bmp").page().picture.pixels
    assert np.abs(result * 257.0 - ramp).max() <= 128


def test_widening_can_be_undone(tmp_path):
    write_avif(tmp_path / "in.avif", noise(20, 20, 3, 10), 10)
    source = open_picture(tmp_path / "in.avif")
    notes = save(tmp_path / "out.png", source, [source.page().picture.pixels])
    wide = open_picture(tmp_path / "out.png").page().picture
    assert notes == []
    assert wide.white == 65535
    assert np.array_equal(np.rint(wide.pixels * (1023 / 65535)), source.page().picture.pixels)


def test_float_values_keep_their_scale_and_are_cut_where_whole_numbers_end(tmp_path):
    scene = (photo() / np.float32(255)).astype(np.float32)
    scene[0, 0] = (5.0, -0.5, 1.0)
    tifffile.imwrite(tmp_path / "in.tif", scene, photometric="rgb")
    source = open_picture(tmp_path / "in.tif")
    assert source.page().picture.white == 1.0
    assert np.array_equal(again(source, tmp_path / "out.tif").page().picture.pixels, scene)
    notes = save(tmp_path / "out.png", source, [scene])
    assert notes == ["PNG holds 16-bit samples: 32-bit float picture reduced"]
    deep = open_picture(tmp_path / "out.png").page().picture.pixels
    assert deep[0, 0].tolist() == [65535, 0, 65535]
    assert np.array_equal(deep, np.rint(np.clip(scene, 0, 1).astype(np.float64) * 65535))


@pytest.mark.parametrize(
    ("scale", "white"), [(1 / 255, 1.0), (0.2 / 255, 1.0), (1.0, 255.0), (257.0, 65535.0), (1e-4, 0.0255), (0.0, 1.0)]
)
def test_the_white_of_a_float_picture_is_found(scale, white):
    values = data.camera()[..., None].astype(np.float32) * np.float32(scale)
    assert white_of(values) == pytest.approx(white, rel=0.03)


def test_highlights_and_hot_pixels_do_not_move_white():
    lamps = np.full((100, 100, 1), 0.3, np.float32)
    lamps[:3, :3] = 40.0
    assert white_of(lamps) == 1.0
    counts = np.full((1000, 1000, 1), 900.0, np.float32)
    counts[5, 5] = 1e9
    assert white_of(counts) == pytest.approx(900.0)


# ---- bad input: one clear sentence, nothing written


def read_all(path: Path) -> None:
    source = open_picture(path)
    for index in range(source.pages):
        source.page(index)


def refusal(path: Path) -> str:
    with pytest.raises(BadFile) as caught:
        read_all(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence.removeprefix(str(path))


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + end


def write_frames(path: Path) -> None:
    Image.fromarray(photo()).save(path, save_all=True, append_images=[Image.fromarray(255 - photo())])


BAD = {
    "empty.png": (lambda path: path.write_bytes(b""), "the file is empty"),
    "text.png": (lambda path: path.write_text("no picture, only words\n"), "a text file"),
    "noise.png": (lambda path: path.write_bytes(bytes(range(256)) * 9), "not a picture"),
    "paper.jpg": (lambda path: path.write_bytes(b"%PDF-1.7\n"), "a PDF document"),
    "zero.png": (lambda path: path.write_bytes(png_header(0, 7)), "0 × 7 pixels"),
    "bomb.png": (lambda path: path.write_bytes(png_header(30000, 30000)), "promises 30000 × 30000"),
    "giant.png": (lambda path: path.write_bytes(png_header(100_000, 100_000)), "cut it into parts"),
    "print.jpg": (lambda path: Image.new("CMYK", (8, 8)).save(path), "CMYK"),
    "print.tif": (lambda path: Image.new("CMYK", (8, 8)).save(path), "CMYK"),
    "lab.tif": (lambda path: Image.new("LAB", (8, 8)).save(path), "colour model CIELAB"),
    "long.tif": (lambda path: tifffile.imwrite(path, np.zeros((8, 8), np.uint32)), "uint32"),
    "signed.tif": (lambda path: tifffile.imwrite(path, np.zeros((8, 8), np.int16)), "int16"),
    "nan.tif": (lambda path: tifffile.imwrite(path, np.full((8, 8), np.nan, "f4")), "64 of 64 values are not numbers"),
    "inf.tif": (lambda path: tifffile.imwrite(path, np.array([[0, np.inf]], "f4")), "1 of 2 values are not numbers"),
    "bands.tif": (
        lambda path: tifffile.imwrite(path, noise(8, 8, 5), photometric="minisblack", planarconfig="contig"),
        "5 values per pixel",
    ),
    "sensor.tif": (
        lambda path: tifffile.imwrite(
            path, noise(8, 8, 1)[..., 0], photometric=32803, extratags=[(50706, 1, 4, b"\1\4\0\0", True)]
        ),
        "raw sensor data",
    ),
    "moving.gif": (write_frames, "animated GIF"),
    "moving.webp": (write_frames, "animated WebP"),
    "moving.png": (write_frames, "animated PNG"),
    "moving.avif": (write_frames, "animated AVIF"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_one_sentence(tmp_path, name):
    make, words = BAD[name]
    make(tmp_path / name)
    assert words in refusal(tmp_path / name)


def test_missing_files_and_folders_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.png")
    (tmp_path / "folder.png").mkdir()
    assert "a folder" in refusal(tmp_path / "folder.png")


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def closed(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    write_png(tmp_path / "in.png", photo())
    monkeypatch.setattr(Path, "open", closed)
    assert "no permission to read it" in refusal(tmp_path / "in.png")


def test_a_truncated_jpeg_inside_a_tiff_has_no_grey_bottom(tmp_path):
    """Its decoder would fill up what is missing, without a word."""
    write_tiff(tmp_path / "in.tif", photo(), compression="jpeg")
    content = (tmp_path / "in.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[:-200])
    assert "damaged or incomplete TIFF" in refusal(tmp_path / "cut.tif")


@pytest.mark.parametrize("suffix", [*WRITERS, "gif", "bmp"])
def test_a_truncated_file_is_never_half_a_picture(tmp_path, suffix):
    whole, cut = tmp_path / f"in.{suffix}", tmp_path / f"cut.{suffix}"
    if suffix in WRITERS:
        WRITERS[suffix](whole, photo())
    else:
        Image.fromarray(photo()).save(whole)
    content = whole.read_bytes()
    for length in np.linspace(1, len(content) - 9, 23).astype(int):
        cut.write_bytes(content[:length])
        refusal(cut)


@pytest.mark.parametrize("suffix", [*WRITERS, "gif", "bmp"])
def test_damaged_files_are_read_or_refused_but_never_crash(tmp_path, suffix):
    whole, damaged = tmp_path / f"in.{suffix}", tmp_path / f"damaged.{suffix}"
    if suffix in WRITERS:
        WRITERS[suffix](whole, photo())
    else:
        Image.fromarray(photo()).save(whole)
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    rng, read = np.random.default_rng(5), 0
    for _ in range(40):
        wrong = content.copy()
        wrong[rng.integers(0, min(600, len(wrong)), 3)] = rng.integers(0, 256, 3)
        damaged.write_bytes(wrong.tobytes())
        with suppress(BadFile):
            again(open_picture(damaged), tmp_path / f"out{open_picture(damaged).suffix}")
            read += 1
    assert read


def test_the_content_says_what_a_file_is_and_not_its_name(tmp_path):
    write_jpeg(tmp_path / "true.jpg", photo())
    (tmp_path / "false.png").write_bytes((tmp_path / "true.jpg").read_bytes())
    source = open_picture(tmp_path / "false.png")
    assert source.format == "JPEG"
    assert source.notes == ("in spite of its name it is a JPEG file",)
    assert source.suffix == ".png"
    assert again(source, tmp_path / "out.png").format == "PNG"


def test_what_a_format_cannot_hold_is_refused_before_any_work(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", noise(9, 9, 3)[None].repeat(3, 0), photometric="rgb")
    write_png(tmp_path / "long.png", noise(1, 17000, 1))
    stack, long = open_picture(tmp_path / "stack.tif"), open_picture(tmp_path / "long.png")
    before = sorted(tmp_path.iterdir())
    for source, name, words in (
        (stack, "out.png", "one page and not 3"),
        (long, "out.webp", "16383 pixels a side"),
        (long, "out.gif", "256 colours"),
        (long, "out.xyz", "unknown kind"),
    ):
        with pytest.raises(BadFile, match=words):
            save(tmp_path / name, source, iter(()))
    assert sorted(tmp_path.iterdir()) == before


# ---- writing


def test_the_original_is_untouched_and_may_be_replaced_when_asked(tmp_path):
    write_tiff(tmp_path / "in.tif", photo(bits=16))
    content = (tmp_path / "in.tif").read_bytes()
    source = open_picture(tmp_path / "in.tif")
    again(source, tmp_path / "out.tif")
    assert (tmp_path / "in.tif").read_bytes() == content
    save(tmp_path / "in.tif", source, [source.page().picture.pixels // 2])
    assert np.array_equal(open_picture(tmp_path / "in.tif").page().picture.pixels, photo(bits=16) // 2)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_cancelled_run_leaves_nothing_and_the_old_result_as_it_was(tmp_path, suffix):
    WRITERS[suffix](tmp_path / f"in.{suffix}", photo())
    (tmp_path / f"out.{suffix}").write_bytes(b"old")

    def cancelled():
        raise Cancelled
        yield

    with pytest.raises(Cancelled):
        save(tmp_path / f"out.{suffix}", open_picture(tmp_path / f"in.{suffix}"), cancelled())
    assert (tmp_path / f"out.{suffix}").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 2


def test_atomic_gives_a_path_beside_the_target_with_its_suffix(tmp_path):
    with atomic(tmp_path / "deep" / "sound.flac") as draft:
        assert (draft.parent, draft.suffix) == (tmp_path / "deep", ".flac")
        assert not (tmp_path / "deep" / "sound.flac").exists()
        draft.write_bytes(b"all of it")
    assert (tmp_path / "deep" / "sound.flac").read_bytes() == b"all of it"
    assert len(list((tmp_path / "deep").iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")]
)
def test_a_disk_that_refuses_is_told_in_one_sentence(tmp_path, number, words):
    def write_half() -> None:
        with atomic(tmp_path / "out.png") as draft:
            draft.write_bytes(b"half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(BadFile, match=words):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk."""
    write_tiff(tmp_path / "in.tif", noise(200, 200, 3))
    result = run_alone(
        "import resource, sys",
        "from pathlib import Path",
        "from denoise.media.picture import open_picture, save",
        "source = open_picture(Path(sys.argv[1]) / 'in.tif')",
        "pixels = source.page().picture.pixels",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))",
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)",
        "for name in ('out.tif', 'out.png', 'out.bmp', 'out.webp', 'out.jpg'):",
        "    try: save(Path(sys.argv[1]) / name, source, [pixels])",
        "    except Exception as error: print(type(error).__name__, error)",
        arguments=[str(tmp_path)],
    )
    assert result.count("BadFile Cannot write") == 5, result
    assert [path.name for path in tmp_path.iterdir()] == ["in.tif"]


def test_atomic_refuses_a_folder_and_a_file_in_the_way(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for target, words in ((tmp_path / "folder.png", "that is a folder"), (tmp_path / "file" / "a.png", "not a folder")):
        with pytest.raises(BadFile, match=words), atomic(target):
            pytest.fail("nothing may be begun")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder here that takes no files")
def test_atomic_refuses_a_folder_that_takes_no_files():
    with (
        pytest.raises(BadFile, match=r"Cannot write /proc/a\.png: that folder takes no files"),
        atomic(Path("/proc/a.png")),
    ):
        pytest.fail("nothing may be begun")


def test_atomic_replaces_a_link_and_not_what_it_points_to(tmp_path):
    (tmp_path / "original.png").write_bytes(b"precious")
    (tmp_path / "result.png").symlink_to(tmp_path / "original.png")
    with atomic(tmp_path / "result.png") as draft:
        draft.write_bytes(b"clean")
    assert (tmp_path / "original.png").read_bytes() == b"precious"
    assert (tmp_path / "result.png").read_bytes() == b"clean"


# ---- memory and start


def run_alone(*lines: str, arguments: list[str] | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines), *(arguments or [])],
        capture_output=True, text=True, check=True, env=environment, timeout=100,
    )  # fmt: skip
    return done.stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("how", [{}, {"byteorder": ">"}, {"planar": True}, {"compression": "zlib", "predictor": True}])
def test_a_large_tiff_needs_its_pixels_twice_and_little_more(tmp_path, how):
    height, width = 3600, 5600
    slope = np.add.outer(np.arange(height), np.arange(width)).astype(np.uint16)[..., None]
    write_tiff(tmp_path / "in.tif", np.repeat(slope, 3, axis=2), **how)
    told = run_alone(
        "import re, sys",
        "from pathlib import Path",
        "from denoise.media.formats import tiff",
        "from denoise.media.picture import open_picture, save",
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024",
        "before = peak()",
        "source = open_picture(Path(sys.argv[1]) / 'in.tif')",
        "page = source.page()",
        "result = page.picture.pixels.copy(order='K')",
        "save(Path(sys.argv[1]) / 'out.tif', source, [result])",
        "print(peak() - before)",
        arguments=[str(tmp_path)],
    )
    once_mib = height * width * 6 / 2**20
    assert int(told) < 2 * once_mib + 64
    assert int(told) > 1.5 * once_mib  # otherwise the measure itself is broken
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), tifffile.imread(tmp_path / "in.tif"))
    one, two = (imagecodecs.tiff_decode((tmp_path / name).read_bytes()) for name in ("in.tif", "out.tif"))
    assert np.array_equal(one, two)


def test_opening_the_door_loads_no_codec():
    loaded = run_alone("import sys, denoise.media.picture", "print([*sys.modules])")
    for heavy in ("'PIL'", "'tifffile'", "'imagecodecs'", "'pillow_heif'", "'torch'"):
        assert heavy not in loaded


def test_a_file_tells_what_it_is(tmp_path):
    write_png(tmp_path / "in.png", photo(samples=4, bits=16))
    assert open_picture(tmp_path / "in.png").describe() == "PNG, 40 × 48, RGB with alpha, 16-bit"


def test_alpha_is_not_decoded_a_second_time_while_its_picture_is_in_hand(tmp_path):
    write_png(tmp_path / "in.png", photo(samples=4))
    source = open_picture(tmp_path / "in.png")
    asked = []
    decode = source.reader.pixels
    source.reader.pixels = lambda page: asked.append(page) or decode(page)
    picture = source.page().picture
    save(tmp_path / "out.png", source, [picture.pixels])
    assert asked == [0]
