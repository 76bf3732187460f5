"""Analog laws with published parameters, for the tests."""

from collections.abc import Callable
from typing import Any, NamedTuple

from numpy.typing import NDArray

from faultsim.faults import AnalogChain, AnalogLaw, ConductanceNoise, Drift, LogLine, ReadNoise1f
from faultsim.faults.curves import Branches, Polynomial, Table
from faultsim.faults.log_drift import LogDrift
from faultsim.faults.mean_drift import MeanDrift
from faultsim.faults.read_noise_log import ReadNoiseLog
from faultsim.faults.saturating_noise import SaturatingNoise, SaturatingReadNoise
from faultsim.formats import ConductancePair
from faultsim.formats.conductance import ConductanceMapping
from faultsim.formats.conductance_offset import SingleDeviceOffset

DAY = 86400.0
# pcm_analog.yaml and reram_1t1r.yaml (aihwkit 1.1.0, status verified)
PROGRAM = ConductanceNoise(sigma_poly=((0.26348, 1.9650, -1.1731),))
RAW_DRIFT = Drift(
    t0_s=20.0, nu_mean=LogLine(-0.0155, 0.0244, 0.049, 0.1), nu_std=LogLine(-0.0125, -0.0059, 0.008, 0.045)
)
DRIFT = Drift(t0_s=20.0, nu_mean=RAW_DRIFT.nu_mean, nu_std=RAW_DRIFT.nu_std, compensation="global")
READ = ReadNoise1f(t_read_s=2.5e-7, c=0.0088, exponent=-0.65, max=0.2)
RELAX = ConductanceNoise(
    sigma_poly=(
        (0.348, 16.030, -43.853, 45.393, -16.815),
        (0.701, 22.086, -50.773, 47.095, -16.458),
        (0.782, 20.274, -43.507, 37.062, -11.934),
    ),
    times_s=(1.0, DAY, 2 * DAY),
    g_ref_uS=40.0,
)

# aihwkit 1.1.0, HermesNoiseModel: one and two devices a conductance, fits with a branch each.
_HERMES_NU = Branches(0.0945, LogLine(-0.0387, -0.0182, 0.0720, 0.13), Polynomial((0.0736, -0.0126, -0.0436)))
HERMES_1: tuple[AnalogLaw, ...] = (
    ConductanceNoise(sigma_poly=((0.15781817, 2.32443916, -2.16310839, 0.68841818),)),
    Drift(
        t0_s=200.0,
        nu_mean=_HERMES_NU,
        nu_std=Branches(0.3039, LogLine(-0.0120, -0.0023, 0.0124, 0.04), Polynomial((0.0104, 0.0116, -0.0165))),
    ),
    ReadNoise1f(
        t_read_s=5.12e-7,
        t0_s=200.0,
        curve=Branches(0.1591, LogLine(-0.0078, 0.0038, 0.0179, 0.04), Polynomial((0.0088, 0.0768, -0.1352, 0.0664))),
    ),
)
HERMES_2: tuple[AnalogLaw, ...] = (
    ConductanceNoise(sigma_poly=((0.16603222, 4.71806468, -8.48101252, 4.68961419),)),
    Drift(
        t0_s=300.0,
        nu_mean=_HERMES_NU,
        nu_std=Branches(0.3055, LogLine(-0.0117, -0.0057, 0.0091, 0.04), Polynomial((0.0073, 0.0093, -0.0118))),
    ),
    ReadNoise1f(
        t_read_s=5.12e-7,
        t0_s=300.0,
        curve=Branches(0.16, LogLine(-0.0117, -0.0069, 0.015, 0.04), Polynomial((0.0123, 0.0211, -0.0280, 0.0069))),
    ),
)
# aihwkit 1.1.0, StateIndependentNoiseModel: read noise rho g/g_max with rho 1 uS and g_max 25 uS.
STATE_INDEPENDENT: tuple[AnalogLaw, ...] = (
    ConductanceNoise(sigma_poly=((0.2,),)),
    Drift(t0_s=20.0, nu_mean=LogLine(0, 0.1, 0.1, 0.1), nu_std=LogLine(0, 0.05, 0.05, 0.05)),
    ReadNoise1f(t_read_s=2.5e-7, c=1 / 25, exponent=0.0, max=1.0),
)
# aihwkit 1.1.0, CustomDriftPCMLikeNoiseModel with the table of the reference data: nu at 0, 10 and 25 uS.
CUSTOM_DRIFT: tuple[AnalogLaw, ...] = (
    PROGRAM,
    Drift(
        t0_s=20.0, nu_mean=Table((0, 0.4, 1), (0.08, 0.05, 0.02)), nu_std=Table((0, 0.4, 1), (0.03, 0.02, 0.01))
    ),
    READ,
)  # fmt: skip
# aihwkit 1.1.0, ReRamWan2022NoiseModel at its default: the 40 uS coefficients taken at 25 uS as they are.
RELAX_DEFAULT = ConductanceNoise(sigma_poly=RELAX.sigma_poly, times_s=RELAX.times_s)

CMO_MAX = 88.199997


def cmo(c0: float, c1: float) -> tuple[AnalogLaw, ...]:
    """aihwkit 1.1.0, ReRamCMONoiseModel with the programming noise ``c0 + c1 g`` uS of an acceptance range."""
    return (
        ConductanceNoise(sigma_poly=((c0, c1 * CMO_MAX),), clip=False),
        LogDrift(t0_s=1.0, rate_mean=-0.08900206, rate_std=0.04201137, start_std=0.41183342, clock="from_t0"),
        ReadNoiseLog(k_uS=0.0277316483, t_read_s=1e-6),
    )


# CrossSim 3.2.0, SONOS: nA at 0.1 V, the unit of the fits, is 0.01 uS.
SONOS_DRIFT = MeanDrift(
    times_s=(DAY, 2 * DAY, 3 * DAY, 4 * DAY, 5 * DAY),
    shifts=(
        (1.72684e-01, 5.72552e-02, -6.85715e-04, 3.50271e-06, -9.37682e-09, 1.40575e-11, -1.19803e-14,
         5.41293e-18, -8.85448e-22, -1.66869e-25, 5.95180e-29),
        (2.50712e-01, 6.62195e-02, -6.83218e-04, 2.99442e-06, -6.78255e-09, 7.70482e-12, -3.04983e-15,
         -2.15919e-18, 2.94617e-21, -1.23359e-24, 1.85329e-28),
        (-1.75300e-02, 9.76883e-02, -9.63791e-04, 4.55551e-06, -1.22391e-08, 1.93786e-11, -1.85899e-14,
         1.07659e-17, -3.58211e-21, 5.96785e-25, -3.30410e-29),
        (4.03338e-02, 1.03111e-01, -1.04740e-03, 4.83961e-06, -1.28132e-08, 1.99484e-11, -1.85139e-14,
         1.00008e-17, -2.84944e-21, 3.01008e-25, 1.18747e-29),
        (3.19927e-01, 1.06596e-01, -1.04054e-03, 4.50290e-06, -1.10352e-08, 1.56477e-11, -1.27592e-14,
         5.45513e-18, -7.26841e-22, -2.43893e-25, 7.14608e-29),
    ),
    unit_uS=0.01,
)  # fmt: skip
SONOS = SaturatingNoise(
    rows=(
        (0, 19.88665, 176.3115),
        (1, 25.59102, 186.85544),
        (2, 28.72753, 193.56834),
        (3, 31.04318, 198.90332),
        (4, 33.76214, 204.77023),
        (5, 34.57909, 207.34309),
    ),
    unit_uS=0.01,
)
SONOS_READ = SaturatingReadNoise(rows=((0, 12.58037, 215.36557),), unit_uS=0.01)


class Model(NamedTuple):
    """One model of the reference data: laws in the order of time, the mapping of a tensor, and times."""

    laws: tuple[AnalogLaw, ...]
    mapping: Callable[[NDArray[Any]], ConductanceMapping]
    times: tuple[str, ...]


def _pair(g_max: float, g_min: float = 0.0) -> Callable[[NDArray[Any]], ConductanceMapping]:
    return lambda weights: ConductancePair(g_min, g_max, 1.0)


def _single(weights: NDArray[Any]) -> ConductanceMapping:
    return SingleDeviceOffset(9.0, CMO_MAX, w_max=float(weights.max()), w_min=float(weights.min()))


_UP_TO_A_YEAR = ("prog", "1s", "1h", "1d", "1mo", "1y")
_UP_TO_TWO_DAYS = ("prog", "1s", "1d", "2d")
MODELS = {
    "pcm_like_g25": Model((PROGRAM, RAW_DRIFT, READ), _pair(25.0), _UP_TO_A_YEAR),
    "pcm_like_g25_noread": Model((PROGRAM, RAW_DRIFT), _pair(25.0), _UP_TO_A_YEAR),
    "pcm_like_g25_nodriftvar_noprog": Model(
        (ConductanceNoise(sigma_poly=((0.0,),)), RAW_DRIFT), _pair(25.0), _UP_TO_A_YEAR
    ),
    "pcm_like_g25_gmin0.25": Model((PROGRAM, RAW_DRIFT, READ), _pair(25.0, 0.25), _UP_TO_A_YEAR),
    "hermes_1dev": Model(HERMES_1, _pair(10.35), _UP_TO_A_YEAR),
    "hermes_2dev": Model(HERMES_2, _pair(20.7), _UP_TO_A_YEAR),
    "state_independent": Model(STATE_INDEPENDENT, _pair(25.0), _UP_TO_A_YEAR),
    "reram_wan2022_g40": Model((RELAX,), _pair(40.0), _UP_TO_TWO_DAYS),
    "reram_wan2022_g25_default": Model((RELAX_DEFAULT,), _pair(25.0), _UP_TO_TWO_DAYS),
    "reram_cmo_0.2pct": Model(cmo(0.00081107, 0.00106879), _single, _UP_TO_A_YEAR),
    "reram_cmo_2pct": Model(cmo(0.0112185391, 0.01129027418), _single, _UP_TO_A_YEAR),
    "custom_drift_pcm": Model(CUSTOM_DRIFT, _pair(25.0), _UP_TO_A_YEAR),
}
TIMES_S = {
    "prog": 0.0, "1s": 1.0, "1h": 3600.0, "1d": DAY, "2d": 2 * DAY, "1mo": 2592000.0, "1y": 31536000.0,
}  # fmt: skip


def chain(model: str, time: str) -> AnalogChain:
    """Return the chain of a reference model at one of its times; ``prog`` is programming alone."""
    laws = MODELS[model].laws
    return AnalogChain(laws=laws[:1] if time == "prog" else laws, t_s=TIMES_S[time])
