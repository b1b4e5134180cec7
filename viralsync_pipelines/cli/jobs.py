"""`viralsync jobs ...`: what a person does with jobs, over the HTTP API of a gateway here or elsewhere.

What belongs here: these commands, their arguments and exit codes. What does not: how jobs look (job_pictures.py, job_watch.py), the API
(client/). Nothing heavy is imported until a command runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import ArgumentsWrong, json_argument, movie_arguments, read_movie_file, variables_of
from viralsync_pipelines.errors import MovieInvalid, Problem, SettingsError, ViralsyncError

if TYPE_CHECKING:
    from viralsync_pipelines.client import ApiError, Client, JobView
    from viralsync_pipelines.settings import Settings

_CODES = """\
exit codes of `watch`, and of `submit --watch`:
  0    the job is done
  1    it failed
  2    there is no such job, or the movie or the arguments are wrong
  3    the gateway cannot be reached, or does not take the key
  130  it was cancelled, or watching was interrupted: the job goes on

The gateway is http://127.0.0.1:3000, or VIRALSYNC_API_URL with VIRALSYNC_API_KEY, or --url with --key.
"""
_EXITS = {"done": 0, "failed": 1, "cancelled": 130}
_OF_PLANS = ("/executionPlan", "/options")


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    jobs = commands.add_parser(
        "jobs", help="list, show, watch, cancel, retry and open jobs, over the Jobs API", epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    inner = jobs.add_subparsers(title="commands", metavar="<command>", required=True)

    found = _command(inner, "list", list_command, "list jobs, newest first", job=False)
    found.add_argument("--status", metavar="NAME", help="queued, running, waiting, done, failed or cancelled; several with commas")
    found.add_argument("--type", metavar="NAME", help="such as render.movie, or a whole domain such as render; several with commas")
    found.add_argument("--project", metavar="ID", help="jobs of this project")
    found.add_argument("--channel", metavar="NAME", help="jobs of this channel")
    found.add_argument("--parent", metavar="JOB", help="children of this job")
    found.add_argument("--since", metavar="TIME", help="made at or after this time, such as 2026-04-02T10:00:00Z")
    found.add_argument("--until", metavar="TIME", help="made before this time")
    found.add_argument("-n", "--limit", type=positive, default=25, help="at most so many (default 25)")

    _command(inner, "show", show_command, "everything about a job: stage, children, attempts, error, links")

    watch = _command(inner, "watch", watch_command, "follow a job until it ends; with --json a line of JSON for each event")
    watch.add_argument("--output", action="store_true", help="also what its steps print")

    cancel = _command(inner, "cancel", cancel_command, "end a job and its children")
    cancel.add_argument("--force", action="store_true", help="note it as cancelled at once, without waiting for its processes")

    retry = _command(inner, "retry", retry_command, "another attempt of a job that has ended, or of one of its scenes")
    retry.add_argument("--scope", choices=("failed", "all"), default="failed", help="make what is missing (default), or everything anew")
    retry.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the movie, as in `render`")

    shown = _command(inner, "open", open_command, "open a job's output in the browser, or its run while there is none")
    shown.add_argument("--dagster", action="store_true", help="the run's page in Dagster's UI, also when there is an output")
    shown.add_argument("--print", action="store_true", help="only print the address")

    submit = _command(inner, "submit", submit_command, "have a movie rendered by the gateway; prints the job's id", job=False)
    movie_arguments(submit)
    submit.add_argument("--project", metavar="ID", default="default", help="the project it belongs to (default: default)")
    submit.add_argument("--channel", metavar="NAME", help="the channel it is for")
    submit.add_argument("--preset", choices=("stable", "balanced", "fast", "turbo"), help="scenes at a time: 2, 3, 4 or 6")
    submit.add_argument("--concurrency", type=positive, metavar="N", help="scenes at a time, 1 to 32")
    submit.add_argument("--priority", choices=("low", "normal", "high"), help="place among those that wait (default normal)")
    submit.add_argument("--callback", metavar="URL", help="an address to be told of its progress and end")
    submit.add_argument("--draft", action="store_true", help="half size and fast; the same timing")
    submit.add_argument("--watch", action="store_true", help="follow it until it ends")
    submit.set_defaults(output=False)


def _command(inner: Any, name: str, run: Any, words: str, *, job: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = inner.add_parser(name, help=words)
    if job:
        parser.add_argument("job", help="a job's id, such as job_a1b2c3d4e5f6, or a child's")
    gateway_arguments(parser)
    if name != "submit":
        json_argument(parser)
    parser.set_defaults(run=run)
    return parser


def gateway_arguments(parser: argparse.ArgumentParser) -> None:
    """Which gateway, and with which key."""
    parser.add_argument("--url", help="the gateway's address (default VIRALSYNC_API_URL, or http://127.0.0.1:3000)")
    parser.add_argument("--key", help="an API key (default VIRALSYNC_API_KEY, which other users of this machine do not see)")


def positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


# ---- commands --------------------------------------------------------------------------------------------------------


def list_command(args: argparse.Namespace, settings: Settings) -> int:
    with at_gateway(args, settings) as client:
        # One more than is shown, to know whether there are more.
        found = list(client.list(
            limit=args.limit + 1, status=args.status, type=args.type, project_id=args.project, channel=args.channel, parent=args.parent,
            since=args.since, until=args.until,
        ))  # fmt: skip
    jobs = found[: args.limit]
    if args.json:
        print(json.dumps({"jobs": [job.raw for job in jobs], "more": len(found) > len(jobs)}))
    else:
        from viralsync_pipelines.cli.job_pictures import show_jobs

        show_jobs(jobs, now(), more=len(found) > len(jobs))
    return 0


def show_command(args: argparse.Namespace, settings: Settings) -> int:
    with at_gateway(args, settings) as client:
        job = client.get(args.job)
        children = client.children(args.job) if job.children is not None else ()
    if args.json:
        print(json.dumps({"job": job.raw, "children": [child.raw for child in children]}))
    else:
        from viralsync_pipelines.cli.job_pictures import show_job

        show_job(job, children, now())
    return 0


def watch_command(args: argparse.Namespace, settings: Settings) -> int:
    with at_gateway(args, settings) as client:
        return watched(client, client.get(args.job), args)


def cancel_command(args: argparse.Namespace, settings: Settings) -> int:
    with at_gateway(args, settings) as client:
        job = client.cancel(args.job, force=args.force)
    if args.json:
        print(json.dumps(job.raw))
    else:
        print(f"{job.id} is {job.status}" if job.terminal else f"{job.id} was asked to end; it is {job.status}")
    return 0


def retry_command(args: argparse.Namespace, settings: Settings) -> int:
    variables = variables_of(args.set)
    with at_gateway(args, settings) as client:
        job = client.retry(args.job, scope=args.scope, set=variables or None)
    told = f"{job.id} is {job.status}, attempt {job.attempt}; `viralsync jobs watch {job.id}` follows it"
    print(json.dumps(job.raw) if args.json else told)
    return 0


def open_command(args: argparse.Namespace, settings: Settings) -> int:
    with at_gateway(args, settings) as client:
        job = client.get(args.job)
        url = None if args.dagster else job.output_url
        if url is not None and client.api_key is not None and url.startswith(f"{client.base_url}/"):
            # A browser sends no key; this opens this one job's files for a while.
            url = f"{url}?token={client.stream_token(args.job).token}"
    url = url or job.links.get("dagster")
    if url is None:
        told = f"{job.id} is {job.status} and has nothing to open; `viralsync jobs show {job.id}` tells more"
        raise ViralsyncError(told, code="NO_OUTPUT")
    if args.json:
        print(json.dumps({"url": url}))
    else:
        print(url)
    if not args.print and not args.json:
        import webbrowser

        if not webbrowser.open(url):
            print("There is no browser here; open the address above in one.", file=sys.stderr)
    return 0


def submit_command(args: argparse.Namespace, settings: Settings) -> int:
    document, _ = read_movie_file(args.movie)
    variables = variables_of(args.set)
    # Scripts submit: what the network loses is sent again, and makes one job.
    with at_gateway(args, settings, tries=3) as client:
        handle = client.render(
            document, project_id=args.project, callback_url=args.callback, preset=args.preset, concurrency=args.concurrency,
            variables=variables or None, priority=args.priority, channel=args.channel, draft=args.draft or None,
        )  # fmt: skip
        if args.watch:
            return watched(client, handle.refresh(), args)
    print(json.dumps(handle.job.raw) if args.json else handle.id, flush=True)
    if not args.json:
        print(f"`viralsync jobs watch {handle.id}` follows it.", file=sys.stderr)
    return 0


def watched(client: Client, job: JobView, args: argparse.Namespace) -> int:
    """Follow a job to its end; the exit code that says how it ended."""
    from viralsync_pipelines.cli.job_watch import watch

    ended = watch(client, job, as_json=args.json, output=args.output, now=now)
    if ended is None:
        print(f"{job.id} goes on; `viralsync jobs cancel {job.id}` ends it.", file=sys.stderr)
        return 130
    if not args.json and ended.output_url is not None and ended.status.value == "done":
        print(ended.output_url, flush=True)
    return _EXITS[ended.status.value]


# ---- the gateway -----------------------------------------------------------------------------------------------------


@contextmanager
def at_gateway(args: argparse.Namespace, settings: Settings, tries: int = 1) -> Iterator[Client]:
    """A client of the gateway that was asked for. What it refuses is told in its own words, and by the exit code that fits."""
    from viralsync_pipelines.client import DEFAULT_URL, ApiError, Client

    try:
        with Client(args.url or settings.api_url or DEFAULT_URL, args.key or settings.api_key, tries=tries) as client:
            yield client
    except ApiError as error:
        raise _as_told(error) from error


def _as_told(error: ApiError) -> ViralsyncError:
    if any(problem.pointer.startswith(_OF_PLANS) for problem in error.problems):
        from viralsync_pipelines.generate.plans import PlanInvalid

        return PlanInvalid([Problem(p.pointer.removeprefix("/executionPlan"), p.code, p.message) for p in error.problems])
    if error.problems:
        # The pointers are into the request; what the user has is the movie in it.
        return MovieInvalid([Problem(p.pointer.removeprefix("/movie"), p.code, p.message) for p in error.problems])
    if error.status is None or error.status in {401, 403}:
        return SettingsError(error.message, code=error.code)
    return ArgumentsWrong(error.message, code=error.code) if error.status in {400, 404, 413, 422} else error


def now() -> datetime:
    return datetime.now(UTC)
