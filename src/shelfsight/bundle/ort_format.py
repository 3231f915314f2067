"""Convert an ONNX model to the ORT format that onnxruntime's mobile and web builds load."""

from __future__ import annotations

import onnxruntime

from shelfsight.errors import OutputError
from shelfsight.workspace import workspace


def to_ort(model: bytes) -> bytes:
    """Return an ONNX model in ORT format, its quantised nodes already fused into integer ones.

    The level is "extended": the fused nodes run on every processor, and NNAPI and XNNPACK know them. "All" would add
    layouts of the machine that trains; "basic" keeps the nodes apart, which is four times slower on a phone's CPU.

    Raises:
        OutputError: the temporary folder cannot take the file.
    """
    with workspace("ort") as folder:
        result = folder / "model.ort"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(result)
        options.log_severity_level = 3
        options.add_session_config_entry("session.save_model_format", "ORT")
        try:
            onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            return result.read_bytes()
        except Exception as exc:  # onnxruntime's errors share no narrower base
            reason = str(exc).splitlines()[0]
            raise OutputError(f"the model cannot be written in ORT format below {folder} ({reason})") from exc
