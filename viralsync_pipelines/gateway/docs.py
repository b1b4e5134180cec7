"""`GET /docs`: the API to look at and try, from files of this installation: a studio without internet sees it too.

What belongs here: that page. What does not: the OpenAPI document (FastAPI makes it from the routes).
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles


def install(app: FastAPI) -> None:
    """Put the page on `app`, which is made with docs_url=None: FastAPI's own takes its script from a CDN."""
    app.mount("/docs/static", StaticFiles(packages=[("fastapi_swagger", "resources")]), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    def docs(request: Request) -> HTMLResponse:
        root = request.scope.get("root_path", "").rstrip("/")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json", title=app.title, swagger_js_url=f"{root}/docs/static/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/static/swagger-ui.css", swagger_favicon_url=f"{root}/docs/static/favicon-32x32.png",
        )  # fmt: skip

    @app.get("/", include_in_schema=False)
    def root(request: Request) -> RedirectResponse:
        return RedirectResponse(request.url_for("docs"))
