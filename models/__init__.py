"""Floor 2: guarded decoding, the ONNX classifier, bundles and everything that makes them."""

import os

# ONNX Runtime's published builds report usage to their maker and leave a file in the temporary folder, from the moment
# they are imported. A detector that reads people's uploads reports to nobody unless its operator asks for it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
