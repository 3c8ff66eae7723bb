"""The command `seedbed`: one file a verb, which parses, calls and prints.

Imports of heavy packages stay inside the verbs, so that help and errors are instant.
"""

import os
import sys

from seedbed.errors import InputError, Interrupted, SeedbedError


def main() -> None:
    """Entry point. Ends with 0 done, 1 failed, 2 wrong input, 130 interrupted, and one line on stderr."""
    # OpenMP's threads spin while they wait. With another busy process on the machine that costs up to 7x; a bounded spin
    # costs nothing measurable on a quiet one (docs/experiments/first-light.md). Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    import typer

    from seedbed import __version__
    from seedbed.cli.corpus import app as corpus
    from seedbed.cli.doctor import doctor
    from seedbed.cli.evaluate import evaluate
    from seedbed.cli.generate import generate
    from seedbed.cli.laws import laws
    from seedbed.cli.plan import app as plan
    from seedbed.cli.report import report
    from seedbed.cli.run import run, stage_verbs
    from seedbed.cli.verify import verify
    from seedbed.cli.why import why
    from seedbed.cli.yields import yields

    app = typer.Typer(
        help="Grow a base language model from raw text, and account for every document, token, FLOP, joule and dollar.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            print(__version__)
            raise typer.Exit

    @app.callback()
    def options(
        version: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="Show the version and exit."
        ),
    ) -> None:
        pass

    app.command()(run)
    for verb in stage_verbs():
        app.command()(verb)
    app.add_typer(plan, name="plan")
    app.add_typer(corpus, name="corpus")
    for verb in (evaluate, generate, why, yields, verify, report, doctor):
        app.command()(verb)
    app.add_typer(laws, name="laws")
    try:
        app(prog_name="seedbed")
    except SeedbedError as error:
        print(f"seedbed: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except PermissionError as error:
        print(f"seedbed: {error.filename}: {error.strerror}: change its permissions or choose another", file=sys.stderr)
        sys.exit(InputError.exit_code)
    except BrokenPipeError:
        sys.stderr.close()  # the reader left, as `head` does
    except OSError as error:  # a disk so full that not even the run's log can be written
        from seedbed.run.stages import FULL

        if error.errno not in FULL:
            raise
        print(f"seedbed: {FULL[error.errno]} and run the same command again", file=sys.stderr)
        sys.exit(SeedbedError.exit_code)
    except SystemExit as ended:
        if ended.code == Interrupted.exit_code:  # typer makes it of a KeyboardInterrupt, and says nothing
            print("seedbed: stopped by Ctrl-C", file=sys.stderr)
        raise
