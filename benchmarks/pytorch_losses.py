"""The losses of the measured methods in PyTorch, with this library's default weights."""

import torch
from torch.nn import functional as F  # noqa: N812

from benchmarks.pytorch_network import Outputs


def cross_entropy_loss(outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the deepest exit."""
    return F.cross_entropy(_wide(outputs.logits[-1]), labels)


def byot_loss(outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
    """`skdsam_jax.losses.byot_loss`."""
    alpha, feature_weight, temperature = 0.3, 1e-4, 3.0
    logits = [_wide(z) for z in outputs.logits]
    loss = (1 - alpha) * sum(F.cross_entropy(z, labels) for z in logits)
    teacher = outputs.features[-1].detach()
    for z, feature in zip(logits[:-1], outputs.features[:-1], strict=True):
        distance = (feature - teacher).square().sum(1).mean()
        divergence = _divergence(z, logits[-1].detach(), temperature).mean()
        loss = loss + alpha * divergence + feature_weight * distance
    return loss


def skdsam_loss(outputs: Outputs, labels: torch.Tensor) -> torch.Tensor:
    """`skdsam_jax.losses.skdsam_loss` with its literal energy, the softmax of both sides."""
    distillation_weight, feature_weight, temperature, attention_temperature = 1.5, 100.0, 4.0, 4.0
    logits = [_wide(z) for z in outputs.logits]
    *keys, query = (F.softmax(_wide(p) / attention_temperature, dim=1) for p in outputs.projections)
    attention = F.softmax(torch.stack([(query * key).sum(1) for key in keys]), dim=0)
    teacher = F.normalize(outputs.features[-1].detach(), dim=1)
    students = []
    for z, feature in zip(logits[:-1], outputs.features[:-1], strict=True):
        divergence = _divergence(z, logits[-1].detach(), temperature)
        distance = (F.normalize(feature, dim=1) - teacher).abs().mean(1)
        students.append(temperature**2 * divergence + feature_weight * distance)
    distillation = (attention * torch.stack(students)).sum(0).mean()
    return F.cross_entropy(logits[-1], labels) + distillation_weight * distillation


LOSSES = {"cross_entropy": cross_entropy_loss, "byot": byot_loss, "skdsam": skdsam_loss}


def _divergence(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of the softened distributions, [batch]."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(1)


def _wide(values: torch.Tensor) -> torch.Tensor:
    """Autocast leaves bfloat16 behind it; losses are computed in float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
