"""Raw files in and out: what LibRaw and tifffile read again is what was written."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms
from raws import BLACK, TILES, WHITE, XTRANS, dng, light, mosaicked, photosites

from denoise.errors import BadFile, UserError
from denoise.media import ifd
from denoise.media.develop import developed
from denoise.media.frames import read_frame
from denoise.media.picture import open_picture
from denoise.media.raw import RawFile, Taken, open_raw, save, upright
from denoise.media.raw_tags import ISO, said_by
from denoise.noise.camera import in_tile
from denoise.signals import Mosaic, SiteNoise

rawpy = pytest.importorskip("rawpy")

FOUR = (500, 510, 520, 530)  # black of the four places of a tile
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "images" / "raw"


def again(path: Path, source: RawFile, strength: float = 0.0) -> RawFile:
    assert save(path, source, source.photosites, strength) == []
    return open_raw(path)


def sensor(path: Path) -> Any:
    """The mosaic's directory, as tifffile reads it."""
    return tifffile.TiffFile(path).pages.first.pages[0]


# In


@pytest.mark.parametrize("cfa", TILES)
def test_a_dng_is_read(cfa: str, tmp_path: Path) -> None:
    values = photosites(64, 80, cfa)
    raw = open_raw(dng(tmp_path / "a.dng", values, cfa, FOUR))
    assert np.array_equal(raw.photosites, values)
    assert (raw.cfa, raw.white, raw.iso, raw.camera, raw.orientation) == (cfa, WHITE, 800, "Toy 1", 1)
    assert np.array_equal(in_tile(raw.black or (), cfa).ravel(), FOUR)
    assert raw.balance == pytest.approx((2, 1, 1 / 0.7), rel=1e-5)
    assert raw.to_srgb is not None
    assert np.allclose(raw.to_srgb.sum(1), 1, atol=1e-6), "white stays white"
    assert raw.notes == ()


def test_an_x_trans_mosaic_is_read(tmp_path: Path) -> None:
    values = photosites(66, 78, XTRANS)
    raw = open_raw(dng(tmp_path / "a.dng", values, XTRANS))
    assert (raw.cfa, raw.layout) == (XTRANS, "X-Trans")
    assert np.array_equal(raw.photosites, values)


def test_only_the_visible_part_is_taken(tmp_path: Path) -> None:
    values = photosites(64, 80)
    area = (50829, "I", 4, (3, 5, 61, 76), True)
    raw = open_raw(dng(tmp_path / "a.dng", values, more=[area]))
    assert np.array_equal(raw.photosites, values[4:61, 6:76]), "LibRaw begins with a whole tile"
    assert raw.margins == (4, 6)
    back = again(tmp_path / "b.dng", raw)
    assert np.array_equal(back.photosites, raw.photosites)
    assert (raw.cfa, back.cfa, back.margins) == ("BGGR", "BGGR", (0, 0)), "a DNG counts its pattern from its area"


def test_frames_come_through_the_same_reader(tmp_path: Path) -> None:
    path = dng(tmp_path / "a.dng", cfa="GBRG", black=FOUR)
    raw, frame = open_raw(path), read_frame(path)
    assert np.array_equal(raw.photosites, frame.photosites)
    assert (frame.cfa, frame.black_dn, frame.white_dn) == (raw.cfa, raw.black, raw.white)
    assert (frame.iso, frame.camera) == (raw.iso, raw.camera)


def test_a_noise_profile_is_for_all_colours_or_for_each(tmp_path: Path) -> None:
    one = open_raw(dng(tmp_path / "a.dng", more=[(51041, "d", 2, (1e-3, 2e-6), True)]))
    assert one.noise == (SiteNoise(1e-3, 2e-6),) * 4
    three = (1e-3, 1e-6, 2e-3, 2e-6, 3e-3, 3e-6)
    red, first, second, blue = open_raw(dng(tmp_path / "b.dng", more=[(51041, "d", 6, three, True)])).noise or ()
    assert (red.shot, first, blue.read) == (1e-3, second, 3e-6)
    assert open_raw(dng(tmp_path / "c.dng", more=[(51041, "d", 2, (0.0, 1e-6), True)])).noise is None


# Out: DNG


@settings(max_examples=25)
@given(height=st.integers(22, 40), width=st.integers(22, 40), cfa=st.sampled_from(TILES), orientation=st.integers(1, 8))
def test_a_mosaic_survives(
    height: int, width: int, cfa: str, orientation: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("survives")
    source = open_raw(dng(place / "a.dng", photosites(height, width, cfa), cfa, FOUR, more=[turned(orientation)]))
    back = again(place / "b.dng", source)
    assert np.array_equal(back.photosites, source.photosites)
    for fact in ("cfa", "black", "white", "iso", "camera", "orientation", "balance"):
        assert getattr(back, fact) == pytest.approx(getattr(source, fact)), fact
    assert np.allclose(back.to_srgb, source.to_srgb)
    assert source.orientation == orientation
    assert np.array_equal(sensor(place / "b.dng").asarray(), source.photosites)


@given(seed=st.integers(0, 99), high=st.sampled_from([1, 4095, 65535]))
@settings(max_examples=6)
def test_any_values_survive_in_any_number_of_tiles(
    seed: int, high: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nothing but noise, and nothing but the least and the most."""
    place = tmp_path_factory.mktemp("values")
    dice = np.random.default_rng(seed)
    values = dice.integers(0, high, (523, 1031), endpoint=True).astype(np.uint16)
    values[:100] = np.where(values[:100] > high // 2, 65535, 0)
    source = open_raw(dng(place / "a.dng", values))
    assert np.array_equal(again(place / "b.dng", source).photosites, values)
    assert np.array_equal(sensor(place / "b.dng").asarray(), values)


def turned(orientation: int) -> tuple[Any, ...]:
    return (274, "H", 1, orientation, True)


def test_an_x_trans_mosaic_survives(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng", photosites(66, 78, XTRANS), XTRANS))
    back = again(tmp_path / "b.dng", source)
    assert np.array_equal(back.photosites, source.photosites)
    assert (back.cfa, back.black) == (source.cfa, source.black)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_second_reader_finds_everything(order: str, tmp_path: Path) -> None:
    profile = (51041, "d", 2, (1e-3, 2e-6), True)
    source = open_raw(dng(tmp_path / "a.dng", black=FOUR, more=[profile], byteorder=order))
    back = again(tmp_path / "b.dng", source, strength=0.5)
    tags = {tag.name: tag.value for tag in sensor(tmp_path / "b.dng").tags}
    assert (tags["BitsPerSample"], tags["PhotometricInterpretation"]) == (16, 32803)
    assert tags["CFAPattern"] == bytes([0, 1, 1, 2])
    assert tags["BlackLevel"][0::2] == FOUR
    assert tags["WhiteLevel"] == WHITE
    assert np.divide(*tags["NoiseReductionApplied"]) == 0.5
    assert tags["NoiseProfile"][:2] == pytest.approx((1e-3 / 4, 2e-6 / 4))
    assert back.noise == (pytest.approx(SiteNoise(1e-3 / 4, 2e-6 / 4)),) * 4
    first = {tag.name: tag.value for tag in tifffile.TiffFile(tmp_path / "b.dng").pages.first.tags}
    assert (first["Make"], first["Model"], first["UniqueCameraModel"]) == ("Toy", "Toy 1", "Toy 1")
    assert np.divide(first["ColorMatrix1"][0::2], first["ColorMatrix1"][1::2])[0] == pytest.approx(0.9)
    assert first["AsShotNeutral"] == (500, 1000, 1, 1, 700, 1000)


def test_what_is_left_of_all_noise_is_the_step_of_the_file(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng", more=[(51041, "d", 2, (1e-3, 2e-6), True)]))
    left = again(tmp_path / "b.dng", source, strength=1.0).noise
    assert left is not None
    assert left[0].read == pytest.approx(1 / 12 / (WHITE - BLACK) ** 2)
    assert 0 < left[0].shot < 1e-8, "readers take 0 for no profile at all"


def test_the_preview_shows_the_picture(tmp_path: Path) -> None:
    save(tmp_path / "b.dng", open_raw(dng(tmp_path / "a.dng")), photosites())
    with rawpy.imread(str(tmp_path / "b.dng")) as raw:
        shown = np.asarray(Image.open(io.BytesIO(raw.extract_thumb().data)))
    source = open_raw(tmp_path / "a.dng")
    whole = developed(source.mosaic, source.balance, source.to_srgb)
    mean = whole.reshape(32, 2, 40, 2, 3).mean((1, 3)) / 257
    assert shown.shape == mean.shape
    assert np.abs(shown - mean).mean() < 6


def test_exif_is_kept_but_for_the_makers_notes(tmp_path: Path) -> None:
    source = open_raw(with_exif(tmp_path / "a.dng"))
    assert (source.exposure_s, source.iso, source.camera) == (1 / 30, 1600, "Toy 2")
    save(tmp_path / "b.dng", source, source.photosites)
    save(tmp_path / "b.tif", source, source.photosites)
    save(tmp_path / "b.jpg", source, source.photosites)
    for name in ("b.dng", "b.tif"):
        exif = tifffile.TiffFile(tmp_path / name).pages.first.tags["ExifTag"].value
        assert exif["ExposureTime"] == (1, 30), name
        assert exif["ISOSpeedRatings"] == 1600
        assert exif["DateTimeOriginal"] == "2026:01:02 03:04:05"
        assert exif["LensModel"] == "Toy 50mm"
        assert "MakerNote" not in exif
    shown = Image.open(tmp_path / "b.jpg").getexif()
    assert shown.get_ifd(ifd.EXIF)[42036] == "Toy 50mm"
    assert open_raw(tmp_path / "b.dng").exposure_s == 1 / 30


def with_exif(path: Path) -> Path:
    """A DNG with an EXIF directory, which tifffile does not write."""
    save(path, open_raw(dng(path.with_name("bare.dng"), leave=[34855])), photosites())
    said = said_by(path)
    layout = said.layout
    exif = [
        ifd.ratio(layout, 33434, 1 / 30),
        ifd.entry(layout, 34855, ifd.SHORT, 1600),
        ifd.words(36867, "2026:01:02 03:04:05"),
        ifd.words(42036, "Toy 50mm"),
        ifd.blob(37500, ifd.UNDEFINED, b"secret" * 9),
    ]
    wanted = [ifd.Entry(ifd.EXIF, ifd.LONG, 1, tuple(exif)), ifd.words(272, "Toy 2")]
    kept = [one for one in said.first if one.code not in (ifd.EXIF, 272)]
    content = path.read_bytes()
    content += bytes(-len(content) % 8)
    path.write_bytes(layout.header(len(content)) + content[8:] + ifd.pack([*kept, *wanted], layout, len(content)))
    return path


def test_a_camera_whose_matrix_only_libraw_knows_becomes_a_dng(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng", leave=[50721, 50728, 50708, 50778]))
    known = np.reshape([0.9, -0.3, -0.1, -0.4, 1.2, 0.2, -0.1, 0.2, 0.6], (3, 3))
    told = RawFile(**{**vars(source), "from_xyz": known, "balance": (2.0, 1.0, 1.5)})
    back = again(tmp_path / "b.dng", told)
    assert back.balance == pytest.approx((2, 1, 1.5), rel=1e-5)
    tags = tifffile.TiffFile(tmp_path / "b.dng").pages.first.tags
    assert np.divide(tags["ColorMatrix1"].value[0::2], 10_000) == pytest.approx(known.ravel())
    assert tags["CalibrationIlluminant1"].value == 21
    assert tags["UniqueCameraModel"].value == "Toy 1"


def test_a_raw_file_can_be_made_of_nothing(tmp_path: Path) -> None:
    taken = Taken(3200, 1 / 15, 2.0, 35.0, "2026:01:02 03:04:05", "Toy 35mm")
    made = RawFile(tmp_path, photosites(), "RGGB", FOUR, WHITE, (2.0, 1.0, 1.5), None, None, taken=taken)
    back = again(tmp_path / "b.dng", made)
    assert np.array_equal(back.photosites, made.photosites)
    assert (back.iso, back.orientation, back.balance) == (3200, 1, pytest.approx((2, 1, 1.5), rel=1e-5))
    exif = tifffile.TiffFile(tmp_path / "b.dng").pages.first.tags["ExifTag"].value
    assert exif["LensModel"] == "Toy 35mm"
    assert exif["FNumber"] == (2, 1)
    assert exif["DateTimeOriginal"] == taken.when


def test_places_of_the_original_are_kept_where_they_hold(tmp_path: Path) -> None:
    crop = [(50719, "H", 2, (4, 6), True), (50720, "H", 2, (60, 40), True), (51009, "B", 4, (0, 0, 0, 0), True)]
    source = open_raw(dng(tmp_path / "a.dng", more=crop))
    save(tmp_path / "b.dng", source, source.photosites)
    tags = sensor(tmp_path / "b.dng").tags
    assert tags["DefaultCropOrigin"].value == (4, 6)
    assert tags["OpcodeList2"].value == b"\0\0\0\0"


def test_what_is_to_be_done_to_a_mosaic_does_not_go_with_linear_colours(tmp_path: Path) -> None:
    crop = [(50719, "H", 2, (4, 6), True), (50720, "H", 2, (60, 40), True)]
    gains = [(51009, "B", 4, (0, 0, 0, 0), True), (51022, "B", 4, (0, 0, 0, 0), True)]
    source = open_raw(dng(tmp_path / "a.dng", more=crop + gains))
    (note,) = save(tmp_path / "b.linear.dng", source, source.photosites)
    assert "OpcodeList2" in note
    tags = sensor(tmp_path / "b.linear.dng").tags
    assert "OpcodeList2" not in tags
    assert tags["OpcodeList3"].value == b"\0\0\0\0"
    assert tags["DefaultCropOrigin"].value == (4, 6)


def test_linear_colours_are_developed_already(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng", photosites(65, 81)[1:, 1:], "BGGR"))
    save(tmp_path / "b.linear.dng", source, source.photosites)
    with rawpy.imread(str(tmp_path / "b.linear.dng")) as raw:
        assert raw.raw_type.name == "Stack"
        ours = raw.postprocess(**PLAIN, use_camera_wb=True)
    with rawpy.imread(str(tmp_path / "a.dng")) as raw:
        theirs = raw.postprocess(**PLAIN, use_camera_wb=True)
    assert np.abs(ours.astype(float) - theirs)[4:-4, 4:-4].mean() < 0.01 * 65535
    with pytest.raises(BadFile, match="developed already"):
        open_raw(tmp_path / "b.linear.dng")


# Out: pictures

PLAIN = {"no_auto_bright": True, "adjust_maximum_thr": 0, "output_bps": 16, "gamma": (2.4, 12.92), "user_flip": 0}


@pytest.mark.parametrize("cfa", TILES)
@pytest.mark.parametrize("odd", [0, 1])
def test_developing_finds_the_colours_again(cfa: str, odd: int) -> None:
    truth = light(64 + odd, 90 - odd)
    values = (BLACK + mosaicked(truth, cfa) * (WHITE - BLACK)).round().astype(np.uint16)
    found = developed(Mosaic(values, cfa, (BLACK,) * 4, WHITE), None, None) / 65535
    assert found.shape == truth.shape
    error = np.abs(found - as_srgb(truth))
    assert error[4:-4, 4:-4].max() < 0.01
    assert error.mean() < 0.004


def as_srgb(values: NDArray[Any]) -> NDArray[Any]:
    return np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055)


def test_developing_is_what_libraw_does_but_for_the_edges(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng", photosites(noise=3)))
    save(tmp_path / "b.tif", source, source.photosites)
    with rawpy.imread(str(tmp_path / "a.dng")) as raw:
        theirs = raw.postprocess(**PLAIN, use_camera_wb=True)
    ours = tifffile.imread(tmp_path / "b.tif")
    assert ours.dtype == np.uint16
    assert np.abs(ours.astype(float) - theirs)[4:-4, 4:-4].mean() < 0.005 * 65535


@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg"])
def test_a_developed_picture_stands_upright_and_tells_its_colours(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"b{ending}"
    source = open_raw(dng(tmp_path / "a.dng", more=[turned(6)]))
    save(path, source, source.photosites)
    picture = Image.open(path) if ending == ".jpg" else None
    pixels = np.asarray(picture) if picture else tifffile.imread(path) if ending == ".tif" else png(path)
    assert pixels.shape == (80, 64, 3)
    assert pixels.dtype == (np.uint8 if ending == ".jpg" else np.uint16)
    shown = Image.open(path)
    assert shown.getexif().get(ifd.ORIENTATION, 1) == 1
    profile = ImageCms.ImageCmsProfile(io.BytesIO(shown.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    expected = np.rot90(developed(source.mosaic, source.balance, source.to_srgb), -1)
    scale = 257 if ending == ".jpg" else 1
    assert np.abs(pixels.astype(float) * scale - expected).mean() < (900 if ending == ".jpg" else 1)


ABOUT = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Boat"%s/></x:xmpmeta>'
SETTINGS = b' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure2012="+1.0"'


@pytest.mark.parametrize(("extra", "kept"), [(b"", True), (SETTINGS, False)])
@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg"])
def test_what_is_said_of_a_raw_file_is_said_of_its_picture(
    ending: str, extra: bytes, kept: bool, tmp_path: Path
) -> None:
    """How to develop it is not: that is done."""
    path, about = tmp_path / f"b{ending}", ABOUT % extra
    source = open_raw(dng(tmp_path / "a.dng", more=[turned(6), (ifd.XMP, "B", len(about), about, True)]))
    notes = save(path, source, source.photosites)
    with open_picture(path) as picture:
        tags = picture.reader.tags(0)
    assert tags.xmp == (about.replace(b'"6"', b'"1"') if kept else None)
    assert any("how to develop" in note for note in notes) is not kept
    assert Image.open(path).getexif().get_ifd(ifd.EXIF)[ISO] == 800, "it stood in the first directory"


def png(path: Path) -> NDArray[Any]:
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_pillow_turns_it(orientation: int) -> None:
    from PIL import ImageOps

    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[ifd.ORIENTATION] = orientation
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(picture)), upright(pixels, orientation))


def test_an_x_trans_mosaic_is_not_developed(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng", photosites(66, 78, XTRANS), XTRANS))
    with pytest.raises(UserError, match="X-Trans"):
        save(tmp_path / "b.tif", source, source.photosites)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.dng"], "nothing half-written"


# What its directories say


def test_boxes_of_canon_and_the_jpeg_of_fuji_tell_the_camera(tmp_path: Path) -> None:
    layout = ifd.Layout()
    first, exif = ifd.pack_block([ifd.words(272, "Toy 3")], layout), ifd.pack_block([ifd.words(42036, "50mm")], layout)
    boxes = b"".join(struct.pack(">I4s", 8 + len(one), name) + one for name, one in ((b"CMT1", first), (b"CMT2", exif)))
    (tmp_path / "a.cr3").write_bytes(struct.pack(">I4s8s", 16, b"ftyp", b"crx \0\0\0\1") + boxes)
    said = said_by(tmp_path / "a.cr3")
    assert (said.camera, said.text(42036)) == ("Toy 3", "50mm")

    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", exif=b"Exif\0\0" + first)
    head = b"FUJIFILMCCD-RAW 0201".ljust(84, b"\0") + struct.pack(">II", 92, len(buffer.getvalue()))
    (tmp_path / "a.raf").write_bytes(head + buffer.getvalue())
    assert said_by(tmp_path / "a.raf").camera == "Toy 3"
    (tmp_path / "a.x3f").write_bytes(b"FOVb" + bytes(100))
    assert said_by(tmp_path / "a.x3f").camera is None


# Bad files


def refused(path: Path) -> str:
    with pytest.raises(BadFile) as caught:
        open_raw(path).mosaic  # noqa: B018
    text = str(caught.value)
    assert text.startswith(str(path))
    assert text.count("\n") == 0
    return text


def test_bad_raw_files_are_one_sentence_each(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "renamed.dng", "JPEG")
    assert "in spite of its name a JPEG" in refused(tmp_path / "renamed.dng")
    (tmp_path / "foreign.nef").write_bytes(b"II*\0nonsense" * 40)
    assert "damaged" in refused(tmp_path / "foreign.nef")
    whole = dng(tmp_path / "whole.dng", photosites(200, 200)).read_bytes()
    (tmp_path / "cut.dng").write_bytes(whole[: len(whole) // 2])
    assert "damaged" in refused(tmp_path / "cut.dng")
    (tmp_path / "empty.arw").write_bytes(b"")
    assert "damaged" in refused(tmp_path / "empty.arw")
    assert "no such file" in refused(tmp_path / "none.dng")
    assert "not above its black" in refused(dng(tmp_path / "levels.dng", black=(WHITE + 17,)))


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_damaged_files_are_read_or_refused_never_worse(seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    place, dice = tmp_path_factory.mktemp("damaged"), np.random.default_rng(seed)
    content = bytearray(dng(place / "a.dng").read_bytes())
    for at in dice.integers(0, 700, dice.integers(1, 6)):  # where its directory lies
        content[at] = dice.integers(0, 256)
    (place / "b.dng").write_bytes(content if seed % 4 else content[: dice.integers(0, len(content))])
    try:
        raw = open_raw(place / "b.dng")
        save(place / "c.dng", raw, raw.photosites)
    except UserError:
        return
    assert np.array_equal(open_raw(place / "c.dng").photosites, raw.photosites)


def test_a_black_level_that_is_not_told_has_to_be_seen(tmp_path: Path) -> None:
    bright = np.maximum(photosites(), 2000)
    assert "no black level" in refused(dng(tmp_path / "bright.dng", bright, black=None))
    dark = photosites()
    dark[:20] = 30
    raw = open_raw(dng(tmp_path / "dark.dng", dark, black=None))
    assert raw.mosaic.black == (0,) * 4
    assert any("black level" in note for note in raw.notes)


def test_a_result_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    source = open_raw(dng(tmp_path / "a.dng"))
    with pytest.raises(BadFile, match="choose one of"):
        save(tmp_path / "b.nef", source, source.photosites)


def test_a_real_file_survives(tmp_path: Path) -> None:
    path = SHARED / "colorchart.dng"
    if not path.is_file():
        pytest.skip("no ../shared/data here")
    source = open_raw(path)
    back = again(tmp_path / "b.dng", source)
    assert np.array_equal(back.photosites, source.photosites)
    assert (back.cfa, back.black, back.white, back.camera) == ("RGGB", (2056,) * 4, 15000, "Canon EOS Kiss X4")
    assert np.allclose(back.to_srgb, source.to_srgb)
    assert np.array_equal(sensor(tmp_path / "b.dng").asarray(), source.photosites)
