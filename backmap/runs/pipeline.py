"""From a request to its outcome, for models of any family."""

from __future__ import annotations

from backmap.io.naming import require_file
from backmap.models import shipped
from backmap.models.model_file import ModelFile
from backmap.usual_settings import usual_settings

from .protein import ProteinRun
from .request import Request
from .run import Outcome, Run


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
        return _open_run(request, model).carry_out()


def _open_run(request: Request, model: ModelFile) -> Run:
    """Open the inputs of a run and plan it."""
    if model.family != "temporal":
        return ProteinRun(request, model)
    # The model says what its input looks like, and takes long to load.
    for path in filter(None, (*request.input, request.top, request.seed_from)):
        require_file(path)
    from .temporal import TemporalRun

    return TemporalRun(request, model)
