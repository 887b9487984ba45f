"""Convert a run's inference graph: `python -m dcase2018.exporting.conversion RUN CHECKPOINT FORMAT OUT`.

The conversion runs in a subprocess, because LiteRT's converter leaks memory, and because it needs TensorFlow,
whatever backend Keras uses in the parent process. This is the only module that imports a backend. Input and
output have the same names in every format.
"""

import logging
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.safe_path import python_command

log = logging.getLogger(__name__)

INPUT, OUTPUT = "samples", "scores"
ONNX_OPSET = 17  # supported by runtimes since 2022


def convert(run: Run, checkpoint: int | str | None, format: str, target: Path) -> None:
    """Write a run's inference graph in a format, from a subprocess.

    Raises
    ------
    Dcase2018Error
        If the conversion fails.
    """
    command = python_command("-m", __name__, str(run.path), str(checkpoint or ""), format, str(target))
    log.info("converting ...")
    env = os.environ | {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
    log.debug("%s", done.stderr)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Dcase2018Error(f"{run.path} cannot be converted to {format}: {reason}")


def to_onnx(function: Any, target: Path) -> None:
    import onnx
    import tf2onnx

    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=ONNX_OPSET)
    names = [[value.name for value in values] for values in (model.graph.input, model.graph.output)]
    _check_names(*names)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n_samples"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)


def to_litert(function: Any, target: Path) -> None:
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], tf.Module()
    )
    # The conversion fails if an operation would need TensorFlow at run time.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    content = converter.convert()
    (signature,) = Interpreter(model_content=content).get_signature_list().values()
    _check_names(signature["inputs"], signature["outputs"])
    target.write_bytes(content)


def to_saved_model(function: Any, target: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.scores = function
    tf.saved_model.save(module, str(target), signatures=function)
    signature = tf.saved_model.load(str(target)).signatures["serving_default"]
    _check_names(list(signature.structured_input_signature[1]), list(signature.structured_outputs))


CONVERTERS = {"onnx": to_onnx, "litert": to_litert, "saved-model": to_saved_model}


def _check_names(inputs: list[str], outputs: list[str]) -> None:
    if (list(inputs), list(outputs)) != ([INPUT], [OUTPUT]):
        raise ValueError(f"inputs {inputs} and outputs {outputs} instead of {INPUT} and {OUTPUT}")


def _main(path: str, checkpoint: str, format: str, target: str) -> None:
    import tensorflow as tf

    from dcase2018.exporting.graph import InferenceGraph

    run = Run.load(path)
    model = run.load_for_inference(int(checkpoint) if checkpoint.isdecimal() else checkpoint or None)
    graph = InferenceGraph(run, model)

    def scores(samples: Any) -> dict[str, Any]:
        return {OUTPUT: graph(samples)}

    signature = [tf.TensorSpec([None], tf.float32, name=INPUT)]
    try:
        CONVERTERS[format](tf.function(scores, input_signature=signature), Path(target))
    except Exception as error:  # the parent process reports the last line of stderr
        traceback.print_exc()
        sys.exit((str(error).strip().splitlines() or [type(error).__name__])[0])


if __name__ == "__main__":
    _main(*sys.argv[1:])
