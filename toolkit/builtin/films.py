"""Films, a list of those to watch, and what the cinemas show."""

from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load, require_new, save
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_Film = Annotated[str, known("films", "films", "title")]
_Shown = Annotated[str, known("films", "showings", "title")]
_Director = Annotated[str, known("films", "films", "director")]
_Actor = Annotated[str, known("films", "films", "actors")]
_Cinema = Annotated[str, known("films", "showings", "cinema")]
_Genre = Literal["drama", "thriller", "comedy", "science fiction", "romance", "documentary", "animation"]


@tool(effect="writes", sandbox_state=True)
def find_films(genre: Literal[_Genre, "any"] = "any", director: _Director = "", actor: _Actor = "") -> list[str]:
    """Find films by genre, director and actor.

    Args:
        genre: Genre of the film.
        director: Name of the director.
        actor: Name of somebody who plays in it.
    """
    films = load("films")["films"]
    if director:
        director = choose(dict.fromkeys(film["director"] for film in films), director, "director")
    if actor:
        actor = choose(dict.fromkeys(name for film in films for name in film["actors"]), actor, "actor")
    found = [
        f"{film['title']} ({film['year']})"
        for film in films
        if genre in ("any", film["genre"])
        and director in ("", film["director"])
        and (not actor or actor in film["actors"])
    ]
    if not found:
        raise ValueError("there is no such film; leave out the genre, the director or the actor")
    return found


@tool(effect="writes", sandbox_state=True)
def film_details(title: _Film) -> Record:
    """Tell the director, year, length and actors of a film.

    Args:
        title: Title of the film.
    """
    film = find(load("films")["films"], title, "film", "title")
    return {key: film[key] for key in ("title", "director", "year", "minutes", "actors")}


@tool(effect="writes", sandbox_state=True)
def add_to_watchlist(title: _Film, priority: Literal["high", "normal", "low"] = "normal") -> str:
    """Put a film on the list of films to watch.

    Args:
        title: Title of the film.
        priority: How soon one wants to watch it.
    """
    data = load("films")
    film = find(data["films"], title, "film", "title")["title"]
    require_new(data["watchlist"], film, "film on the list", "title")
    data["watchlist"].append({"title": film, "priority": priority})
    save("films", data)
    return f"{film} is on the watchlist with {priority} priority"


@tool(effect="writes", sandbox_state=True)
def rate_film(title: _Film, stars: int) -> str:
    """Rate a film with stars and take it off the watchlist.

    Args:
        title: Title of the film.
        stars: From 1, bad, to 5, very good.
    """
    if not 1 <= stars <= 5:
        raise ValueError("stars must be between 1 and 5")
    data = load("films")
    film = find(data["films"], title, "film", "title")
    film["stars"] = stars
    data["watchlist"] = [each for each in data["watchlist"] if each["title"] != film["title"]]
    save("films", data)
    return f"rated {film['title']} with {stars} of 5 stars"


@tool(effect="writes", sandbox_state=True)
def cinema_program(date: str, cinema: _Cinema = "") -> list[str]:
    """Show the films that cinemas play on a day.

    Args:
        date: Day as YYYY-MM-DD.
        cinema: Name of the cinema; left out, the last films of all cinemas.
    """
    read_day(date, "date")  # the shipped program is the same every day
    showings = load("films")["showings"]
    if cinema:
        cinema = choose(dict.fromkeys(each["cinema"] for each in showings), cinema, "cinema")
    found = [each for each in showings if cinema == each["cinema"] or (not cinema and each["time"] >= "19:00")]
    return [f"{each['time']} {each['title']}" + ("" if cinema else f", {each['cinema']}") for each in found][:6]


@tool(effect="writes", sandbox_state=True)
def buy_cinema_tickets(film: _Shown, cinema: _Cinema, date: str, tickets: int) -> str:
    """Buy tickets for a film at a cinema.

    Args:
        film: Title of the film.
        cinema: Name of the cinema.
        date: Day as YYYY-MM-DD.
        tickets: Number of tickets.
    """
    day = read_day(date, "date").isoformat()
    with changing("films") as data:
        where = choose(dict.fromkeys(each["cinema"] for each in data["showings"]), cinema, "cinema")
        title = find(data["films"], film, "film", "title")["title"]
        shown = [each for each in data["showings"] if each["cinema"] == where]
        showing = find(shown, title, f"showing at {where} of", "title")
        order = {"title": title, "cinema": where, "date": day}
        sold = sum(each["tickets"] for each in data["tickets"] if order.items() <= each.items())
        if not 1 <= tickets <= showing["seats"] - sold:
            raise ValueError(f"tickets must be between 1 and {showing['seats'] - sold}, the seats that are left")
        data["tickets"].append({**order, "tickets": tickets})
    return f"tickets for {title} at {where} on {day} at {showing['time']}: {tickets}"
