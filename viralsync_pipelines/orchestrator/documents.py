"""GraphQL documents for Dagster's web server, as version 1.13 understands them.

What belongs here: the words sent. What does not: sending them, and what answers mean (graphql.py).
"""

from __future__ import annotations

_LAUNCHED = """launched: launchRun(executionParams: $params) {
        __typename
        ... on LaunchRunSuccess {run {runId}}
        ... on RunConfigValidationInvalid {errors {message}}
        ... on PythonError {message className}
        ... on PipelineNotFoundError {message}
        ... on InvalidSubsetError {message}
        ... on UnauthorizedError {message}
        ... on RunConflict {message}
        ... on PresetNotFoundError {message}
        ... on ConflictingExecutionParamsError {message}
    }"""

# launchRun alone would take a partition that nobody has added, and the run would fail at its first step. The fields of a mutation
# are carried out one after the other.
LAUNCH_PARTITION = f"""mutation Launch($repository: RepositorySelector!, $partition: String!, $params: ExecutionParams!) {{
    added: addDynamicPartition(repositorySelector: $repository, partitionsDefName: "movies", partitionKey: $partition) {{
        __typename
        ... on PythonError {{message}}
        ... on UnauthorizedError {{message}}
    }}
    {_LAUNCHED}
}}"""

LAUNCH = f"""mutation Launch($params: ExecutionParams!) {{
    {_LAUNCHED}
}}"""

RUN = """query Run($run: ID!, $children: [ExecutionTag!]!) {
    run: runOrError(runId: $run) {
        __typename
        ... on Run {
            jobName runConfig rootRunId
            tags {key value}
            assetSelection {path}
            assetCheckSelection {name assetKey {path}}
        }
        ... on PythonError {message}
    }
    children: runsOrError(filter: {tags: $children}, limit: 100) {... on Runs {results {runId}} ... on PythonError {message}}
}"""

STATUS = """query Status($run: ID!) {
    run: runOrError(runId: $run) {__typename ... on Run {status} ... on PythonError {message}}
}"""

TAGGED = """query Tagged($tags: [ExecutionTag!]!) {
    runs: runsOrError(filter: {tags: $tags}, limit: 100) {
        __typename
        ... on Runs {results {runId status parentRunId}}
        ... on InvalidPipelineRunsFilterError {message}
        ... on PythonError {message}
    }
}"""

TERMINATE = """mutation Terminate($run: String!, $policy: TerminateRunPolicy!) {
    ended: terminateRun(runId: $run, terminatePolicy: $policy) {
        __typename
        ... on TerminateRunSuccess {run {status}}
        ... on TerminateRunFailure {message}
        ... on UnauthorizedError {message}
        ... on PythonError {message}
    }
}"""

DELETE = """mutation Delete($run: String!) {
    deleted: deleteRun(runId: $run) {__typename ... on UnauthorizedError {message} ... on PythonError {message}}
}"""

LOCATION = """query Location($name: String!) {
    location: workspaceLocationEntryOrError(name: $name) {
        __typename
        ... on WorkspaceLocationEntry {loadStatus locationOrLoadError {__typename}}
    }
}"""
