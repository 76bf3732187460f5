"""Analog laws with published parameters, for the tests."""

from faultsim.faults import ConductanceNoise, Drift, LogLine, ReadNoise1f

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
