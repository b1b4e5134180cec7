"""B1 made with MoviePy 2, run in an environment of its own: python moviepy_b1.py <media folder> <font> <out.mp4>"""

import sys
from pathlib import Path

from moviepy import (  # type: ignore[import-not-found]
    AudioFileClip,
    CompositeAudioClip,
    CompositeVideoClip,
    ImageClip,
    TextClip,
    VideoFileClip,
    concatenate_videoclips,
    vfx,
)

folder, font, out = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
W, H, SECONDS = 1080, 1920, 4
scenes = []
for number in range(10):
    if number % 2 == 0:
        clip = VideoFileClip(str(folder / f"clip{number // 2}.mp4"), audio=False).subclipped(0, SECONDS)
        picture = clip.resized(height=H).cropped(x_center=H * 16 / 9 / 2, width=W)
    else:
        still = ImageClip(str(folder / f"still{number // 2}.jpg")).cropped(x_center=1500, width=1125, height=2000, y_center=1000)
        still = still.resized(height=H).with_duration(SECONDS)
        picture = CompositeVideoClip([still.resized(lambda t: 1 + 0.2 * t / SECONDS).with_position("center")], size=(W, H))
    title = TextClip(
        font=font, text=f"Scene number {number + 1}", font_size=90, color="white", stroke_color="black", stroke_width=6, margin=(12, 24)
    )
    title = title.with_duration(SECONDS).with_position(("center", int(H * 0.7))).with_effects([vfx.CrossFadeIn(0.5)])
    scene = CompositeVideoClip([picture, title], size=(W, H)).with_duration(SECONDS)
    voice = AudioFileClip(str(folder / f"voice{number}.wav"))
    scenes.append(scene.with_audio(voice.subclipped(0, min(SECONDS, voice.duration))))
film = concatenate_videoclips(scenes)
bed = AudioFileClip(str(folder / "music.wav")).subclipped(0, 40).with_volume_scaled(0.2)
film = film.with_audio(CompositeAudioClip([film.audio, bed]))
film.write_videofile(
    out, fps=30, codec="libx264", audio_codec="aac", preset="veryfast", ffmpeg_params=["-crf", "21"], threads=2, logger=None
)
