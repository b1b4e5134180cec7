"""The benchmark movie B1 and its media: ten 4 s scenes at 1080x1920, five cover-cropped clips, five stills with Ken Burns.

Media is drawn here, with the detail of real footage: several octaves of noise, moving, with grain.
"""

from __future__ import annotations

import json
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from viralsync_pipelines.render.ffmpeg import ffmpeg_path

SCENES, SECONDS, FPS = 10, 4, 30
SIZE = (1080, 1920)
FONT_SIZE = 90


def texture(width: int, height: int, seed: int) -> Image.Image:
    """A coloured landscape of noise with detail at every scale."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 11):
        cells = 2**octave
        grain = rng.uniform(0, 255, (cells * height // width + 1, cells, 3)).astype(np.float32)
        layers = [Image.fromarray(grain[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
        total += np.stack([np.asarray(layer) for layer in layers], -1) / 2 ** (octave * 0.62)
    total -= total.min()
    grain = rng.normal(0, 11, (height, width, 1)).astype(np.float32)
    return Image.fromarray((total / total.max() * 255 + grain).clip(0, 255).astype(np.uint8))


def make_media(folder: Path) -> None:
    """Five clips, five stills, ten voices and a bed; made once."""
    if (folder / "made").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(5):
        texture(3000, 2000, 100 + number).save(folder / f"still{number}.jpg", quality=90)
        texture(2560, 1440, number).save(folder / "wide.png")
        subprocess.run(
            [
                str(ffmpeg_path()), "-v", "error", "-y", "-framerate", "30", "-loop", "1", "-t", "5", "-i", str(folder / "wide.png"), "-vf",
                "crop=1920:1080:x='320+300*sin(n/40)':y='180+150*cos(n/33)',noise=alls=5:allf=t,format=yuv420p",
                "-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-colorspace", "bt709", "-color_primaries", "bt709",
                "-color_trc", "bt709", str(folder / f"clip{number}.mp4"),
            ],
            check=True,
        )  # fmt: skip
    (folder / "wide.png").unlink()
    for number in range(SCENES):
        _voice(folder / f"voice{number}.wav", number)
    _music(folder / "music.wav")
    (folder / "made").touch()


def _voice(path: Path, number: int) -> None:
    from viralsync_pipelines.movie.script import Line
    from viralsync_pipelines.speech.engine import engine_named

    engine_named("espeak").speak(Line(said(number)), path)


def said(number: int) -> str:
    return f"This is scene number {number + 1}, and these are the words it says."


def _music(path: Path) -> None:
    time = np.arange(48_000 * 40) / 48_000
    tones = sum(
        np.sin(2 * np.pi * f * time) * (0.6 + 0.4 * np.sin(2 * np.pi * time / (3 + i))) for i, f in enumerate((110, 165, 220, 277.2))
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes((np.asarray(tones) * 5000).astype("<i2").tobytes())


def document(folder: Path, titles: dict[int, str] | None = None, *, voiced: bool = False, captions: dict[str, Any] | None = None) -> Path:
    """B1 as a movie JSON beside its media; `titles` replaces single titles. voiced: what is said is a voice layer, for captions."""
    scenes: list[dict[str, Any]] = []
    for number in range(SCENES):
        picture: dict[str, Any] = (
            {"type": "video", "src": f"clip{number // 2}.mp4", "muted": True}
            if number % 2 == 0
            else {"type": "image", "src": f"still{number // 2}.jpg", "kenBurns": {"from": {"scale": 1.0}, "to": {"scale": 1.2}}}
        )
        title = {
            "type": "text", "text": (titles or {}).get(number, f"Scene number {number + 1}"), "fontSize": FONT_SIZE, "y": "72%",
            "stroke": {"color": "#000000", "width": 6}, "enter": {"type": "fade", "duration": 0.5},
        }  # fmt: skip
        voice = {"type": "voice", "text": said(number)} if voiced else {"type": "audio", "src": f"voice{number}.wav"}
        scenes.append({"id": f"scene{number + 1}", "duration": SECONDS, "layers": [picture, title, voice]})
    movie = {
        "id": "b1", "title": "B1", "width": SIZE[0], "height": SIZE[1], "fps": FPS, "scenes": scenes,
        "layers": [{"type": "audio", "src": "music.wav", "volume": 0.2, "loop": True}],
    }  # fmt: skip
    if captions is not None:
        movie["captions"] = captions
    name = "b1" + ("-changed" if titles else "") + ("-voiced" if voiced else "") + ("-captioned" if captions is not None else "")
    path = folder / f"{name}.json"
    path.write_text(json.dumps(movie), encoding="utf-8")
    return path


X264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "21")


def reference_argv(folder: Path, font: Path, out: Path, *, raw: bool = False) -> list[str]:
    """The same film as one hand-written ffmpeg process: the graph most people write. raw: its frames as they are before encoding."""
    inputs: list[str] = []
    graph: list[str] = []
    frames = SECONDS * FPS
    for number in range(SCENES):
        if number % 2 == 0:
            inputs += ["-t", str(SECONDS), "-i", str(folder / f"clip{number // 2}.mp4")]
            picture = "fps=30,scale=-2:1920,crop=1080:1920"
        else:
            inputs += ["-loop", "1", "-framerate", "30", "-t", str(SECONDS), "-i", str(folder / f"still{number // 2}.jpg")]
            picture = (
                "crop=1124:2000,scale=2160:3840,"
                f"zoompan=z='1+0.2*on/{frames}':x='iw/2-(iw/zoom/2)':y='ih/2-(ih/zoom/2)':d=1:s=1080x1920:fps=30"
            )
        text = (
            f"drawtext=fontfile={font}:text='Scene number {number + 1}':fontsize={FONT_SIZE}:fontcolor=white:borderw=6:bordercolor=black:"
            "x=(w-text_w)/2:y=h*0.7:alpha='min(1,t/0.5)'"
        )
        graph.append(f"[{number}:v]{picture},setsar=1,{text},format=yuv420p[v{number}]")
    for number in range(SCENES):
        inputs += ["-i", str(folder / f"voice{number}.wav")]
        graph.append(f"[{SCENES + number}:a]aresample=48000,apad=whole_dur={SECONDS},atrim=0:{SECONDS}[a{number}]")
    inputs += ["-i", str(folder / "music.wav")]
    graph.append("".join(f"[v{n}]" for n in range(SCENES)) + f"concat=n={SCENES}:v=1:a=0[v]")
    graph.append("".join(f"[a{n}]" for n in range(SCENES)) + f"concat=n={SCENES}:v=0:a=1[voice]")
    graph.append(
        f"[{2 * SCENES}:a]aresample=48000,atrim=0:{SCENES * SECONDS},volume=0.2[bed];[voice][bed]amix=duration=first:normalize=0[a]"
    )
    begin = [str(ffmpeg_path()), "-v", "error", "-y", *inputs, "-filter_complex", ";".join(graph), "-map", "[v]"]
    if raw:
        return [*begin, "-f", "rawvideo", str(out), "-map", "[a]", "-f", "null", "-"]
    return [*begin, "-map", "[a]", *X264, "-c:a", "aac", "-b:a", "192k", "-movflags", "+faststart", str(out)]
