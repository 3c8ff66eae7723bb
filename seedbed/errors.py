"""The errors a user can mend, each one line that names the file or field and the remedy."""


class SeedbedError(Exception):
    """A failure the program understands; the command prints its one line and ends with `exit_code`."""

    exit_code = 1

    def __str__(self) -> str:
        return " ".join(super().__str__().splitlines())  # one line also where a name it quotes holds a line's end


class InputError(SeedbedError):
    """The user's input is wrong: a file, a recipe field, an option. Ends with status 2."""

    exit_code = 2


class Interrupted(SeedbedError):
    """Ctrl-C or SIGTERM arrived and the work was left in a state that continues. Ends with status 130."""

    exit_code = 130
