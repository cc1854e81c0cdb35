"""Songs and playlists."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import choose, find, known, listed, load, require_new, save, words
from toolkit.declare import tool

_Song = Annotated[str, known("music", "songs", "title")]
_Artist = Annotated[str, known("music", "songs", "artist")]
_Playlist = Annotated[str, known("music", "playlists")]
_Listed = Annotated[str, known("music", "playlists", "songs")]
_Genre = Literal["indie", "jazz", "electronic", "country", "rock", "classical"]


@tool(effect="writes", sandbox_state=True)
def find_songs(artist: _Artist = "", genre: Literal[_Genre, "any"] = "any") -> list[str]:
    """Find songs by artist and genre.

    Args:
        artist: Name of the singer or band.
        genre: Genre of the music.
    """
    songs = load("music")["songs"]
    if artist:
        artist = choose(dict.fromkeys(song["artist"] for song in songs), artist, "artist")
    found = [song["title"] for song in songs if artist in ("", song["artist"]) and genre in ("any", song["genre"])]
    if not found:
        raise ValueError(f"there is no {genre} song by {artist}; leave one of them out")
    return found[:8]


@tool(effect="writes", sandbox_state=True)
def song_details(title: _Song) -> dict[str, str | int]:
    """Tell who sings a song, its genre and its length in seconds.

    Args:
        title: Title of the song.
    """
    return dict(find(load("music")["songs"], title, "song", "title"))


@tool(effect="writes", sandbox_state=True)
def create_playlist(name: str, songs: list[_Song]) -> str:
    """Create a playlist with some songs.

    Args:
        name: Name of the new playlist.
        songs: Titles of the songs.
    """
    data = load("music")
    name = words(name, "name", longest=60)
    require_new(data["playlists"], name, "playlist")
    titles = [find(data["songs"], song, "song", "title")["title"] for song in songs]
    data["playlists"].append({"name": name, "songs": titles})
    save("music", data)
    return f"created {name}: {listed(titles) or 'no songs yet'}"


@tool(effect="writes", sandbox_state=True)
def add_song_to_playlist(song: _Song, playlist: _Playlist) -> str:
    """Add a song to the end of a playlist.

    Args:
        song: Title of the song.
        playlist: Name of the playlist.
    """
    data = load("music")
    title = find(data["songs"], song, "song", "title")["title"]
    found = find(data["playlists"], playlist, "playlist")
    if title in found["songs"]:
        raise ValueError(f"{title} is in {found['name']} already; choose another song")
    found["songs"].append(title)
    save("music", data)
    return f"added {title} to {found['name']}"


@tool(effect="writes", sandbox_state=True)
def remove_song_from_playlist(song: _Listed, playlist: _Playlist) -> str:
    """Take a song out of a playlist.

    Args:
        song: Title of the song.
        playlist: Name of the playlist.
    """
    data = load("music")
    found = find(data["playlists"], playlist, "playlist")
    title = choose(found["songs"], song, f"song in {found['name']} called")
    found["songs"].remove(title)
    save("music", data)
    return f"removed {title} from {found['name']}"


@tool(effect="writes", sandbox_state=True)
def show_playlist(
    playlist: _Playlist, order: Literal["as added", "alphabetical", "shortest first"] = "as added"
) -> list[str]:
    """Show the songs of a playlist.

    Args:
        playlist: Name of the playlist.
        order: Order in which to show the songs.
    """
    data = load("music")
    songs = [
        find(data["songs"], song, "song", "title") for song in find(data["playlists"], playlist, "playlist")["songs"]
    ]
    if order != "as added":
        key = "title" if order == "alphabetical" else "seconds"
        songs.sort(key=lambda song: song[key])
    return [f"{song['title']} ({song['artist']})" for song in songs][:8]
