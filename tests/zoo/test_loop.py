"""The loop: the same numbers in every format, and never unrolled."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from upd_zoo.layers.loop import repeat
from upd_zoo.runtime.eager import known_deprecation, load_script

TIMES = 7


def step(index: Tensor, state: Tensor, given: list[Tensor]) -> Tensor:
    """Return a state that depends on the order of the steps."""
    return state * given[0] + index * given[1].mean(dim=1, keepdim=True)


class Looping(nn.Module):
    factor: Tensor

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.register_buffer("factor", torch.tensor([0.5, 0.9, 1.0]))

    def forward(self, images: Tensor) -> Tensor:
        return repeat(step, self.times, images, [self.factor, images])


def expected(images: Tensor, times: int = TIMES) -> Tensor:
    state = images.double()
    for index in range(times):
        state = state * torch.tensor([0.5, 0.9, 1.0]).double() + index * images.double().mean(dim=1, keepdim=True)
    return state.float()


def as_it_is(times: int) -> Callable[[Tensor], Tensor]:
    return Looping(times)


def traced(times: int) -> Callable[[Tensor], Tensor]:
    with TemporaryDirectory() as folder:
        return load_script(write_trace(times, Path(folder) / "loop.ts"))


def write_trace(times: int, file: Path) -> Path:
    with known_deprecation(), torch.inference_mode():
        script = torch.jit.trace(Looping(times), torch.rand(2, 3), check_trace=False)  # type: ignore[no-untyped-call]
        script.save(str(file))
    return file


def exported(times: int) -> Callable[[Tensor], Tensor]:
    return export(times).module()


def export(times: int) -> torch.export.ExportedProgram:
    return torch.export.export(Looping(times), (torch.rand(2, 3),), dynamic_shapes=({0: torch.export.Dim("batch")},))


@pytest.mark.parametrize("form", [as_it_is, traced, exported])
@pytest.mark.parametrize("times", [0, 1, TIMES])
def test_steps_are_taken_in_order(form: Callable[[int], Callable[[Tensor], Tensor]], times: int) -> None:
    loop = form(times)
    for batch in (1, 2, 5):
        images = torch.rand(batch, 3)
        before = images.clone()
        torch.testing.assert_close(loop(images), expected(images, times))
        assert torch.equal(images, before)


def test_a_longer_loop_is_no_larger(tmp_path: Path) -> None:
    # The same name each time: every entry of such a file repeats it.
    short, long = (write_trace(times, tmp_path / "loop.ts").stat().st_size for times in (5, 500))
    assert abs(long - short) < 100
    assert [len(export(times).graph.nodes) for times in (5, 500)] == [len(export(2).graph.nodes)] * 2


def test_an_onnx_file_holds_one_loop(tmp_path: Path) -> None:
    file = tmp_path / "loop.onnx"
    program = torch.onnx.export(
        Looping(500).eval(),
        (torch.rand(2, 3),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        input_names=["images"],
        opset_version=18,
        verbose=False,
    )
    assert program is not None
    program.save(file)
    graph = onnx.load(file)
    onnx.checker.check_model(graph, full_check=True)
    assert ({opset.domain for opset in graph.opset_import}, list(graph.functions)) == ({""}, [])
    assert [node.op_type for node in graph.graph.node].count("Loop") == 1
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in (1, 5):
        images = torch.rand(batch, 3)
        (found,) = session.run(None, {"images": images.numpy()})
        torch.testing.assert_close(torch.from_numpy(found), expected(images, 500))
