"""`viralsync execute`, `models` and `generations`: generated media, over the HTTP API of a gateway here or elsewhere.

What belongs here: these commands and their arguments. What does not: how they look (execution_pictures.py), jobs in general (jobs.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import ArgumentsWrong, json_argument
from viralsync_pipelines.cli.jobs import at_gateway, gateway_arguments, now, positive, watched

if TYPE_CHECKING:
    from viralsync_pipelines.settings import Settings

# As many bytes as the gateway takes in one request.
_MOST_BYTES = 8_000_000
_CODES = """\
exit codes with --watch:
  0    everything is done
  1    something failed
  2    the plan or the arguments are wrong
  3    the gateway cannot be reached, or does not take the key
  130  it was cancelled, or watching was interrupted: the execution goes on
"""


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    execute = commands.add_parser(
        "execute", help="have a plan of generations carried out; prints the execution's id", epilog=_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    execute.add_argument("plan", type=Path, help="a plan JSON, {\"jobs\": [{id, operation, params, dependsOn}]}, or - for standard input")
    execute.add_argument("--base", metavar="ID", help="an execution whose finished results may be used")
    execute.add_argument("--webhook", metavar="URL", help="an address to be told of its progress and end")
    execute.add_argument("--project", metavar="ID", help="the project it belongs to")
    execute.add_argument("--channel", metavar="NAME", help="the channel it is for")
    execute.add_argument("--watch", action="store_true", help="follow it until it ends, then show what became of each job")
    execute.set_defaults(run=execute_command, output=False)

    models = commands.add_parser("models", help="list the models that plans may name")
    models.add_argument("--type", metavar="NAME", help="of these jobs, such as video or generate.video")
    models.set_defaults(run=models_command)

    generations = commands.add_parser("generations", help="list the newest generations, or clear those that have ended")
    generations.add_argument("--status", choices=("queued", "running", "waiting", "done", "failed", "cancelled"), help="only these")
    generations.add_argument("-n", "--limit", type=positive, default=6, help="at most so many (default 6)")
    generations.add_argument("--clear", action="store_true", help="forget those that have ended")
    generations.set_defaults(run=generations_command)
    for parser in (execute, models, generations):
        gateway_arguments(parser)
        json_argument(parser)


def execute_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.cli.execution_pictures import show_execution

    jobs, base = read_plan_file(args.plan)
    with at_gateway(args, settings, tries=3) as client:
        made = client.execute(
            jobs, base_execution_id=args.base or base, webhook=args.webhook, project_id=args.project, channel=args.channel
        )
        if args.watch:
            code = watched(client, client.get(made.id), args)
            ended = client.execution(made.id)
            if not args.json:
                show_execution(ended, now())
            return code
    print(json.dumps(made.raw) if args.json else made.id, flush=True)
    if not args.json:
        print(f"`viralsync jobs watch {made.id}` follows it.", file=sys.stderr)
    return 0


def models_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.cli.execution_pictures import show_models

    with at_gateway(args, settings) as client:
        found = [each for each in client.models() if args.type in {None, each.type, each.type.removeprefix("generate.")}]
    if args.json:
        listed = [
            {"id": each.id, "provider": each.provider, "type": each.type, "available": each.available, "price": each.price,
             "strategies": each.strategies, "params": each.params}
            for each in found
        ]  # fmt: skip
        print(json.dumps({"models": listed}))
    else:
        show_models(found)
    return 0


def generations_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.cli.execution_pictures import show_generations

    with at_gateway(args, settings) as client:
        if args.clear:
            count = client.clear_generations()
            print(json.dumps({"executions": count}) if args.json else f"{count} executions cleared")
            return 0
        found = client.generations(limit=min(100, args.limit), status=args.status)
    if args.json:
        print(json.dumps({"generations": [each.raw for each in found]}))
    else:
        show_generations(found)
    return 0


def read_plan_file(path: Path) -> tuple[list[Any], str | None]:
    """The jobs of a plan, and the execution it says it is based on. It may also be the whole body of a request, or the list alone."""
    try:
        data = sys.stdin.buffer.read(_MOST_BYTES + 1) if str(path) == "-" else path.read_bytes()
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise ArgumentsWrong(f"{path} cannot be read ({told}); check the name") from error
    if len(data) > _MOST_BYTES:
        raise ArgumentsWrong(f"{path} has more than {_MOST_BYTES:,} bytes; split the plan")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArgumentsWrong(f"{path} is no JSON ({str(error)[:200]}); fix it there") from error
    if isinstance(found, dict) and isinstance(found.get("executionPlan"), dict):
        found = {**found["executionPlan"], **{k: v for k, v in (found.get("options") or {}).items() if k == "baseExecutionId"}}
    jobs = found.get("jobs") if isinstance(found, dict) else found
    if not isinstance(jobs, list):
        raise ArgumentsWrong(f'{path} is no plan; write {{"jobs": [{{"id": ..., "operation": ..., "params": ...}}]}}')
    base = found.get("baseExecutionId") if isinstance(found, dict) else None
    return jobs, base if isinstance(base, str) else None
