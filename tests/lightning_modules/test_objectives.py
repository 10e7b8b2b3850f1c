"""Adversarial objectives: signs, values, clipping and the gradient penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from contract.errors import UserError
from lightning_modules.objectives import (
    AdversarialObjective,
    BinaryCrossEntropyObjective,
    EarthMoverObjective,
    RegressionEarthMoverObjective,
    gradient_penalty,
)

torch.set_num_threads(1)


class LinearCritic(nn.Module):
    """``weight * sum(mask) + bias + sum(image)``: one number an image, slope known."""

    def __init__(self, weight: float = 0.5, bias: float = 0.25) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))
        self.bias = nn.Parameter(torch.tensor(bias))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Score each image."""
        return self.weight * mask.flatten(1).sum(1) + self.bias + image.flatten(1).sum(1)


class PatchCritic(nn.Module):
    """Two convolutions over image and mask; a map of scores ``(N, 1, H / 2, W / 2)``."""

    def __init__(self, normalised: bool = True) -> None:
        super().__init__()
        norm = nn.BatchNorm2d(4) if normalised else nn.Identity()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 4, 2, 1), norm, nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3, 1, 1)
        )

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Score each patch."""
        scores: Tensor = self.body(torch.cat((image, mask), 1))
        return scores


class Recorder(nn.Module):
    """Keeps what it is called with; its score is the sum of the first tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Tensor, Tensor]] = []

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Score each image."""
        self.calls.append((first, second))
        return first.flatten(1).sum(1)


IMAGE = torch.zeros(2, 1, 2, 2)
FAKE = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]]).view(2, 1, 2, 2)
REAL = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]]).view(2, 1, 2, 2)
FAKE_SCORES = torch.tensor([0.5 * 1.0 + 0.25, 0.5 * 2.0 + 0.25])
REAL_SCORES = torch.tensor([0.5 * 2.0 + 0.25, 0.5 * 3.0 + 0.25])

OBJECTIVES: dict[str, Callable[[], AdversarialObjective]] = {
    "bce": BinaryCrossEntropyObjective,
    "bce_tanh": lambda: BinaryCrossEntropyObjective((-1.0, 1.0), 0.5),
    "earth_mover": EarthMoverObjective,
    "earth_mover_penalty": lambda: EarthMoverObjective(None, 10.0),
    "regression": RegressionEarthMoverObjective,
}
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def fake_with_graph() -> Tensor:
    """The fake masks as a generator hands them over."""
    return FAKE.clone().requires_grad_()


def softplus(scores: Tensor) -> float:
    """Mean of log(1 + exp(score)): binary cross-entropy against 0."""
    return float((1 + scores.exp()).log().mean())


def test_cross_entropy_objective_by_hand() -> None:
    critic, objective = LinearCritic(), BinaryCrossEntropyObjective()
    generator = objective.generator_loss(critic, IMAGE, fake_with_graph(), REAL)
    assert float(generator) == pytest.approx(softplus(-FAKE_SCORES))
    both = softplus(-REAL_SCORES) + softplus(FAKE_SCORES)
    assert float(objective.critic_loss(critic, IMAGE, FAKE, REAL)) == pytest.approx(both)
    halved = BinaryCrossEntropyObjective(critic_weight=0.5)
    assert float(halved.critic_loss(critic, IMAGE, FAKE, REAL)) == pytest.approx(both / 2)


def test_earth_mover_objective_by_hand() -> None:
    critic, objective = LinearCritic(), EarthMoverObjective()
    generator = objective.generator_loss(critic, IMAGE, fake_with_graph(), REAL)
    assert float(generator) == pytest.approx(-float(FAKE_SCORES.mean()))
    difference = float(FAKE_SCORES.mean() - REAL_SCORES.mean())
    assert float(objective.critic_loss(critic, IMAGE, FAKE, REAL)) == pytest.approx(difference)


def test_regression_objective_by_hand() -> None:
    """The critic is called with mask and reference; the image plays no part."""
    critic, objective = Recorder(), RegressionEarthMoverObjective()
    fake = fake_with_graph()
    generator = objective.generator_loss(critic, IMAGE, fake, REAL)
    loss = objective.critic_loss(critic, IMAGE, fake, REAL)
    assert float(generator) == pytest.approx(-1.5)
    assert float(loss) == pytest.approx(1.5)
    assert [second is REAL for _, second in critic.calls] == [True, True]
    assert critic.calls[0][0] is fake
    assert torch.equal(critic.calls[1][0], FAKE) and not critic.calls[1][0].requires_grad


def test_patch_maps_are_averaged() -> None:
    torch.manual_seed(0)
    image, fake, real = torch.rand(3, 2, 1, 8, 8)
    critic = PatchCritic()
    scores = critic(image, fake)
    found = EarthMoverObjective().generator_loss(critic, image, fake.requires_grad_(), real)
    torch.testing.assert_close(found, -scores.mean())
    found = BinaryCrossEntropyObjective().generator_loss(critic, image, fake, real)
    torch.testing.assert_close(found, functional.softplus(-scores).mean())


def test_mask_range_maps_masks_before_the_critic() -> None:
    objective = BinaryCrossEntropyObjective((-1.0, 1.0))
    seen: list[Tensor] = []

    class Watcher(LinearCritic):
        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            seen.append(mask.detach())
            return super().forward(image, mask)

    objective.critic_loss(Watcher(), IMAGE, FAKE, REAL)
    objective.generator_loss(Watcher(), IMAGE, fake_with_graph(), REAL)
    for mask, expected in zip(seen, (REAL, FAKE, FAKE), strict=True):
        torch.testing.assert_close(mask, 2 * expected - 1)


@every_objective
def test_generator_pulls_its_score_up(name: str) -> None:
    critic, fake = LinearCritic(), fake_with_graph()
    loss = OBJECTIVES[name]().generator_loss(critic, IMAGE, fake, REAL)
    (slope,) = torch.autograd.grad(loss, fake)
    assert (slope < 0).all()


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "regression"])
def test_critic_learns_to_score_real_above_fake(name: str) -> None:
    """Starting undecided, since the fuller masks are the real ones here."""
    critic, fake = LinearCritic(0.0, 0.0), fake_with_graph()
    loss = OBJECTIVES[name]().critic_loss(critic, IMAGE, fake, REAL)
    (slope,) = torch.autograd.grad(loss, critic.weight)
    assert slope < 0


def test_regression_critic_pulls_the_score_down() -> None:
    critic = LinearCritic()
    loss = RegressionEarthMoverObjective().critic_loss(critic, IMAGE, FAKE, REAL)
    (slope,) = torch.autograd.grad(loss, critic.weight)
    assert slope > 0


@every_objective
def test_nothing_flows_from_the_critic_loss_to_the_generator(name: str) -> None:
    objective, critic, fake = OBJECTIVES[name](), LinearCritic(), fake_with_graph()
    objective.critic_loss(critic, IMAGE, fake, REAL).backward()  # type: ignore[no-untyped-call]
    assert fake.grad is None
    assert critic.weight.grad is not None


@every_objective
def test_masks_without_gradient_are_refused(name: str) -> None:
    """An arg-maxed mask would leave the generator untaught without a word."""
    objective = OBJECTIVES[name]()
    with pytest.raises(ValueError, match="no gradient"):
        objective.generator_loss(LinearCritic(), IMAGE, (FAKE > 0.5).float(), REAL)
    with torch.no_grad():  # a validation step may still look at the value
        assert objective.generator_loss(LinearCritic(), IMAGE, FAKE, REAL).isfinite()


def test_real_and_fake_pass_the_critic_apart() -> None:
    """Batch normalisation sees a batch of one kind: two forwards, no mixture."""
    critic = PatchCritic()
    norm = critic.body[1]
    assert isinstance(norm, nn.BatchNorm2d) and norm.num_batches_tracked is not None
    image, fake, real = torch.rand(3, 2, 1, 8, 8)
    BinaryCrossEntropyObjective().critic_loss(critic, image, fake, real)
    assert int(norm.num_batches_tracked) == 2
    EarthMoverObjective().critic_loss(critic, image, fake, real)
    assert int(norm.num_batches_tracked) == 4


@pytest.mark.parametrize("build", [EarthMoverObjective, RegressionEarthMoverObjective])
def test_clipping_bounds_every_parameter(
    build: type[EarthMoverObjective] | type[RegressionEarthMoverObjective],
) -> None:
    critic = PatchCritic()
    inside = {name: value.clone().clamp(-0.03, 0.03) for name, value in critic.named_parameters()}
    build(clip=0.03).after_critic_step(critic)
    for name, parameter in critic.named_parameters():
        assert torch.equal(parameter, inside[name]), name
        assert parameter.requires_grad
    largest = max(float(parameter.detach().abs().max()) for parameter in critic.parameters())
    assert largest == pytest.approx(0.03)


@pytest.mark.parametrize(
    "objective",
    [
        BinaryCrossEntropyObjective(),
        EarthMoverObjective(None),
        EarthMoverObjective(None, 10.0),
        RegressionEarthMoverObjective(None),
    ],
)
def test_without_a_bound_the_parameters_stay(objective: AdversarialObjective) -> None:
    critic = PatchCritic()
    before = [parameter.clone() for parameter in critic.parameters()]
    objective.after_critic_step(critic)
    assert all(map(torch.equal, before, critic.parameters()))


@pytest.mark.parametrize("weight", [-2.0, 0.5, 3.0])
def test_gradient_penalty_of_a_linear_critic(weight: float) -> None:
    """The slope has norm |weight| * sqrt(number of pixels) wherever it is taken."""
    critic = LinearCritic(weight)
    penalty = gradient_penalty(critic, IMAGE, FAKE, REAL)
    norm = abs(weight) * 2
    assert float(penalty) == pytest.approx((norm - 1) ** 2, rel=1e-5)
    (slope,) = torch.autograd.grad(penalty, critic.weight)
    sign = 1 if weight > 0 else -1
    assert float(slope) == pytest.approx(2 * (norm - 1) * 2 * sign, rel=1e-5, abs=1e-5)


def test_gradient_penalty_joins_the_critic_loss() -> None:
    critic = LinearCritic(3.0)
    plain = EarthMoverObjective(None).critic_loss(critic, IMAGE, FAKE, REAL)
    with_penalty = EarthMoverObjective(None, 10.0).critic_loss(critic, IMAGE, FAKE, REAL)
    assert float(with_penalty - plain) == pytest.approx(10 * 25, rel=1e-5)


def test_gradient_penalty_of_a_flat_critic_is_finite() -> None:
    critic = LinearCritic(0.0)
    penalty = gradient_penalty(critic, IMAGE, FAKE, REAL)
    (slope,) = torch.autograd.grad(penalty, critic.weight)
    assert float(penalty) == pytest.approx(1, rel=1e-4)
    assert slope.isfinite()


def test_gradient_penalty_looks_between_the_masks_once_an_image() -> None:
    seen: list[Tensor] = []

    class Watcher(LinearCritic):
        def forward(self, image: Tensor, mask: Tensor) -> Tensor:
            seen.append(mask.detach())
            return super().forward(image, mask)

    torch.manual_seed(0)
    fake, real = torch.zeros(16, 1, 2, 2), torch.ones(16, 1, 2, 2)
    gradient_penalty(Watcher(), torch.zeros(16, 1, 2, 2), fake, real)
    shares = seen[0].flatten(1)
    assert (shares == shares[:, :1]).all()
    assert len(set(shares[:, 0].tolist())) == 16
    assert 0 <= float(shares.min()) < 0.25 and 0.75 < float(shares.max()) <= 1


@every_objective
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_float32_under_autocast(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    image, fake, real = torch.rand(3, 2, 1, 8, 8)
    critic, objective = PatchCritic(normalised=False), OBJECTIVES[name]()
    fake = fake.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        generator = objective.generator_loss(critic, image, fake, real)
        loss = objective.critic_loss(critic, image, fake, real)
    expected = objective.generator_loss(critic, image, fake.detach().float().requires_grad_(), real)
    assert generator.dtype == loss.dtype == torch.float32
    assert float(generator) == pytest.approx(float(expected), rel=0.05, abs=0.01)
    loss.backward()  # type: ignore[no-untyped-call]
    for parameter in critic.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """One real process that talks to itself."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_gradient_penalty_reaches_the_parameters_through_ddp() -> None:
    torch.manual_seed(0)
    image, fake, real = torch.rand(3, 2, 1, 8, 8)
    critic, objective = PatchCritic(normalised=False), EarthMoverObjective(None, 10.0)
    gradients = []
    for module in (critic, DistributedDataParallel(critic)):
        critic.zero_grad()
        torch.manual_seed(1)
        objective.critic_loss(module, image, fake, real).backward()  # type: ignore[no-untyped-call]
        found = (parameter.grad for parameter in critic.parameters())
        gradients.append([gradient.clone() for gradient in found if gradient is not None])
    assert len(gradients[0]) == 4
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    "build",
    [
        lambda: BinaryCrossEntropyObjective((1.0, 1.0)),
        lambda: BinaryCrossEntropyObjective(critic_weight=0.0),
        lambda: EarthMoverObjective(clip=0.0),
        lambda: EarthMoverObjective(None, gradient_penalty=-1.0),
        lambda: EarthMoverObjective(clip=0.01, gradient_penalty=10.0),
        lambda: RegressionEarthMoverObjective(clip=-0.01),
    ],
)
def test_settings_out_of_range_are_refused(build: Callable[[], AdversarialObjective]) -> None:
    with pytest.raises(UserError):
        build()
