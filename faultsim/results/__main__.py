"""``python -m faultsim.results > docs/result.schema.json`` writes the JSON Schema of ``result.json``."""

import sys

from faultsim.results.files import schema_text

if __name__ == "__main__":
    sys.stdout.write(schema_text())
