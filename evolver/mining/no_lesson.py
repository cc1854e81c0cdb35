"""The closed set of reasons for which a logged turn is no candidate for a lesson."""

from evolver.types import Explained


class NoLesson(Explained):
    """Reason for which no trace was made of a turn; stored with its task."""

    CALL_FAILED = "call_failed", "A call of the turn failed, and nothing better followed."
    NOT_ANSWERED = "not_answered", "The turn did not end in an answer, or a call has no result in the log."
    ASKED_AGAIN = "asked_again", "The next turn of the conversation puts the request again."
    CALLED_BAD = "called_bad", "A person judged the turn bad, and nothing says what would have been right."
    ANOTHER_MODEL = "another_model", "Another model wrote the turn, and nothing that it writes may be learned."
    TALK = "talk", "The turn was answered without a call, and nobody judged it good."
    UNSERVED = "unserved", "The model declined, or called nothing and was judged bad."
    HISTORY_UNKNOWN = "history_unknown", "What was said before it is not all in the log, or may not be learned from."
    NOTHING_IN_IT = "nothing_in_it", "None of its messages can be learned, as a call that cannot be read."
    SAME_REQUEST = "same_request", "A turn with the same request was taken in its place."
    NO_REQUEST = "no_request", "It is no request in words, or a text to be continued."
