import dataclasses

import jax

from dtn_jax.options import option


@dataclasses.dataclass(frozen=True)
class Smoothed:
    """Cross-entropy with smoothed labels (Szegedy et al. 2016): y + share (1/2 - y) for y.

    It is not calibrated: its best p is the rate of positives, moved towards 1/2 by `share`.
    """

    kind = "binary"
    proper = False
    share: float = option(0.1, "of the labels' certainty that is given up", least=0.0, below=1.0)

    def __call__(self, z, y, w):
        """Nats, of each row: z [B] the logit, y [B] the label, w what a positive weighs."""
        positive, negative = jax.nn.softplus(-z), jax.nn.softplus(z)  # -log p, -log(1 - p)
        half = self.share / 2
        as_positive = (1 - half) * positive + half * negative
        as_negative = half * positive + (1 - half) * negative
        return w * y * as_positive + (1 - y) * as_negative


LOSSES = {"smoothed": Smoothed}
