"""The closed set of reasons for which a request leads to no tool."""

from evolver.types import Explained


class ToolDropReason(Explained):
    """Reason for which the model wrote no usable tool; counted in the ledger."""

    REQUEST_TOO_LONG = "request_too_long", "The request is empty or longer than 200 characters."
    HELD_OUT = "held_out", "The request or the tool is part of a suite or an installed benchmark."
    DEFINITION_CUT_OFF = "definition_cut_off", "The definition was cut off or has another form."
    DEFINITION_NAMES = "definition_names", "A name in the definition is repeated or not allowed."
    DEFINITION_TEXTS = "definition_texts", "A description is too short, too long, or no plain sentence."
    DEFINITION_TYPES = "definition_types", "The definition names an unknown type."
    NO_CODE = "no_code", "The model wrote no code."
    CODE_CUT_OFF = "code_cut_off", "The code was cut off."
    CODE_TOO_LONG = "code_too_long", "The code is longer than 2,000 characters or 400 nodes of its syntax tree."
    CODE_NO_PYTHON = "code_no_python", "The code is no valid Python."
    CODE_NOT_ONE_FUNCTION = "code_not_one_function", "The code is not one plain function with the tool's name."
    CODE_OTHER_PARAMETERS = "code_other_parameters", "The function has other parameters than the definition."
    CODE_IGNORES_A_PARAMETER = "code_ignores_a_parameter", "The function does not use every parameter."
    CODE_RETURNS_NOTHING = "code_returns_nothing", "The function returns no value."
    CODE_IMPORTS = "code_imports", "The code imports something that it may not use."
    CODE_CALLS_ITSELF = "code_calls_itself", "The function uses its own name."
    CODE_READS_THE_CLOCK = "code_reads_the_clock", "The code asks for the current time."
    CODE_NEEDS_TOO_MUCH = (
        "code_needs_too_much",
        "The code uses a name or statement that no small pure function needs.",
    )
    REQUEST_GIVES_NO_ARGUMENTS = "request_gives_no_arguments", "The arguments for the request were cut off."
    RUN_TIMEOUT = "run_timeout", "The code took too long."
    RUN_RESOURCE_LIMIT = "run_resource_limit", "The code needed too much memory or disk."
    RUN_CRASHED = "run_crashed", "The code crashed the process in which it ran."
    RUN_BAD_RESULT = "run_bad_result", "The result is too large or no JSON."
    RESULT_CHANGES = "result_changes", "The code, run twice with the same arguments, returned different results."
    FAILS_ON_ITS_REQUEST = "fails_on_its_request", "The code failed with the arguments for the request."
    RESULT_OF_ANOTHER_TYPE = "result_of_another_type", "A result is not of the type in the definition."
    TOO_FEW_EXAMPLES_RUN = "too_few_examples_run", "Fewer than three different calls ran."
    ALWAYS_THE_SAME_RESULT = "always_the_same_result", "All calls returned the same."
    RETURNS_ITS_ARGUMENT = "returns_its_argument", "All calls returned one of their arguments."
    NAME_IN_USE = "name_in_use", "Another tool has this name or one that looks like it."
    IN_THE_POOL_ALREADY = "in_the_pool_already", "The same tool waits for a person's word, or is approved."
    REJECTED_BEFORE = "rejected_before", "A person has rejected the same tool."


class ToolDropped(Exception):
    """End of a try, for ``reason``."""

    def __init__(self, reason: ToolDropReason) -> None:
        super().__init__(reason.sentence)
        self.reason = reason
