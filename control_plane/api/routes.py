"""A route of the API: who sends a request is judged by its head, and only then is its body read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from control_plane.api import auth
from control_plane.api.limits import Bodies


class Route(APIRoute):
    """Of every router: FastAPI itself reads and parses the body before any dependency is asked, so it judges nobody in time."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What is done with a request of this route."""
        handle = super().get_route_handler()
        operation, has_body = str(self.operation_id), self.body_field is not None

        async def judged(request: Request) -> Response:
            await auth.judge(request, operation)
            if not has_body:
                return await handle(request)
            bodies: Bodies = request.app.state.bodies
            async with bodies.received(request, operation) as whole:
                return await handle(whole)

        return judged
