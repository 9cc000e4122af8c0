"""Adversarial training: a discriminator learns to tell restored images from clean ones, the restorer to deceive it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from uir.config.roles import Role
from uir.config.schema import TrainOptions
from uir.inference.predictor import conditions_of
from uir.layers.features import FeatureTap
from uir.losses.gan_loss import Logits, mean_logit, relative, without_history
from uir.models.base_model import BaseModel, inputs_of, offers
from uir.models.objectives import Objective
from uir.registry import MODEL_REGISTRY

_FEATURES = ("fake_features", "real_features")


class AdversarialOptions(TrainOptions):
    """Keys of `train` for adversarial training."""

    net_d_iters: int = Field(1, ge=1, description="Iterations between two steps of network_g.")
    net_d_init_iters: int = Field(
        0, ge=0, description="Iterations at the start in which network_d alone learns (its warm-up)."
    )
    critic_threshold: float | None = Field(
        None,
        gt=0,
        description="network_g learns only after an iteration in which the discriminator's loss, the mean over real "
        "and restored images, was below this (NoGAN has 0.65).",
    )


class AdversarialModel(BaseModel):
    """A restorer `network_g` and a discriminator `network_d`; each has its own optimizer, rates and schedule.

    In each iteration network_g minimises the sum of all `<name>_opt`, `gan_opt` among them, while network_d is frozen.
    Then network_d minimises its part of `gan_opt`, and the losses that say `minimised_by = "d"` (R1, the gradient
    penalty). Where a stage leaves out `gan_opt`, network_g is trained alone; where it trains [network_d], that is.

    A discriminator's `forward` takes the image, and `lq` or another value by its name. It gives logits of any shape, or
    a list of them, one for each scale. A list of lists holds the features of each scale, and its logits last.
    """

    network_roles: ClassVar[Mapping[str, Role]] = {
        "g": Role(trained=None, averaged=True),  # a stage may train one of them alone
        "d": Role(required_in=frozenset({"train"}), trained=None),
    }
    loss_slots: ClassVar[tuple[str, ...]] = ("pixel_opt", "perceptual_opt", "gan_opt")
    open_losses: ClassVar[bool] = True
    train_options: ClassVar[type[TrainOptions]] = AdversarialOptions
    relativistic: ClassVar[bool] = False
    """Whether logits are taken relative to the mean of the others."""
    generator_roles: ClassVar[tuple[str, ...]] = ("g",)
    """The networks that learn together to restore."""

    train_opt: AdversarialOptions
    net_d: Any

    @classmethod
    def problems_of(cls, raw: Mapping[str, Any]) -> Iterable[tuple[tuple[str, ...], str]]:
        """Losses without an effect, and a training in which no network learns."""
        train = raw.get("train")
        if not isinstance(train, Mapping):
            return
        if train.get("ldl_opt") is not None and "ldl_opt" not in cls.loss_slots:
            yield ("train", "ldl_opt"), f": {cls.__name__} does not compute it; RealESRGANModel does"
        optimizers = [f"optim_{role}" for role in (*cls.generator_roles, "d")]
        if all(train.get(name) is None for name in optimizers):
            yield ("train",), f"lacks {' and '.join(optimizers)}: no network would learn"
        if train.get("optim_d") is not None and train.get("gan_opt") is None:
            yield ("train",), "lacks gan_opt, the loss of network_d, although it has optim_d"

    # --- construction ---

    def prepare(self) -> None:
        """Start without a judgement of the discriminator."""
        super().prepare()
        self._real_logits: Logits | None = None
        self._critic_loss: float | None = None
        self._g_learns = True

    def check_network(self, role: str, network: nn.Module) -> None:
        """Check that every value that the discriminator's `forward` names exists."""
        super().check_network(role, network)
        if role == "d":
            _, self._given_to_d = conditions_of(network)
            for name in self._given_to_d:
                self._check_value(name, f"network_d: {type(network).__name__} needs '{name}'")

    def step_module(self, role: str, network: nn.Module) -> nn.Module:
        """The discriminator with its features, if a loss compares them and it declares feature points."""
        compares = self.is_train and any(
            name in _FEATURES for loss in self.described_losses().values() for name in inputs_of(loss)
        )
        if role == "d" and compares and hasattr(network, "feature_points"):
            return FeatureTap(network)
        return super().step_module(role, network)

    # --- values ---

    @offers("real_images")
    def real_images(self) -> Tensor:
        """What the discriminator should take for real: `gt`."""
        return self.clean_images()

    @offers("discriminator", runs=("d",))
    def discriminator(self) -> Any:
        """The discriminator as a function of images alone, `image -> logits`.

        It is the network itself: a compiled one has no second derivative, and DDP waits for parameters (the last bias)
        that the gradient at an image does not depend on.
        """
        return lambda image: self._judged(image, self.bare["d"])[0]

    @offers("judged_fake", runs=("d",))
    def judged_fake(self) -> tuple[Logits, list[Tensor]]:
        """Logits and features of the restored images."""
        return self._judged(self.value("restored"))

    @offers("judged_real", runs=("d",))
    def judged_real(self) -> tuple[Logits, list[Tensor]]:
        """Logits and features of the real images."""
        return self._judged(self.value("real_images"))

    @offers("fake_logits")
    def fake_logits(self) -> Logits:
        """Logits of the restored images."""
        logits: Logits = self.value("judged_fake")[0]
        return logits

    @offers("real_logits")
    def real_logits(self) -> Logits:
        """Logits of the real images."""
        logits: Logits = self.value("judged_real")[0]
        return logits

    @offers("fake_features")
    def fake_features(self) -> list[Tensor]:
        """Features of the restored images inside the discriminator."""
        return self._features("judged_fake")

    @offers("real_features")
    def real_features(self) -> list[Tensor]:
        """Features of the real images inside the discriminator."""
        return self._features("judged_real")

    def _features(self, judged: str) -> list[Tensor]:
        features: list[Tensor] = self.value(judged)[1]
        if not features:
            name = type(self.bare["d"]).__name__
            raise ValueError(f"network_d: {name} gives no features; it needs a method feature_points()")
        return features

    def _judged(self, image: Tensor, network: nn.Module | None = None) -> tuple[Logits, list[Tensor]]:
        """Logits and features of images; `network` is the discriminator itself in place of `net_d`."""
        judge = self.net_d if network is None else network
        result = judge(image, *(self.value(name) for name in self._given_to_d))
        features: list[Tensor] = []
        if network is None and isinstance(self.stepped["d"], FeatureTap):
            result, features = result
        if isinstance(result, Tensor):
            return result, features
        nested = [list(scale) for scale in result if isinstance(scale, list | tuple)]
        if nested:
            return [scale[-1] for scale in nested], features or [part for scale in nested for part in scale[:-1]]
        return list(result), features

    # --- the step ---

    def objectives(self) -> Iterator[Objective]:
        """The restorer's sum, where it is its turn, and then the discriminator's: penalties, real, restored."""
        if self.micro_batch == 0:
            self._g_learns = self.is_turn_of_g()
        if any(self.is_optimized(role) for role in self.generator_roles) and self._g_learns:
            yield Objective(self.generator_losses, self.generator_roles)
        if self.is_optimized("d") and "gan_opt" in self.losses:
            # Each has its own backward: a batch norm that DDP shares in between must not spoil the other's graph. The
            # penalties come first: DDP shares their gradients together with those of the real images.
            if self._slots_of("d"):
                yield Objective(self.penalties, ("d",), step=False)
            yield Objective(self.losses_of_real, ("d",), step=False)
            yield Objective(self.losses_of_fake, ("d",))

    def is_turn_of_g(self) -> bool:
        """Whether the restorer learns in this iteration."""
        options, iteration = self.train_opt, self.stage_iteration or self.current_iter
        if not self.is_optimized("d"):
            return True
        if iteration % options.net_d_iters != 0 or iteration <= options.net_d_init_iters:
            return False
        limit = options.critic_threshold
        return limit is None or (self._critic_loss is not None and self._critic_loss < limit)

    def generator_losses(self) -> dict[str, Tensor]:
        """The restorer's losses, by BasicSR's log names (`l_g_pix`, `l_g_gan`)."""
        slots = self._slots_of("g")
        losses = self._named(self.losses_of(*slots), "l_g_") if slots or "gan_opt" not in self.losses else {}
        if "gan_opt" in self.losses:
            losses["l_g_gan"] = self.adversarial_loss()
        return losses

    def adversarial_loss(self) -> Tensor:
        """The restorer's part of `gan_opt`."""
        gan = self.losses["gan_opt"]
        if not self.relativistic:
            loss: Tensor = gan(self.value("fake_logits"), True, is_disc=False)
            return loss
        real = without_history(self.value("real_logits"))
        fake = self.value("fake_logits")
        both: Tensor = gan(relative(real, fake), False, is_disc=False) + gan(relative(fake, real), True, is_disc=False)
        return both / 2

    def penalties(self) -> dict[str, Tensor]:
        """The losses that say `minimised_by = "d"`."""
        losses = self._named(self.losses_of(*self._slots_of("d")), "l_d_")
        parameter = next(p for p in self.bare["d"].parameters() if p.requires_grad)
        nothing = 0 * parameter.flatten()[0]  # all may be constants, such as R1 in a step without it
        return {name: value + nothing for name, value in losses.items()}

    def losses_of_real(self) -> dict[str, Tensor]:
        """The discriminator's loss on real images."""
        gan = self.losses["gan_opt"]
        if self.relativistic:
            with torch.no_grad():
                fake = self.value("fake_logits")
            real = self.value("real_logits")
            loss = gan(relative(real, fake), True, is_disc=True) * 0.5
        else:
            real = self.value("real_logits")
            loss = gan(real, True, is_disc=True)
        self._real_logits = without_history(real)
        self.note("out_d_real", mean_logit(real))
        return {"l_d_real": loss}

    def losses_of_fake(self) -> dict[str, Tensor]:
        """The discriminator's loss on restored images."""
        gan, fake = self.losses["gan_opt"], self.value("fake_logits")
        self.note("out_d_fake", mean_logit(fake))
        if not self.relativistic:
            return {"l_d_fake": gan(fake, False, is_disc=True)}
        if self._real_logits is None:
            raise RuntimeError("losses_of_fake: the real images were not judged before")
        return {"l_d_fake": gan(relative(fake, self._real_logits), False, is_disc=True) * 0.5}

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration; the discriminator's loss is kept for `critic_threshold`."""
        super().optimize_parameters(current_iter)
        self._real_logits = None
        parts = [self.log_dict[name] for name in ("l_d_real", "l_d_fake") if name in self.log_dict]
        if parts:
            self._critic_loss = sum(parts) / (1 if self.relativistic else 2)

    def _slots_of(self, role: str) -> list[str]:
        """The slots of the losses that a network minimises, without `gan_opt`."""
        return [
            slot
            for slot, loss in self.losses.items()
            if slot != "gan_opt" and getattr(loss, "minimised_by", "g") == role
        ]

    @staticmethod
    def _named(losses: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
        return {prefix + name.removeprefix("l_"): value for name, value in losses.items()}

    # --- files ---

    def training_state(self) -> dict[str, Any]:
        """See `BaseModel.training_state`; the discriminator's last loss too."""
        return {**super().training_state(), "critic_loss": self._critic_loss}

    def resume_training(self, state: Mapping[str, Any], models: Path) -> None:
        """See `BaseModel.resume_training`."""
        super().resume_training(state, models)
        self._critic_loss = state.get("critic_loss")


@MODEL_REGISTRY.register()
class SRGANModel(AdversarialModel):
    """Adversarial training of any restorer (Ledig et al., SRGAN, CVPR 2017).

    Names, keys and numbers are those of basicsr's class of this name; in addition, every key `<name>_opt` is a loss.
    """


@MODEL_REGISTRY.register()
class ESRGANModel(AdversarialModel):
    """Adversarial training by relativistic average logits (Wang et al., ESRGAN, ECCVW 2018, Sec. 3.2).

    A real image should look more real than the restored ones on average, and the reverse. Names, keys and numbers are
    those of basicsr's class of this name; in addition, every key `<name>_opt` is a loss.
    """

    relativistic: ClassVar[bool] = True
