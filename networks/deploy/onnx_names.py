"""What is called how in the ONNX models that we write, and by which version of ONNX."""

OPSET = 20
"""Version of ONNX's operators: the first with GELU, and known to the runtimes of today."""
IR_VERSION = 9
"""Version of the form of the file; it came with these operators."""
INPUT_NAME = "image"
OUTPUT_NAME = "maps"
"""Name of the output; several are ``maps_0``, ``maps_1`` and so on."""
PROPERTIES = "branchwork."
"""What the names of our entries in a model's ``metadata_props`` start with."""
