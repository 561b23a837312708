"""Which module may import which, and what a fresh interpreter loads for each command.

The first holds the architecture of CONTRIBUTING.md. The second keeps start-up fast: TensorFlow takes seconds
to import, NumPy and OpenCV a tenth of a second.
"""

import ast
import graphlib
import json
import sys
from functools import cache

import pytest

from tests.support.command import PACKAGE_FOLDER, run_code

# --- the direction of imports -----------------------------------------------------------------------

LAYERS = (
    {"__main__"},
    {"cli"},
    {"cli_options"},
    {"scanning", "training", "evaluation", "review", "cluster"},
    {"workers"},
    {"model"},
    {"imaging"},
    {"system"},
    {"prediction", "csv_cells", "errors", "version"},
)
"""From top to bottom. A module imports from its own package and from the layers below, nothing else."""

SIDEWAYS = {("training", "evaluation"), ("review", "evaluation"), ("cluster", "evaluation")}
"""Packages of one layer that may use another's: scores of labelled images."""


@cache
def module_files():
    """The path of each module of digitscan, by its full name."""
    files = {}
    for path in sorted((PACKAGE_FOLDER / "digitscan").rglob("*.py")):
        parts = path.relative_to(PACKAGE_FOLDER).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imported_names(module):
    """What a module imports from digitscan, as (module, name or None), wherever the import stands."""
    path = module_files()[module]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module if path.name == "__init__.py" else module.rpartition(".")[0]
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            names = [(source, alias.name) for alias in node.names]
        else:
            continue
        for source, name in names:
            if source.split(".")[0] == "digitscan":
                # `from package import module` imports that module, not a name in the package.
                is_module = name is not None and f"{source}.{name}" in module_files()
                yield (f"{source}.{name}", None) if is_module else (source, name)


def layer_of(component):
    return next(index for index, layer in enumerate(LAYERS) if component in layer)


def component_of(module):
    """The package or top-level module that a module belongs to: `model` for `digitscan.model.registry`."""
    return module.split(".")[1]


MODULES = sorted(module_files().keys() - {"digitscan"})


@pytest.mark.parametrize("module", MODULES)
def test_each_module_belongs_to_a_layer(module):
    assert any(component_of(module) in layer for layer in LAYERS)


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down_the_layers_and_never_up_or_sideways(module):
    importer = component_of(module)
    for source, name in imported_names(module):
        assert source != "digitscan", f"{module} imports {name} from the public API, which stands above"
        imported = component_of(source)
        is_below = layer_of(imported) > layer_of(importer)
        assert importer == imported or is_below or (importer, imported) in SIDEWAYS, f"{module} -> {source}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: {source for source, _ in imported_names(module)} for module in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize(
    "module", [m for m, path in module_files().items() if path.name == "__init__.py" and m != "digitscan"]
)
def test_the_init_module_of_a_package_holds_nothing_but_a_docstring(module):
    tree = ast.parse(module_files()[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


# --- what is loaded ---------------------------------------------------------------------------------

TRAINING_LIBRARIES = {"tensorflow", "keras", "matplotlib", "h5py", "scipy", "pandas", "absl"}
IMAGE_LIBRARIES = {"numpy", "cv2", "PIL", "ai_edge_litert"}
INTERFACE_LIBRARIES = {"rich", "tqdm", "platformdirs"}


def run_and_list_modules(code, cwd):
    """Run code in a fresh interpreter; return the finished process and the top-level modules it loaded."""
    list_at_exit = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: open('modules.json', 'w').write(json.dumps(list(sys.modules))))\n"
    )
    done = run_code(list_at_exit + code, cwd=cwd)
    names = json.loads((cwd / "modules.json").read_text())
    return done, {name.partition(".")[0] for name in names}


def third_party_modules(code, cwd):
    """The modules that code loads from neither the standard library nor digitscan."""
    done, modules = run_and_list_modules(code, cwd)
    assert done.returncode == 0, done.stderr
    # What the environment loads at every start, such as the hook of an editable install.
    _, always = run_and_list_modules("", cwd)
    return modules - always - sys.stdlib_module_names - {"digitscan"}


def main_with(*arguments):
    return f"sys.argv[1:] = {list(arguments)!r}\nfrom digitscan.__main__ import main; main()"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["scan", "--help"], ["train", "--help"]])
def test_help_loads_no_slow_library(arguments, tmp_path):
    done, modules = run_and_list_modules(main_with(*arguments), tmp_path)
    assert done.returncode == 0, done.stderr
    assert not modules & (TRAINING_LIBRARIES | IMAGE_LIBRARIES | INTERFACE_LIBRARIES)


def test_a_scan_loads_no_array_and_no_image_library_in_its_own_process(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    # Not through `__main__`, which leaves a scan with os._exit, without running what atexit registered.
    code = "sys.argv[1:] = ['scan', 'a.png', '-o', '-']\nfrom digitscan.cli import main; main()"
    done, modules = run_and_list_modules(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not modules & (TRAINING_LIBRARIES | IMAGE_LIBRARIES)


def test_a_worker_loads_no_training_library(picture, tmp_path):
    picture.save(tmp_path / "a.png")
    code = (
        "from digitscan.model.registry import load_model\n"
        "from digitscan.workers.image_processor import load_image_processor\n"
        "model = load_model('mlp')\n"
        "ready = {'compiled_path': str(model.compiled_path), 'compiled_digest': model.compiled_digest,\n"
        "    'compiled_content': None, 'metadata': model.metadata.to_json()}\n"
        "process_files = load_image_processor({'model': ready, 'fast_model': None, 'min_confidence': None,\n"
        "    'probabilities': False, 'max_megapixels': 64.0, 'max_pages': 9, 'shared_path': None})\n"
        "from digitscan.workers.protocol import FileLocation\n"
        "(row,) = process_files([FileLocation('a.png')], lambda index: None)\n"
        "assert row[2] in ('ok', 'review', 'no-digit'), row\n"
    )
    done, modules = run_and_list_modules(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert not modules & TRAINING_LIBRARIES


def test_a_worker_does_not_wait_for_pathlib(tmp_path):
    """It takes some milliseconds of each scan's start."""
    code = "from digitscan.workers.worker import preload_libraries; preload_libraries()"
    done, modules = run_and_list_modules(code, tmp_path)
    _, always = run_and_list_modules("", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cv2" in modules and "pathlib" not in modules - always


def test_importing_digitscan_loads_no_third_party_module(tmp_path):
    assert not third_party_modules("import digitscan; digitscan.__version__", tmp_path)


def test_the_system_package_loads_only_the_standard_library(tmp_path):
    modules = [module for module in MODULES if component_of(module) == "system"]
    assert len(modules) > 4
    assert not third_party_modules(f"import {', '.join(modules)}", tmp_path)


def test_the_image_formats_are_known_without_numpy(tmp_path):
    assert not third_party_modules("import digitscan.imaging.formats", tmp_path)
