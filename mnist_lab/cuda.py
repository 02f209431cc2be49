"""What training on CUDA needs: the same result twice, and one launch for a step.

A step of these networks is some two hundred small kernels. Launching them one by one takes about
5 ms on an H100, computing them a twentieth of that.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
WARM_UP_STEPS = 3  # what PyTorch's documentation takes: libraries choose their kernels meanwhile


@contextmanager
def deterministic_convolutions() -> Iterator[None]:
    """While it lasts, cuDNN computes the same convolution to the same bits each time.

    Some of its faster algorithms add up in an order that changes from run to run.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def _no_waiting() -> Iterator[None]:
    """While it lasts, what would wait for the GPU, and so cannot be captured, is a RuntimeError.

    After a capture that failed half-way, PyTorch's random numbers would not work any more.
    """
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it does not find everything yet
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class CapturedStep:
    """A training step as a CUDA graph: its kernels are recorded once, and launched as one.

    `step` takes images and labels, leaves gradients in the network's parameters, and returns loss
    and outputs. A graph works on fixed memory, so each batch is copied into its place. A batch of
    another size than `batch_size`, such as the last of an epoch, takes the plain step.
    Source: https://pytorch.org/blog/accelerating-pytorch-with-cuda-graphs/
    """

    @classmethod
    def of(cls, step: Step, network: nn.Module, batch_size: int) -> Step:
        """The captured step, or the plain one where PyTorch cannot capture this network."""
        buffers = [buffer.clone() for buffer in network.buffers()]
        random_state = torch.cuda.get_rng_state()
        try:
            return cls(step, network, batch_size)
        except RuntimeError:  # it looks at a value, say, for which the processor would have to wait
            return step
        finally:  # neither norms nor random numbers have seen the empty images
            for buffer, before in zip(network.buffers(), buffers):
                buffer.data.copy_(before)
            torch.cuda.set_rng_state(random_state)
            network.zero_grad()

    def __init__(self, step: Step, network: nn.Module, batch_size: int):
        device = next(network.parameters()).device
        self.step, self.parameters = step, list(network.parameters())
        images = torch.zeros(batch_size, 1, 28, 28, device=device)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.zeros(batch_size, dtype=torch.long, device=device)
        network.train()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), _no_waiting():
            for _ in range(WARM_UP_STEPS):
                step(self.images, self.labels)
        torch.cuda.current_stream().wait_stream(aside)
        network.zero_grad()  # so that the graph makes gradients of its own
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss, self.outputs = step(self.images, self.labels)
        self.gradients = [parameter.grad for parameter in self.parameters]

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if len(images) != len(self.images):
            return self.step(images, labels)
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.gradients):
            parameter.grad = gradient  # the plain step has put others in their place
        return self.loss, self.outputs
