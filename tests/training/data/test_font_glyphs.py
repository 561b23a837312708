"""Glyphs of fonts are divided by font: those for validation are never trained on."""

from digitscan.training.data.font_glyphs import load_font_glyphs


def test_fonts_for_training_and_for_validation_share_no_glyph():
    train, val = load_font_glyphs("train"), load_font_glyphs("val")
    pairs = zip((*train.digits, train.letters), (*val.digits, val.letters), strict=True)
    for train_glyphs, val_glyphs in pairs:
        assert len(train_glyphs) > len(val_glyphs) >= 8
        assert not {glyph.tobytes() for glyph in train_glyphs} & {glyph.tobytes() for glyph in val_glyphs}


def test_there_are_glyphs_of_each_digit_and_of_letters():
    glyphs = load_font_glyphs("train")
    assert len(glyphs.digits) == 10
    assert {array.shape[1:] for array in (*glyphs.digits, glyphs.letters)} == {(28, 28)}
