"""From a request to its outcome, for models of any family."""

from __future__ import annotations

from backmap.models import shipped
from backmap.usual_settings import usual_settings

from .protein import ProteinRun
from .request import Request
from .run import Outcome
from .temporal import TemporalRun


def carry_out(request: Request) -> Outcome:
    """Carry out a request.

    Raises
    ------
    InputError
        If the input or the request cannot be used, or the output cannot be written.
    """
    with usual_settings():
        model = shipped.read_model(request.model)
        request.require_family(model.family)
        run = TemporalRun(request, model) if model.family == "temporal" else ProteinRun(request, model)
        return run.carry_out()
