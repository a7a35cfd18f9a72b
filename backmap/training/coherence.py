"""How fast torsions are forgotten, measured in simulations.

Rates are those under which the observed changes of basin are most probable, in the distributions that the
model predicts for the simulations' own C-alphas. Motions inside a basin are those with which C-alphas of the
simulations, built again, move all other atoms as the simulations do. Then all rates of a kind of torsion are
multiplied by a factor with which these atoms turn about it as often as in the simulations: the simulations'
torsions are mostly in their probable wells, those that are drawn are in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor

from backmap.chemistry import (
    HEAVY_ATOMS,
    RESIDUE_INDEX,
    RESIDUE_NAMES,
    SLOT_C,
    SLOT_CA,
    SLOT_CB,
    SLOT_N,
    SLOT_O,
    SLOT_OXT,
)
from backmap.chemistry.residues import MAX_CHI
from backmap.chemistry.topology import MAX_DISULFIDE_DISTANCE_NM
from backmap.datasets.simulations import Observed
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.backbone import chain_ends, end_torsions
from backmap.models.protein.basins import LONGEST_WINDOW, basin_masses, find_basins, share_leaving
from backmap.models.protein.coherence import CoherentDrawer
from backmap.models.protein.coherence_rates import CoherenceRates, inverse_temperature, surroundings
from backmap.models.protein.coherent_backbone import LONGEST_PEPTIDE_WINDOW
from backmap.models.protein.geometry import classify_angle, torsion_angle
from backmap.models.protein.model import ProteinModel, sites_at_once
from backmap.models.protein.peptide_planes import measure_angle
from backmap.models.protein.side_chains import measure_torsions

N_BASINS = 8
"""Basins of a distribution that count, from the most probable."""

_NODES = 9
"""Mobilities at which likelihoods are integrated (Gauss-Hermite)."""

_LARGEST_TURN = math.radians(60.0)
"""Change of a torsion in one step that does not count as leaving."""


@dataclass(frozen=True)
class CoherenceTrainingConfig:
    """How rates and memories are fitted.

    Attributes
    ----------
    spread : float
        Standard deviation of the logarithm of the rates of residue types around their mean.
    activation_energy : float
        Expected activation energy in kJ/mol.
    activation_spread : float
        Its standard deviation.
    frames : int
        Frames of each simulation that are built again to tune memories.
    rounds : int
        Passes over the memories.
    calibrations : int
        How often rates are multiplied by what turns lack, or have in excess.
    seed : int
        Of the random numbers.
    """

    spread: float = 0.7
    activation_energy: float = 15.0
    activation_spread: float = 7.0
    frames: int = 60
    rounds: int = 2
    calibrations: int = 2
    seed: int = 0


class Steps(NamedTuple):
    """Changes of torsions from frame to frame.

    Attributes
    ----------
    mass : Tensor, (n, basins)
        Probabilities of the most probable basins, in any order.
    own : Tensor, (n,)
        Probability of the basin before the step.
    stayed : Tensor, (n,) bool
        Whether the torsion is in the same basin after the step, or so near that it may be of the same window.
    group : Tensor, (n,) int64
        Index of the rate: residue type, or residue type x 4 + torsion.
    seen : Tensor, (n, 3)
        From :func:`surroundings`.
    cold : Tensor, (n,)
        From :func:`inverse_temperature`.
    interval : Tensor, (n,)
        Time of the step in ps.
    unit : Tensor, (n,) int64
        Number of the torsion, in increasing order; its steps share a mobility.
    """

    mass: Tensor
    own: Tensor
    stayed: Tensor
    group: Tensor
    seen: Tensor
    cold: Tensor
    interval: Tensor
    unit: Tensor


def _chain(seen: Observed) -> Chain:
    """Return the sequence of a simulation."""
    topology = seen.topology
    return Chain.from_arrays(topology.residue_types, topology.chain_index, seen.linked, "cpu")


@torch.inference_mode()
def observe_peptides(model: ProteinModel, seen: Observed) -> Steps:
    """Return the steps of a simulation's peptide angles."""
    planes, chain = model.peptide_planes, _chain(seen)
    c_alpha = seen.atoms[:, :, SLOT_CA]
    sites, frames = planes.describe(c_alpha, chain)
    encoded = planes.encode_described(sites, frames, chain, sites_at_once(c_alpha))
    angle = measure_angle(frames, c_alpha, seen.atoms[:, :, SLOT_O])
    previous = torch.cat([torch.zeros_like(angle[:, :1]), angle[:, :-1]], dim=1)
    previous = torch.where(chain.has_neighbour(-1), previous, 0.0)
    logits = planes.angle_logits(encoded, torch.cos(previous), torch.sin(previous))
    around = surroundings(sites.neighbourhood, chain)
    there = chain.linked & seen.present[:, SLOT_O]
    return _steps(torch.softmax(logits, dim=-1), angle, around, chain.types, there, seen)


@torch.inference_mode()
def observe_torsions(model: ProteinModel, seen: Observed) -> list[Steps]:
    """Return the steps of a simulation's side-chain torsions, for each of chi1 ... chi4 that it has."""
    network, chain, shape = model.side_chains, _chain(seen), seen.atoms.shape[:2]
    backbone = seen.atoms[:, :, :SLOT_CB]
    sites = network.describe(backbone, model.c_beta(backbone, chain.types), chain)
    hidden = network.encode_all(sites, sites_at_once(backbone))
    around = surroundings(sites.neighbourhood, chain)
    types = chain.types.repeat(shape[0])
    chi, known = measure_torsions(seen.atoms.flatten(0, 1), seen.present.repeat(shape[0], 1), types)
    steps = []
    for number in range(MAX_CHI):
        there = known.unflatten(0, shape)[0, :, number]
        if bool(there.any()):
            context = network.context(number, hidden)
            distribution = network.probabilities(context, types, number, chi[:, None, :number]).squeeze(1)
            group = chain.types * MAX_CHI + number
            angle = chi[:, number].unflatten(0, shape)
            steps.append(_steps(distribution.unflatten(0, shape), angle, around, group, there, seen))
    return steps


@torch.inference_mode()
def observe_ends(model: ProteinModel, seen: Observed) -> Steps:
    """Return the steps of psi of a simulation's first residues, and of phi of its last ones."""
    chain, atoms = _chain(seen), seen.atoms
    angles = end_torsions(atoms, chain)
    residues = torch.cat(chain_ends(chain))
    probabilities = model.backbone.end_distributions(chain).expand(len(atoms), -1, -1)
    whole = seen.present[residues, :SLOT_O].all(dim=1) & (chain.linked | chain.has_neighbour(-1))[residues]
    around = torch.zeros(len(atoms), len(residues), 3)
    return _steps(probabilities, angles, around, torch.zeros_like(residues), whole, seen)


def _steps(
    probabilities: Tensor, angle: Tensor, around: Tensor, group: Tensor, there: Tensor, seen: Observed
) -> Steps:
    """Collect the steps of torsions (frames, residues) that exist (residues,)."""
    bins = probabilities.shape[-1]
    now = probabilities[1:, there].flatten(0, 1)
    basins = find_basins(now)
    mass = basin_masses(now, basins)
    before, after = (
        basins.gather(1, classify_angle(part[:, there], bins).flatten()[:, None])
        for part in (angle[:-1], angle[1:])
    )
    near = _turn(angle[:, there]).flatten().abs() < _LARGEST_TURN
    n = len(now)
    n_torsions = int(there.sum())
    steps = Steps(
        mass.topk(N_BASINS, dim=1).values,
        mass.gather(1, before).squeeze(1),
        near | (before == after).squeeze(1),
        group[there].repeat(len(angle) - 1),
        around[1:, there].flatten(0, 1),
        torch.full((n,), inverse_temperature(seen.temperature_kelvin)),
        torch.full((n,), seen.interval_ps),
        torch.arange(n_torsions).repeat(len(angle) - 1),
    )
    return Steps(*(part[torch.argsort(steps.unit, stable=True)] for part in steps))


def join_steps(parts: Sequence[Steps]) -> Steps:
    """Join steps of several simulations."""
    first = 0
    numbered = []
    for part in parts:
        numbered.append(part._replace(unit=part.unit + first))
        first += int(part.unit.max()) + 1 if len(part.unit) else 0
    return Steps(*(torch.cat(values) for values in zip(*numbered, strict=True)))


def log_likelihood(steps: Steps, log_rate: Tensor) -> Tensor:
    """Return the log-probability (n,) of staying or leaving, as observed, at log-rates (n,) per ps."""
    total = steps.mass.sqrt().sum(dim=1)
    rate = torch.exp(log_rate) * steps.interval
    landing = steps.mass * share_leaving(steps.mass, total.unsqueeze(1), rate.unsqueeze(1))
    leave = share_leaving(steps.own.clamp_min(1e-12), total, rate)
    away = 1 - (steps.own * leave / landing.sum(dim=1).clamp_min(1e-30)).clamp(0.0, 1 - 1e-6)
    changed = (leave * away).clamp(1e-12, 1 - 1e-7)
    return torch.where(steps.stayed, torch.log1p(-changed), torch.log(changed))


class FittedRates(NamedTuple):
    """Fitted parameters, as in :class:`CoherenceRates`.

    They are ``log_rate`` (groups,), ``slope`` (torsions, 3), ``mobility`` (torsions,), and the activation
    energy.
    """

    log_rate: Tensor
    slope: Tensor
    mobility: Tensor
    activation_energy: float


def fit_rates(steps: Steps, n_groups: int, n_torsions: int, config: CoherenceTrainingConfig) -> FittedRates:
    """Fit rates by maximum posterior probability.

    Parameters
    ----------
    steps : Steps
        Of all simulations.
    n_groups : int
        Number of rates: residue types x torsions.
    n_torsions : int
        Torsions per residue type; the mean over types and the dependence on surroundings belong to each.
    config : CoherenceTrainingConfig
        Prior distributions.
    """
    mean = torch.full((n_torsions,), -4.0, requires_grad=True)
    offset = torch.zeros(n_groups, requires_grad=True)
    slope = torch.zeros(n_torsions, 3, requires_grad=True)
    energy = torch.zeros((), requires_grad=True)
    log_mobility = torch.zeros(n_torsions, requires_grad=True)
    torsion = steps.group % n_torsions
    parameters = [mean, offset, slope, energy, log_mobility]
    optimiser = torch.optim.LBFGS(parameters, max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        activation = config.activation_energy + config.activation_spread * energy
        rate = mean[torsion] + config.spread * offset[steps.group] + (slope[torsion] * steps.seen).sum(dim=1)
        value = -_marginal_likelihood(steps, rate - activation * steps.cold, log_mobility.exp()[torsion])
        value = value + 0.5 * sum(part.square().sum() for part in (offset, slope, energy, log_mobility))
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        fitted = mean.repeat(n_groups // n_torsions) + config.spread * offset
        activation = config.activation_energy + config.activation_spread * energy
    return FittedRates(fitted, slope.detach(), log_mobility.detach().exp(), float(activation))


def _marginal_likelihood(steps: Steps, log_rate: Tensor, mobility: Tensor) -> Tensor:
    """Return the log-probability of all steps, integrated over the mobilities of torsions.

    The logarithms of the rates of a torsion are those given (n,), plus the mobility (n,) times a normal
    deviate.
    """
    places, weights = (torch.from_numpy(part).float() for part in hermegauss(_NODES))
    count = torch.unique_consecutive(steps.unit, return_counts=True)[1]
    terms = []
    for place, weight in zip(places, weights, strict=True):
        each = log_likelihood(steps, log_rate + mobility * place)
        of_unit = torch.segment_reduce(each, "sum", lengths=count)
        terms.append(of_unit + torch.log(weight / math.sqrt(2 * math.pi)))
    return torch.logsumexp(torch.stack(terms), dim=0).sum()


class Motion(NamedTuple):
    """How atoms move from frame to frame: root mean squares, in nm and radians.

    Attributes
    ----------
    backbone, c_beta, side_chain : float
        Displacements of N, C and O, of CB, and of the other side-chain atoms; without residues at chain ends.
    psi, chi1 : float
        Changes of torsions.
    ends : float
        Displacement of all atoms of residues at chain ends.
    """

    backbone: float
    c_beta: float
    side_chain: float
    psi: float
    chi1: float
    ends: float


def measure_motion(atoms: Tensor, present: Tensor, chain: Chain) -> Motion:
    """Measure the motion of frames (frames, residues, 15, 3) with at least three residues."""
    moved = (atoms[1:] - atoms[:-1]).square().sum(dim=-1)
    inside = chain.has_neighbour(-1) & chain.has_neighbour(1)

    def rms(residues: Tensor, slots: slice | list[int]) -> float:
        there = present[:, slots] & residues.unsqueeze(1)
        return float(moved[:, :, slots][:, there].mean().sqrt())

    n, c_alpha, c = (atoms[:, :, slot] for slot in (SLOT_N, SLOT_CA, SLOT_C))
    psi = torsion_angle(n[:, :-1], c_alpha[:, :-1], c[:, :-1], n[:, 1:])[:, chain.linked[:-1]]
    torsions, known = measure_torsions(
        atoms.flatten(0, 1), present.repeat(len(atoms), 1), chain.types.repeat(len(atoms))
    )
    chi1 = torsions[:, 0].unflatten(0, atoms.shape[:2])[:, known.unflatten(0, atoms.shape[:2])[0, :, 0]]
    return Motion(
        rms(inside, [SLOT_N, SLOT_C, SLOT_O]),
        rms(inside, [SLOT_CB]),
        rms(inside, slice(SLOT_CB + 1, SLOT_OXT)),
        _rms_turn(psi),
        _rms_turn(chi1),
        rms(~inside, slice(0, SLOT_OXT)),
    )


def _rms_turn(angle: Tensor) -> float:
    """Return the root mean square change of angles (frames, n) from frame to frame."""
    return float(_turn(angle).clamp(-_LARGEST_TURN, _LARGEST_TURN).square().mean().sqrt())


def _turn(angle: Tensor) -> Tensor:
    """Return the changes of angles (frames, ...) from frame to frame, in [-pi, pi)."""
    return torch.remainder(angle[1:] - angle[:-1] + math.pi, 2 * math.pi) - math.pi


class TunedMotion(NamedTuple):
    """A motion that is tuned so that atoms move as in the simulations.

    Attributes
    ----------
    kind : str
        What the statistics call it.
    first, largest : float
        First and largest value, in ps or degrees. Windows wider than wells would let torsions jump between
        them.
    """

    kind: str
    first: float
    largest: float


MOTIONS = {
    "twist": TunedMotion("memory", 16.0, 100.0),
    "end": TunedMotion("window", 25.0, math.degrees(LONGEST_WINDOW)),
    "peptide": TunedMotion("window", 100.0, math.degrees(LONGEST_PEPTIDE_WINDOW)),
    "torsion": TunedMotion("window", 36.0, math.degrees(LONGEST_WINDOW)),
}

DRIFT_DEGREES = 3.0
"""By which the angle about which a torsion librates moves in a picosecond, chosen by what is left of
correlations after 1 and 10 ps."""

_FACTOR = 1.25
"""Between values of a motion that are tried."""

_LEAST = 0.5
_WEIGHTS = Motion(1.0, 1.0, 1.0, 0.3, 0.3, 0.3)

_FEWEST_TURNS = 20
"""Fewer turns of a kind of torsion do not tell how often it turns."""

_LARGEST_FACTOR = 3.0
"""By which a calibration multiplies rates."""


def count_turns(model: ProteinModel, atoms: Tensor, present: Tensor, chain: Chain) -> Tensor:
    """Count how often torsions turn by more than 60 degrees from frame to frame.

    Returns
    -------
    Tensor, (5, 2)
        For peptides and for chi1 to chi4: steps that turn, and all steps. Torsions that repeat after half a
        turn cannot turn by more than a quarter.
    """
    counts = []
    c_alpha, oxygen = atoms[:, :, SLOT_CA], atoms[:, :, SLOT_O]
    there = (chain.linked & chain.has_neighbour(-1) & present[:, SLOT_O])[1:-1]
    peptide = torsion_angle(c_alpha[:, :-2], c_alpha[:, 1:-1], c_alpha[:, 2:], oxygen[:, 1:-1])[:, there]
    counts.append(_count(_turn(peptide).abs()))
    torsions, known = measure_torsions(
        atoms.flatten(0, 1), present.repeat(len(atoms), 1), chain.types.repeat(len(atoms))
    )
    torsions, known = torsions.unflatten(0, atoms.shape[:2]), known.unflatten(0, atoms.shape[:2])[0]
    repeats = model.side_chains.repeats[chain.types]
    for chi in range(MAX_CHI):
        there = known[:, chi]
        turn = _turn(torsions[:, there, chi]).abs()
        counts.append(_count(torch.where(repeats[there, chi], torch.minimum(turn, math.pi - turn), turn)))
    return torch.stack(counts)


def _count(turn: Tensor) -> Tensor:
    """Return the number of large turns, and of all, (2,)."""
    return torch.tensor([int((turn > _LARGEST_TURN).sum()), turn.numel()])


@torch.inference_mode()
def _built_again(
    model: ProteinModel, statistics: dict[str, Any], seen: Sequence[Observed], config: CoherenceTrainingConfig
) -> Iterator[tuple[Tensor, Observed, Chain]]:
    """Yield atoms (frames, residues, 15, 3) built on the C-alphas of each simulation."""
    for simulation in seen:
        atoms, chain = simulation.atoms[: config.frames], _chain(simulation)
        numbers = torch.arange(len(atoms))
        origin = atoms[:, :1, SLOT_CA]
        keys = stream_keys(config.seed, 1, numbers)
        rates = CoherenceRates(simulation.temperature_kelvin, statistics=statistics)
        built, _ = CoherentDrawer(model, rates).draw(
            atoms[:, :, SLOT_CA] - origin,
            chain,
            keys,
            keys[:, 0],
            torch.full(atoms.shape[:2], simulation.interval_ps),
            disulfides=_disulfides(atoms[0], chain),
        )
        yield built[0] + origin.unsqueeze(2), simulation, chain


def _disulfides(atoms: Tensor, chain: Chain) -> Tensor:
    """Return the residues (bonds, 2) that disulfides join in a frame (residues, 15, 3)."""
    cysteines = torch.nonzero(chain.types == RESIDUE_INDEX["CYS"]).squeeze(-1)
    sulfurs = atoms[cysteines, HEAVY_ATOMS["CYS"].index("SG")]
    near = (torch.cdist(sulfurs, sulfurs) < MAX_DISULFIDE_DISTANCE_NM).triu(1)
    return cysteines[torch.nonzero(near)].contiguous()


def _misfit(built: Sequence[Motion], true: Sequence[Motion]) -> float:
    """Return the mean over simulations of the weighted squared log-ratios of motions."""
    total = 0.0
    for again, simulated in zip(built, true, strict=True):
        ratios = [math.log(one / other) ** 2 for one, other in zip(again, simulated, strict=True)]
        total += sum(weight * ratio for weight, ratio in zip(_WEIGHTS, ratios, strict=True))
    return total / len(built)


def train_coherence(
    model: ProteinModel,
    seen: Sequence[Observed],
    config: CoherenceTrainingConfig,
    tell: Callable[[str], object] = lambda line: None,
) -> dict[str, Any]:
    """Fit rates and memories to simulations.

    Parameters
    ----------
    model : ProteinModel
        Its distributions are sampled.
    seen : sequence of Observed
        The simulations.
    config : CoherenceTrainingConfig
        How to fit.
    tell : function of str, optional
        Called with a line about each step.

    Returns
    -------
    dict
        The content of ``coherence.json``.
    """
    statistics = _fit_all_rates(model, seen, config)
    for name in ("peptide", "torsion"):
        tell(f"{name}: activation energy {statistics[name]['activation energy']:.1f} kJ/mol")
    for motions, value in _tune_motions(model, seen, statistics, config):
        tell(f"{motions}: misfit {value:.4f}")
        statistics = _with_motions(statistics, motions)
    for _ in range(config.calibrations):
        statistics, told = calibrate(model, statistics, seen, config)
        tell(told)
    return statistics


def _fit_all_rates(
    model: ProteinModel, seen: Sequence[Observed], config: CoherenceTrainingConfig
) -> dict[str, Any]:
    """Fit the rates of peptides and side-chain torsions."""
    n_types = len(RESIDUE_NAMES)
    peptides = join_steps([observe_peptides(model, simulation) for simulation in seen])
    of_peptides = fit_rates(peptides, n_types, 1, config)
    torsions = join_steps([steps for simulation in seen for steps in observe_torsions(model, simulation)])
    of_torsions = fit_rates(torsions, n_types * MAX_CHI, MAX_CHI, config)
    ends = join_steps([observe_ends(model, simulation) for simulation in seen])
    # Ends are too few to tell their activation energy.
    of_ends = fit_rates(ends, 1, 1, replace(config, activation_spread=0.0))
    return {
        "end": {
            "log rate": _rounded(of_ends.log_rate)[0],
            "activation energy": round(of_ends.activation_energy, 2),
        },
        "peptide": {
            "log rate": _rounded(of_peptides.log_rate),
            "slope": _rounded(of_peptides.slope),
            "mobility": _rounded(of_peptides.mobility),
            "activation energy": round(of_peptides.activation_energy, 2),
        },
        "torsion": {
            "log rate": _rounded(of_torsions.log_rate.view(n_types, MAX_CHI)),
            "slope": _rounded(of_torsions.slope),
            "mobility": _rounded(of_torsions.mobility),
            "activation energy": round(of_torsions.activation_energy, 2),
            "drift": DRIFT_DEGREES,
        },
    }


def _rounded(values: Tensor) -> Any:
    """Return values as nested lists, to three decimals."""
    return (values.double() * 1000).round().div(1000).tolist()


def _with_motions(statistics: dict[str, Any], motions: dict[str, float]) -> dict[str, Any]:
    """Return the statistics with these memories in ps and windows in degrees."""
    return {name: {**statistics.get(name, {}), tuned.kind: motions[name]} for name, tuned in MOTIONS.items()}


def calibrate(
    model: ProteinModel,
    statistics: dict[str, Any],
    seen: Sequence[Observed],
    config: CoherenceTrainingConfig,
) -> tuple[dict[str, Any], str]:
    """Return the statistics with rates multiplied so that torsions turn as often as in the simulations.

    The second value says how often they turned before.
    """
    true = sum(count_turns(model, each.atoms[: config.frames], each.present, _chain(each)) for each in seen)
    built = sum(
        count_turns(model, atoms, simulation.present, chain)
        for atoms, simulation, chain in _built_again(model, statistics, seen, config)
    )
    assert isinstance(true, Tensor) and isinstance(built, Tensor)
    ratio = (true[:, 0] * built[:, 1]) / (true[:, 1] * built[:, 0].clamp_min(1)).clamp_min(1)
    told = true[:, 0] >= _FEWEST_TURNS
    shift = torch.where(told, ratio.clamp(1 / _LARGEST_FACTOR, _LARGEST_FACTOR).log(), 0.0).double()
    peptide, torsion = statistics["peptide"], statistics["torsion"]
    faster = {
        **statistics,
        "peptide": {**peptide, "log rate": _rounded(torch.tensor(peptide["log rate"]) + shift[0])},
        "torsion": {**torsion, "log rate": _rounded(torch.tensor(torsion["log rate"]) + shift[1:])},
    }
    names = ("peptide", *(f"chi{chi + 1}" for chi in range(MAX_CHI)))
    counts = zip(names, built[:, 0].tolist(), true[:, 0].tolist(), strict=True)
    listed = ", ".join(f"{name} {ours} for {theirs}" for name, ours, theirs in counts)
    return faster, f"turns by over 60 degrees, built for simulated: {listed}"


def _tune_motions(
    model: ProteinModel,
    seen: Sequence[Observed],
    statistics: dict[str, Any],
    config: CoherenceTrainingConfig,
) -> Iterator[tuple[dict[str, float], float]]:
    """Yield better and better motions, and their misfits: one is changed at a time."""
    motions = {name: tuned.first for name, tuned in MOTIONS.items()}
    true = [measure_motion(each.atoms[: config.frames], each.present, _chain(each)) for each in seen]

    def misfit(tried: dict[str, float]) -> float:
        again = _built_again(model, _with_motions(statistics, tried), seen, config)
        return _misfit([measure_motion(atoms, each.present, chain) for atoms, each, chain in again], true)

    best = misfit(motions)
    yield motions, best
    for _ in range(config.rounds):
        for name, tuned in MOTIONS.items():
            for factor in (_FACTOR, 1 / _FACTOR):
                while _LEAST <= (value := round(motions[name] * factor, 2)) <= tuned.largest:
                    trial = {**motions, name: value}
                    if (found := misfit(trial)) >= best:
                        break
                    motions, best = trial, found
                    yield motions, best
