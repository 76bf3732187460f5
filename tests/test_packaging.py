"""What a user installs: sdist → wheel → an environment outside the checkout, where the command answers by name.

The environment is empty but for the wheel, installed with pip. The dependencies are not downloaded again: a ``.pth``
file lets it see this environment's site-packages, whose own editable faultsim stays out of reach: no ``.pth`` there is
read.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from faultsim.results import load_result

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a stranger would: from *cwd*, with nothing in the environment that points at the checkout."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "FAULTSIM", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, root, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` folder of an environment that holds the wheel."""
    folder = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    wheel = next(built.glob("*.whl"))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    target = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (target / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # only now: pip would see ours
    return folder / "bin"


def test_the_wheel_holds_the_package_its_library_and_nothing_else(built, root):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"faultsim", "faultsim_nn"}
    assert "faultsim/_library/devices/reram_1t1r.yaml" in names
    assert "faultsim/_library/scenarios/digits/digits_float.onnx" in names
    assert "faultsim/_library/scenarios/digits/digits_float.npz" in names
    assert {f"faultsim/_library/scenarios/{path.name}" for path in (root / "scenarios").glob("*.yaml")} <= set(names)
    assert "faultsim/_library/scenarios/demo.yaml" in names
    pages = {"head.html.j2", "report.html.j2", "report.css", "scenario.html.j2"}
    assert {f"faultsim/report/html/templates/{name}" for name in pages} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if "__pycache__" in name or "tests/" in name]


def test_the_sdist_holds_what_is_needed_to_build_and_test(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "cli.py", "tests/conftest.py"} <= names
    assert {"scenarios/digits/digits_int8.onnx", "devices/reram_1t1r.yaml"} <= names


def test_the_installed_package_is_not_the_checkout(installed, root, tmp_path):
    code = "import faultsim.library as it; print(it.__file__); print(it.find_device('reram'))"
    for line in run(installed / "python", "-c", code, cwd=tmp_path).stdout.splitlines():
        assert Path(line).is_relative_to(installed.parent)
        assert not Path(line).is_relative_to(root)


def test_the_installed_command_assesses_the_demo_by_name(installed, tmp_path):
    command = (installed / "faultsim", "assess", "digits", "--device", "reram", "--trials", "3", "--out", "out")
    done = run(*command, cwd=tmp_path)
    assert "found, not proven" in done.stdout
    result = load_result(tmp_path / "out" / "result.json")
    assert result.random is not None
    assert result.random.trials == 3
    assert result.data.labels == "given"
    assert json.loads((tmp_path / "out" / "result.json").read_text())["schema_version"] == 1
    assert "found, not proven" in (tmp_path / "out" / "report.html").read_text()


def test_the_installed_command_runs_a_scenario_by_name_and_writes_its_page(installed, tmp_path):
    command = (installed / "faultsim", "run", "mcu_flash", "--only", "*25", "--trials", "2", "--out", "out", "--quiet")
    done = run(*command, cwd=tmp_path)
    assert "page:    out/index.html" in done.stdout
    assert 'href="digits_int8/flash/heat-25/report.html"' in (tmp_path / "out" / "index.html").read_text()


def test_an_editable_install_sees_the_checkout(root, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path, cwd=tmp_path)
    python = tmp_path / "bin" / "python"
    outer = sysconfig.get_path("purelib")
    env_code = f"import sys; sys.path.append({outer!r}); import faultsim.library as it; print(it.find_device('reram'))"
    build = (
        f"import os; os.chdir({str(root)!r}); import hatchling.build as backend; "
        f"print(backend.build_editable({str(tmp_path)!r}))"
    )
    wheel = run(sys.executable, "-c", build, cwd=tmp_path).stdout.split()[-1]
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, tmp_path / wheel, cwd=tmp_path)
    assert Path(run(python, "-c", env_code, cwd=tmp_path).stdout.strip()).is_relative_to(root)
