"""Names for files that are turned away, each with what would be right instead. Words only; nothing here lets a file in.

Playlists and scripts matter most: ffmpeg would follow the addresses inside them (an HLS list naming file:///etc/passwd
is the classic), so the sentence says which kind of text was found rather than "unknown format".
"""

from __future__ import annotations

import re

_MEDIA = "give the address of the picture, clip or sound itself"

# Looked for at the start of the text, after white space and a byte order mark; the first hit names it.
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"#EXTM3U[\s\S]*#EXT-X-", f"an HLS playlist, which only points at other files; {_MEDIA} (an MP4)"),
    (r"#EXTM3U", f"an M3U playlist, which only points at other files; {_MEDIA}"),
    (r"ffconcat", "an ffconcat script, which only points at other files; use one scene or layer for each of them"),
    (r"\[playlist\]", f"a PLS playlist, which only points at other files; {_MEDIA}"),
    (r"\[reference\]", f"an ASX playlist, which only points at other files; {_MEDIA}"),
    (r"<asx\b", f"an ASX playlist, which only points at other files; {_MEDIA}"),
    (r"<(\?xml|!--)[\s\S]*<svg\b|<svg\b|<!doctype svg", "an SVG drawing, which may load other files; save it as PNG"),
    (r"(<\?xml[\s\S]*)?<MPD\b", f"a DASH manifest, which only points at other files; {_MEDIA} (an MP4)"),
    (r"(<\?xml[\s\S]*)?<playlist\b", f"an XSPF playlist, which only points at other files; {_MEDIA}"),
    (r"(<\?xml[\s\S]*)?<SmoothStreamingMedia\b", f"a Smooth Streaming manifest, which only points at other files; {_MEDIA}"),
    (r"(<\?xml[\s\S]*)?<smil\b", f"a SMIL presentation, which only points at other files; {_MEDIA}"),
    (r"(<\?xml[\s\S]*)?<Error>", "an XML error message of a storage service; check that the address is right and still valid"),
    (
        r"(<!--[\s\S]*?-->\s*)?(<\?xml[\s\S]*)?<(!doctype html|html|head|body|script)\b",
        "a web page (HTML); copy the address of the file itself, not of the page that shows it",
    ),
    (r"<", "an XML or HTML document; give a picture, clip, sound or font"),
    (r"v=0\s", f"an SDP session description, which only points at a stream; {_MEDIA}"),
    (
        r"(REM |PERFORMER |TITLE |FILE )[\s\S]*\bTRACK \d",
        "a CUE sheet, which only points at another file; give that sound file",
    ),
    (r"\[Script Info\]", "an ASS subtitle file; it is no picture or sound (subtitles belong in a captions layer)"),
    (r"WEBVTT", "a WebVTT subtitle file; it is no picture or sound (subtitles belong in a captions layer)"),
    (r"\d+\s+\d\d:\d\d:\d\d,\d", "an SRT subtitle file; it is no picture or sound (subtitles belong in a captions layer)"),
    (r"version https://git-lfs", "a Git LFS pointer, not the file it stands for; fetch the real file (`git lfs pull`)"),
    (r"[\[{]", "a JSON document; if a service answered with it, check the address, and give a picture, clip or sound"),
    (r"#!", "a script; give a picture, clip, sound or font"),
)

_BINARIES: tuple[tuple[bytes, str], ...] = (
    (b"II*\x00", "a TIFF picture; save it as PNG or JPEG"),
    (b"MM\x00*", "a TIFF picture; save it as PNG or JPEG"),
    (b"%PDF", "a PDF document; save the page as PNG"),
    (b"%!PS", "a PostScript document; save the page as PNG"),
    (b"8BPS", "a Photoshop document; save it as PNG"),
    (b"\x00\x00\x01\x00", "an icon file (ICO); save it as PNG"),
    (b"\xff\x0a", "a JPEG XL picture; save it as PNG or JPEG"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture; save it as PNG or JPEG"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture; save it as PNG or JPEG"),
    (b"PK\x03\x04", "a ZIP archive (or an office document); unpack it and give the file inside"),
    (b"\x1f\x8b", "a gzip archive (or a compressed SVG); unpack it and give the file inside"),
    (b"Rar!", "a RAR archive; unpack it and give the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it and give the file inside"),
    (b"FLV\x01", "a Flash video; convert it to MP4"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file; convert it to MP4, or to WAV when it is sound"),
    (b".RMF", "a RealMedia file; convert it to MP4"),
    (b"\x00\x00\x01\xba", "an MPEG program stream (.mpg, .vob); convert it to MP4"),
    (b"MThd", "a MIDI score, which holds no sound; render it to WAV"),
    (b"#!AMR", "an AMR recording; convert it to WAV or MP3"),
    (b"FORM", "an AIFF sound; convert it to WAV or FLAC"),
    (b"caff", "a Core Audio file; convert it to WAV or FLAC"),
    (b"\x7fELF", "a program; give a picture, clip, sound or font"),
    (b"MZ", "a program; give a picture, clip, sound or font"),
    (b"SQLite format 3", "a database; give a picture, clip, sound or font"),
)

ACCEPTED = (
    "right are MP4, MOV, MKV, WebM, AVI or MPEG-TS clips; PNG, JPEG, WebP, GIF, AVIF, HEIC or BMP pictures; "
    "WAV, FLAC, MP3, AAC, M4A, Ogg or Opus sound; TTF, OTF or WOFF fonts"
)


def refusal(head: bytes) -> str:
    """A sentence that names what `head` begins, and the remedy."""
    for prefix, name in _BINARIES:
        if head.startswith(prefix):
            return f"it is {name}"
    text = _as_text(head)
    if text is None:
        return f"it is of no kind that is let in; {ACCEPTED}"
    for pattern, name in _TEXTS:
        if re.match(pattern, text, re.IGNORECASE):
            return f"it is {name}"
    return f"it is plain text; {ACCEPTED}"


def _as_text(head: bytes) -> str | None:
    """The head as text, without byte order mark and leading white space; None when it is no text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    else:
        try:
            text = head.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            # The head may end inside a character; anything earlier means it was no UTF-8, and Latin-1 text is still text.
            text = head[: error.start].decode("utf-8-sig") if error.start > len(head) - 4 else head.decode("latin-1")
    sample = text[:4096]
    odd = sum(1 for c in sample if (ord(c) < 32 and c not in "\t\n\r\f\x1b") or 0x7F <= ord(c) < 0xA0)
    # Cut short: the patterns look for one tag after another, which is quadratic on text made for it.
    return text.lstrip()[:4096] if odd * 50 <= len(sample) else None
