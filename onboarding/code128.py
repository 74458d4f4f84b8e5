"""Code 128: the bar code of labels, as widths of bars and spaces and as a drawing (SVG).

Texts are printable ASCII, in code set B; two digits a symbol (set C) would save little on labels of this size.
Source: ISO/IEC 15417.
"""

from functools import lru_cache

# Bar, space, bar, space, bar, space of each value; each symbol is eleven modules wide.
_SYMBOLS = (
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 113222 "
    "123122 123221 223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 212123 212321 "
    "232121 111323 131123 131321 112313 132113 132311 211313 231113 231311 112133 112331 132131 113123 113321 133121 "
    "313121 211331 231131 213113 213311 213131 311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 "
    "111422 121124 121421 141122 141221 112214 112412 122114 122411 142112 142211 241211 221114 413111 241112 134111 "
    "111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 214121 412121 111143 111341 131141 114113 "
    "114311 411113 411311 113141 114131 311141 411131 211412 211214 211232"
)
WIDTHS = tuple(_SYMBOLS.split())
_START_B = 104
_STOP = "2331112"

# Quiet zone on either side, in modules.
QUIET = 10
_HEIGHT = 40


def widths(text: str) -> str:
    """The widths of all bars and spaces in turn, in modules, without the quiet zones. Raises ValueError."""
    if not text or not all(" " <= character <= "~" for character in text):
        raise ValueError("Code set B holds printable ASCII, at least one character.")
    values = [ord(character) - 32 for character in text]
    check = (_START_B + sum(place * value for place, value in enumerate(values, start=1))) % 103
    return "".join(WIDTHS[value] for value in (_START_B, *values, check)) + _STOP


@lru_cache(maxsize=2048)
def svg(text: str) -> str:
    """The bar code as an SVG element whose width and height a style sheet decides. Raises ValueError."""
    path, at = [], QUIET
    for place, width in enumerate(map(int, widths(text))):
        if place % 2 == 0:
            path.append(f"M{at} 0h{width}v{_HEIGHT}h-{width}z")
        at += width
    return (
        f'<svg class="bars" viewBox="0 0 {at + QUIET} {_HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f'<path d="{"".join(path)}"/></svg>'
    )
