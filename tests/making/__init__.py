"""Sound and film made on the spot, for tests and benches; nothing here is downloaded or kept in the repository.

- `sound`: tones, chirps and something like speech as arrays; `write_sound` in any codec and container.
- `picture`: frames that carry their own number, so that a decoded one says which it is.
- `film`: `write_film`: picture, sound and subtitles, late or early, turned, of variable frame rate.
- `long`: hours of either, in seconds.
- `odd`: whole files that are unusual: nothing in them, 64 channels, a cover, 200 streams, two chained into one.
- `broken`: cut, overwritten, with holes.
- `lures`: playlists and the like that would make a careless reader open other files or reach the network.

Everything is deterministic: the same call gives the same bytes, for the same versions of the encoders.
"""
