"""The closed set of reasons for which a trace is no lesson."""

from evolver.types import Explained
from toolkit.tool import ToolErrorKind


class DropReason(Explained):
    """Reason for which a trace was dropped; stored in verdicts and in the ledger."""

    NO_SENTENCE = "no_sentence", "The request is too short, too long, or breaks off."
    NO_PLAIN_WORDING = "no_plain_wording", "The request holds markup, braces, underscores or double spaces."
    DUPLICATE = "duplicate", "A request in the same words is a lesson already."
    NEAR_DUPLICATE = "near_duplicate", "A request in nearly the same words, for the same calls, is a lesson already."
    HELD_OUT = "held_out", "The request is part of a suite or an installed benchmark."
    TEMPLATE_TOKEN = "template_token", "A text holds a token of a chat template."
    SECRET = "secret", "A text holds a password, key or other secret."
    PERSONAL_DATA = "personal_data", "A text holds a mail address, a telephone or card number, or the like."
    INJECTED_INSTRUCTIONS = "injected_instructions", "A tool result gives orders to its reader."
    MAY_NEED_A_TOOL = "may_need_a_tool", "A no-tool request must contain no numbers, and this one does."
    ARGUMENT_NOT_STATED = "argument_not_stated", "The request does not state every argument of its calls."
    FLAG_NOT_STATED = "flag_not_stated", "The request does not say what a yes-or-no argument is set to."
    ARGUMENTS_ARE_ALIKE = "arguments_are_alike", "Two arguments of a call are equal, so that nothing tells them apart."
    STATES_ANOTHER_NUMBER = "states_another_number", "The request holds a number that no call uses."
    TELLS_THE_RESULT = "tells_the_result", "The request already holds the result."
    SPEAKS_OF_ANOTHER_TOOL = "speaks_of_another_tool", "The request fits other tools better than the one called."
    LEAVES_OUT_WHAT_IS_ASKED = "leaves_out_what_is_asked", "The call leaves out an option that the request asks for."
    CALL_UNKNOWN_TOOL = "call_unknown_tool", "The called tool does not exist any more."
    CALL_INVALID_ARGUMENTS = "call_invalid_arguments", "The arguments do not fit the tool's schema."
    CALL_MALFORMED_CALL = "call_malformed_call", "The arguments are no JSON object."
    CALL_TOOL_FAILED = "call_tool_failed", "The tool raised an error when the call was executed."
    CALL_TIMEOUT = "call_timeout", "The executed call took too long."
    CALL_RESOURCE_LIMIT = "call_resource_limit", "The executed call needed too much memory or disk."
    CALL_BAD_RESULT = "call_bad_result", "The result is too large or no JSON."
    CALL_CRASHED = "call_crashed", "The call crashed the process in which it ran."
    CALL_LOST = "call_lost", "The sandbox lost the process of the executed call."
    RESULT_CHANGES = "result_changes", "The call, executed again, returned something else."
    RESULT_TOO_LONG = "result_too_long", "The result is too long for a lesson."
    FAILURE_IS_GONE = "failure_is_gone", "The call that failed in the log works now."
    CALL_REPEATED = "call_repeated", "The client's turn made the same call twice."
    OBJECTED_TO = "objected_to", "The next request of the conversation objects to the answer."
    TURNS_DISAGREE = "turns_disagree", "Other turns of the client made other calls for the same request."
    NO_SIGN_OF_SUCCESS = (
        "no_sign_of_success",
        "Nothing but the absence of an error says that the logged calls were right.",
    )
    ROUND_TRIP_DIFFERS = "round_trip_differs", "The model, shown the request and the tool, arrived at another result."
    CALL_HAS_A_LIKELIER_REQUEST = (
        "call_has_a_likelier_request",
        "Enough requests that the model rates as more likely were kept for this call.",
    )
    TOOL_HAS_ENOUGH = "tool_has_enough", "Enough calls that the model rates as more likely were kept for this tool."
    OUT_OF_TIME = "out_of_time", "Generation reached `[evolver.make] max_minutes`."
    ARGUMENTS_CUT_OFF = "arguments_cut_off", "The sampled arguments were cut off."
    SAME_ARGUMENTS = "same_arguments", "The same arguments were sampled before."
    REQUESTS_CUT_OFF = "requests_cut_off", "All requests written for a call were cut off."
    NO_MAJORITY = "no_majority", "The sampled calls for a logged request do not agree on a result."
    NOT_GROUNDED = "not_grounded", "The call for a logged request has no argument that a person would state."

    @classmethod
    def of_error(cls, kind: ToolErrorKind) -> "DropReason":
        """Return the reason for a call that ended in an error of ``kind``."""
        return cls(f"call_{kind.value}")
