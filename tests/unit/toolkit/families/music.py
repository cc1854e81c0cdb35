ANSWERS = [
    ("find_songs", {"artist": "etta marsh"}, ["Golden Hour Blues", "Midnight Clarinet"]),
    ("find_songs", {"genre": "rock"}, ["Thunder Road Home", "Broken Compass"]),
    (
        "song_details",
        {"title": "Low Tide"},
        {"title": "Low Tide", "artist": "The Velvet Foxes", "genre": "indie", "seconds": 251},
    ),
    (
        "create_playlist",
        {"name": "Road Trip", "songs": ["Broken Compass", "whiskey and rain"]},
        "created Road Trip: Broken Compass, Whiskey and Rain",
    ),
    (
        "add_song_to_playlist",
        {"song": "Concrete Garden", "playlist": "Morning Run"},
        "added Concrete Garden to Morning Run",
    ),
    (
        "remove_song_from_playlist",
        {"song": "Low Tide", "playlist": "Dinner with Friends"},
        "removed Low Tide from Dinner with Friends",
    ),
    ("show_playlist", {"playlist": "deep focus"}, ["Nocturne for Ana (Lidia Kovacs)", "Spring Waltz (Lidia Kovacs)"]),
    (
        "show_playlist",
        {"playlist": "Dinner with Friends", "order": "shortest first"},
        ["Low Tide (The Velvet Foxes)", "Golden Hour Blues (Etta Marsh)", "Midnight Clarinet (Etta Marsh)"],
    ),
    (
        "show_playlist",
        {"playlist": "Deep Focus", "order": "alphabetical"},
        ["Nocturne for Ana (Lidia Kovacs)", "Spring Waltz (Lidia Kovacs)"],
    ),
]

REFUSED = [
    ("find_songs", {"artist": "Low Tide"}, "there is no artist 'Low Tide'; there is: "),
    ("find_songs", {"artist": "Caleb Stone", "genre": "jazz"}, "no jazz song by Caleb Stone"),
    ("song_details", {"title": "Caleb Stone"}, "there is no song 'Caleb Stone'"),
    ("create_playlist", {"name": "Deep Focus", "songs": []}, "a playlist 'Deep Focus' already"),
    ("create_playlist", {"name": "New", "songs": ["Low Tide", "Morning Run"]}, "there is no song 'Morning Run'"),
    ("add_song_to_playlist", {"song": "Morning Run", "playlist": "Low Tide"}, "there is no song 'Morning Run'"),
    ("add_song_to_playlist", {"song": "Run the Skyline", "playlist": "Morning Run"}, "is in Morning Run already"),
    (
        "remove_song_from_playlist",
        {"song": "Low Tide", "playlist": "Morning Run"},
        "no song in Morning Run called 'Low Tide'; there is: ",
    ),
    ("show_playlist", {"playlist": "Running"}, "there is no playlist 'Running'; there is: Morning Run, "),
]

STORIES = [
    [
        ("create_playlist", {"name": "Road Trip", "songs": ["Broken Compass"]}, "created Road Trip: Broken Compass"),
        ("add_song_to_playlist", {"song": "Low Tide", "playlist": "road trip"}, "added Low Tide to Road Trip"),
        (
            "remove_song_from_playlist",
            {"song": "Broken Compass", "playlist": "Road Trip"},
            "removed Broken Compass from Road Trip",
        ),
        ("show_playlist", {"playlist": "Road Trip"}, ["Low Tide (The Velvet Foxes)"]),
    ]
]
