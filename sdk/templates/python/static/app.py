"""The window {{name}}: the site in `site`, whose files are in the component."""

from hms_window import Request, Response, Site, window

# For an application that has its own paths in the browser: Site("site", single_page=True)
SITE = Site("site")


@window
def handle(request: Request) -> Response:
    return SITE.answer(request)
