import json
import subprocess
import sys

HEAVY = {"torch", "evidently", "faust", "pandas", "fastapi", "sklearn", "scipy"}
COUNT = """
import importlib, json, pkgutil, sys
import consumers
for module in pkgutil.walk_packages(consumers.__path__, "consumers."):
    importlib.import_module(module.name)
print(json.dumps(sorted(sys.modules)))
"""


def test_the_worker_side_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "consumers" in loaded
    assert not loaded & HEAVY
    assert "boto3" not in loaded
