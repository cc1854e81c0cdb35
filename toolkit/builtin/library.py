"""A lending library: its books, loans and reservations."""

from datetime import timedelta
from typing import Annotated, Literal

from toolkit.builtin.workspace_data import Record, changing, choose, find, known, load
from toolkit.builtin.written_times import read_day
from toolkit.declare import tool

_FAMILY, _WEEKS = "library", 3
_Title = Annotated[str, known(_FAMILY, "books", "title")]
_Author = Annotated[str, known(_FAMILY, "books", "author")]
_Member = Annotated[str, known(_FAMILY, "members")]
_Borrowed = Annotated[str, known(_FAMILY, "loans", "title")]
_Genre = Literal["crime", "science", "novel", "cooking", "history", "children", "science fiction"]


def _left(data: dict[str, list[Record]], book: Record) -> int:
    return book["copies"] - sum(loan["title"] == book["title"] for loan in data["loans"])


def _loan(data: dict[str, list[Record]], title: str, member: str) -> Record:
    who = find(data["members"], member, "member")["name"]
    return find([loan for loan in data["loans"] if loan["member"] == who], title, f"loan of {who}", "title")


@tool(effect="writes", sandbox_state=True)
def search_library(author: _Author = "", genre: Literal[_Genre, "any"] = "any") -> list[str]:
    """Find the books of the library by author and genre.

    Args:
        author: Name of the author.
        genre: Genre of the books.
    """
    books = load(_FAMILY)["books"]
    if author:
        author = choose(dict.fromkeys(book["author"] for book in books), author, "author")
    found = [book for book in books if author in ("", book["author"]) and genre in ("any", book["genre"])]
    if not found:
        raise ValueError(f"there is no {genre} book by {author}; leave one of them out")
    return [f"{book['title']} ({book['year']})" for book in found][:7]


@tool(effect="writes", sandbox_state=True)
def book_availability(title: _Title) -> str:
    """Tell if a book of the library can be borrowed, or when it comes back.

    Args:
        title: Title of the book.
    """
    data = load(_FAMILY)
    book = find(data["books"], title, "book", "title")
    left = _left(data, book)
    if left:
        return f"{left} of {book['copies']} can be borrowed"
    return f"back on {min(loan['due'] for loan in data['loans'] if loan['title'] == book['title'])}"


@tool(effect="writes", sandbox_state=True)
def borrow_book(title: _Title, member: _Member, date: str) -> str:
    """Lend a book of the library to a member for three weeks.

    Args:
        title: Title of the book.
        member: Name of the member.
        date: Day of the loan as YYYY-MM-DD.
    """
    due = (read_day(date, "date") + timedelta(weeks=_WEEKS)).isoformat()
    with changing(_FAMILY) as data:
        book, who = find(data["books"], title, "book", "title"), find(data["members"], member, "member")["name"]
        if not _left(data, book):
            raise ValueError(f"all copies of {book['title']} are lent; reserve it")
        data["loans"].append({"title": book["title"], "member": who, "due": due})
    return f"{who} has {book['title']} until {due}"


@tool(effect="writes", sandbox_state=True)
def return_book(title: _Borrowed, member: _Member) -> str:
    """Give a borrowed book back to the library.

    Args:
        title: Title of the book.
        member: Name of the member who borrowed it.
    """
    with changing(_FAMILY) as data:
        loan = _loan(data, title, member)
        data["loans"].remove(loan)
    return f"{loan['member']} returned {loan['title']}"


@tool(effect="writes", sandbox_state=True)
def renew_loan(title: _Borrowed, member: _Member, weeks: int = 2) -> str:
    """Let a member keep a borrowed book for longer.

    Args:
        title: Title of the book.
        member: Name of the member who borrowed it.
        weeks: Weeks to add, at most 4.
    """
    if not 1 <= weeks <= 4:
        raise ValueError("weeks must be between 1 and 4")
    with changing(_FAMILY) as data:
        loan = _loan(data, title, member)
        if any(hold["title"] == loan["title"] for hold in data["holds"]):
            raise ValueError(f"somebody reserved {loan['title']}; return it on {loan['due']}")
        loan["due"] = (read_day(loan["due"], "due") + timedelta(weeks=weeks)).isoformat()
    return f"{loan['member']} has {loan['title']} until {loan['due']}"


@tool(effect="writes", sandbox_state=True)
def reserve_book(title: _Title, member: _Member) -> str:
    """Reserve a book of the library that others have borrowed.

    Args:
        title: Title of the book.
        member: Name of the member who wants it.
    """
    with changing(_FAMILY) as data:
        book, who = find(data["books"], title, "book", "title"), find(data["members"], member, "member")["name"]
        if _left(data, book):
            raise ValueError(f"{book['title']} can be borrowed now; borrow it")
        data["holds"].append({"title": book["title"], "member": who})
        place = sum(hold["title"] == book["title"] for hold in data["holds"])
    return f"{who} is number {place} in line for {book['title']}"


@tool(effect="writes", sandbox_state=True)
def member_loans(member: _Member) -> list[str]:
    """List the books that a member of the library has borrowed, with the days when they are due.

    Args:
        member: Name of the member.
    """
    data = load(_FAMILY)
    who = find(data["members"], member, "member")["name"]
    return [f"{loan['title']}, due {loan['due']}" for loan in data["loans"] if loan["member"] == who][:6]
